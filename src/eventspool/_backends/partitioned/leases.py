"""
How leases of a queue of several partitions end or go on. ``backend`` says how they begin.

A partition that is away is told later what became of its jobs.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from eventspool._backends.partitioned.storing import StoringPartitions
from eventspool._exceptions import QueueUnavailable
from eventspool._job import SettlementKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eventspool._backends.partitioned.member import Member
    from eventspool._backends.partitioned.ring import Part
    from eventspool._fleet import Hold, Trouble
    from eventspool._job import Settlement

__all__ = ["LeasedPartitions"]

_TOLD: Final = 1.0
"""Seconds between two notes to the root that other partitions deliver."""


class LeasedPartitions(StoringPartitions):
    """A queue of several partitions as those who hold its jobs use it (see ``Backend`` for what each method promises)."""

    def _reset(self) -> None:
        """Begin anew, as in a process that has just started."""
        super()._reset()
        self._told_root_at = float("-inf")
        self._is_held = False

    def ack(self, ids: Sequence[str]) -> int:
        """Forget delivered jobs. A partition that is away is told later."""
        if (plain := self._members.undivided) is not None:
            return plain.ack(ids)
        self._members.refresh_if_old()
        known, unknown = self._held.group(ids)
        count, failures = 0, []
        for member, group in self._spread(known, unknown):
            try:
                count += member.ask(member.backend.ack, group)
            except QueueUnavailable as failure:
                member.ack_later(group)
                failures.append(failure)
        self._held.forget(ids)
        if count and all(member is not self._members.root for member, _ in self._spread(known, unknown)):
            self._tell_root_of_deliveries()
        self._require_any(failures)
        return count

    def settle(self, token: str, settlements: Sequence[Settlement]) -> list[bool]:
        """
        End leases otherwise, each where *token* still holds it. A partition that is away is told later.

        Of a job of such a partition it is not said that it failed: its lease may run out before, and another processor deliver
        it.
        """
        if (plain := self._members.undivided) is not None:
            return plain.settle(token, settlements)
        self._members.refresh_if_old()
        known, unknown = self._held.group([each.job_id for each in settlements])
        done: dict[int, bool] = {}
        failures = []
        for member, group in self._spread(known, unknown):
            wanted = set(group)
            mine = [(n, each) for n, each in enumerate(settlements) if each.job_id in wanted]
            chosen = [each for _, each in mine]
            try:
                answers = member.ask(member.backend.settle, token, chosen)
            except QueueUnavailable as failure:
                member.settle_later(token, chosen)
                failures.append(failure)
                answers = [each.kind is not SettlementKind.FAIL for each in chosen]
            for (n, _), answer in zip(mine, answers, strict=True):
                done[n] = done.get(n, False) or answer
        self._held.forget(each.job_id for each in settlements)
        self._require_any(failures)
        return [done.get(n, False) for n in range(len(settlements))]

    def _spread(self, known: Mapping[Part, list[str]], unknown: list[str]) -> list[tuple[Member, list[str]]]:
        """Return which partition is asked about which jobs: each about its own, all about those of which none is known."""
        found = [(self._members.find(part), group) for part, group in known.items()]
        return found + [(member, unknown) for member in self._members.all if unknown]

    def _left_alone(self, member: Member) -> QueueUnavailable:
        return QueueUnavailable(f"partition {member.part} of {self._name} could not be reached a moment ago")

    def _require_any(self, failures: Sequence[QueueUnavailable]) -> None:
        """Raise where every partition is away."""
        if failures and all(member.is_away for member in self._members.all):
            raise failures[0]

    def renew(self, token: str, ids: Sequence[str], *, visibility_timeout: float, note: str = "") -> set[str]:
        """Extend leases where they are, and count *token* among the live processors of the root."""
        members = self._members
        if members.undivided is not None:
            return members.undivided.renew(token, ids, visibility_timeout=visibility_timeout, note=note)
        members.refresh_if_old()
        known, unknown = self._held.group(ids)
        for part, group in known.items():
            self._held.note(group, part)  # so that it is not what was met longest ago
        known.setdefault(members.root.part, [])
        lost: dict[str, int] = {}
        asked = self._spread(known, unknown)
        failures = []
        for member, group in asked:
            if member.is_left_alone(time.monotonic()):
                failures.append(self._left_alone(member))
                continue
            try:
                more = member.ask(
                    member.backend.renew,
                    token,
                    group,
                    visibility_timeout=visibility_timeout,
                    note=note if member is members.root else "",
                )
            except QueueUnavailable as failure:
                failures.append(failure)
                continue
            for job_id in more:
                lost[job_id] = lost.get(job_id, 0) + 1
        self._require_any(failures)
        strangers = set(unknown)
        return {i for i, times in lost.items() if i not in strangers or times == len(members.all)}

    def leave(self, token: str) -> None:
        """
        Give back every lease of *token*, in every partition.

        One that was away is first told what ended meanwhile: it would else hand out again what was delivered.
        """

        def leave(member: Member) -> None:
            member.catch_up()
            member.backend.leave(token)

        self._ask_all(leave)

    def hold(self, token: str, trouble: Trouble | None, *, is_probe: bool) -> Hold | None:
        """
        Tell all processors, by the root, of *trouble* with the data plane, or that it works.

        While the root is away nobody is told, and each processor goes by what it hears itself: the other partitions deliver.
        """
        root, is_divided = self._members.root, self._members.undivided is None
        hold: Hold | None = None
        if not (is_divided and root.is_left_alone(time.monotonic())):
            try:
                hold = root.ask(root.backend.hold, token, trouble, is_probe=is_probe)
            except QueueUnavailable:
                if not is_divided:
                    raise
        self._is_held = hold is not None
        return hold

    def _tell_root_of_deliveries(self) -> None:
        """Have the root know that the data plane works, once a second: it sees what other partitions deliver only so."""
        now, root = time.monotonic(), self._members.root
        if self._is_held or now - self._told_root_at < _TOLD or root.is_left_alone(now):
            return
        self._told_root_at = now
        with contextlib.suppress(QueueUnavailable):
            root.ask(root.backend.hold, "", None, is_probe=False)
