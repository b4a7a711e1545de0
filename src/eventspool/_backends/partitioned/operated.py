"""A queue of several partitions, as its operators see and steer it: every answer is made of all partitions' answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from eventspool._backends.condition import Condition, find_worst
from eventspool._backends.partitioned.members import Members
from eventspool._backends.partitioned.merging import (
    add_depths,
    add_stats,
    merge_jobs,
    place_job,
    read_cursor,
    write_cursor,
)
from eventspool._backends.partitioned.places import Places
from eventspool._backends.partitioned.ring import ROOT
from eventspool._backends.rules import READ_BYTES, count_within
from eventspool._config import Ordering
from eventspool._config.queue import MAX_PARTITIONS
from eventspool._exceptions import ConfigError, QueueError, QueueUnavailable
from eventspool._figures import Depth, Partition, QueueStats
from eventspool._job import Job, JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eventspool._backends.journals import JournalEntry
    from eventspool._backends.partitioned.member import Closable, Member, PartitionBackend
    from eventspool._backends.partitioned.ring import Part
    from eventspool._job import Rewrite

__all__ = ["OperatedPartitions"]

_T = TypeVar("_T")
_KNOWN: Final = 10_000
"""Jobs, the last ones that were stored or listed, of which it is remembered where they are."""
_HELD: Final = 50_000
"""The same for jobs that were claimed and have not ended: more than a processor holds."""


class OperatedPartitions:
    """
    A queue of several partitions as its operators see and steer it (see ``Backend`` for what each method promises).

    It is as long as the Protocol wants it: each method asks the partitions one thing and adds up their answers.

    Args:
        make: Makes the backend of a partition. The partition's share of the bounds of the queue is its affair.
        ordering: What the queue keeps; ``None`` for a caller who only looks and steers.
        partitions: How many a queue gets that was never used. What is written down in a queue goes before.
        name: Names the queue in messages.
        source: What the partitions have in common, and is closed after them.
    """

    def __init__(
        self,
        make: Callable[[Part], PartitionBackend],
        *,
        ordering: Ordering | None,
        partitions: int,
        name: str,
        source: Closable | None = None,
    ) -> None:
        self._source = source
        self._make = make
        self._ordering = ordering
        self._wanted = partitions
        self._name = f"queue {name!r}"
        self._reset()

    def _reset(self) -> None:
        self._members = Members(self._make, self._ordering, self._wanted, self._name)
        self._known = Places(_KNOWN)
        self._held = Places(_HELD)

    def _ask_all(self, ask: Callable[[Member], _T], *, members: Sequence[Member] | None = None) -> list[_T]:
        """
        Return what *ask* gets of every partition.

        All are asked, whatever one of them raises: its error is raised at the end.
        """
        self._members.refresh_if_old()
        answers: list[_T] = []
        failure: QueueError | None = None
        for member in self._members.all if members is None else members:
            try:
                answers.append(member.ask(ask, member))
            except QueueError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return answers

    # Watching

    def stats(self) -> QueueStats:
        """Count in every partition, one after another. Raises ``QueueUnavailable`` while one of them is away."""
        told = self._ask_all(lambda member: (member.part, member.backend.stats()))
        stats = [each for _, each in told]
        if len(stats) == 1:
            return stats[0]
        most = [each.most_bytes for part, each in told if part in self._members.ring.newest.parts]
        known = [each for each in most if each is not None]
        return replace(
            add_stats(stats, self._members.ring.totals, len(self._list_processors(stats))),
            most_bytes=sum(known) if known and len(known) == len(most) else None,
        )

    def partitions(self) -> list[Partition]:
        """List the partitions in which jobs may be, the oldest first; nothing where the queue is not divided."""
        self._members.refresh_if_old()
        ring = self._members.ring
        if not ring.is_divided:
            return []
        found = []
        for member in self._members.all:
            try:
                stats: QueueStats | None = member.ask(member.backend.stats)
            except QueueUnavailable:
                stats = None
            unfinished = (
                Depth() if stats is None else add_depths((stats.waiting, stats.delayed, stats.leased))
            )
            failed = Depth() if stats is None else stats.failed
            is_old = member.part not in ring.newest.parts
            is_idle = stats is not None and not (unfinished.jobs or failed.jobs)
            if is_idle and member is self._members.root and ROOT not in ring.divisions[0].parts:
                continue  # nothing but a process of a version that knows no partitions can have put a job there
            part = member.part
            found.append(
                Partition(
                    part.generation,
                    part.number,
                    unfinished,
                    failed,
                    is_old,
                    stats is None,
                    member.backend.node,
                    None if stats is None else stats.most_bytes,
                )
            )
        return found

    def _list_processors(self, stats: Sequence[QueueStats]) -> list[tuple[str, float, str]]:
        return self.processors() if any(each.processors for each in stats) else []

    def processors(self) -> list[tuple[str, float, str]]:
        """List the processors that any partition has seen within the last half minute, with the notes that the root has."""
        found: dict[str, tuple[str, float, str]] = {}
        for seen in self._ask_all(lambda member: member.backend.processors()):
            for token, at, note in seen:
                before = found.get(token, (token, at, note))
                found[token] = token, max(at, before[1]), before[2] or note
        return list(found.values())

    def reasons(self) -> Mapping[str, Depth]:
        """Count the failed jobs by reason."""
        found: dict[str, Depth] = {}
        for reasons in self._ask_all(lambda member: member.backend.reasons()):
            for reason, depth in reasons.items():
                found[reason] = add_depths((found.get(reason, Depth()), depth))
        return found

    def jobs(self, state: JobState, *, limit: int, after: Job | str | None = None) -> list[Job]:
        """List jobs of all partitions by their due (or failed) time, as their servers' clocks have it."""
        self._members.refresh_if_old()
        if (plain := self._members.undivided) is not None:
            return plain.jobs(state, limit=limit, after=after)
        if isinstance(after, str) and after:
            job_id = after
            stood = self._ask_all(lambda member: member.backend.stood_at(state, job_id))
            after = place_job(job_id, state, next((at for at in stood if at is not None), None))
        pages = []
        for member, page in self._ask_all(
            lambda member: (member, member.backend.jobs(state, limit=limit, after=after))
        ):
            self._known.note((job.id for job in page), member.part)
            pages.append(page)
        return merge_jobs(pages, limit, after if isinstance(after, Job) else None)

    def scan(self, cursor: str = "") -> tuple[list[str], str]:
        """Return the ids of some jobs of one partition, and the cursor of the next call, which names the partition."""
        self._members.refresh_if_old()
        plain = self._members.undivided
        if plain is not None and ":" not in cursor:
            return plain.scan(cursor)
        parts = [member.part for member in self._members.all]
        part, inner = read_cursor(cursor, parts)
        member = self._members.find(part)
        found, inner = member.ask(member.backend.scan, inner)
        self._known.note(found, part)
        if inner:
            return found, write_cursor(part, inner)
        behind = next((each for each in parts if each > part), None)
        return found, "" if behind is None else write_cursor(behind, "")

    def payload(self, job_id: str) -> bytes | None:
        """Return one job's envelope, or ``None``."""
        return self.payloads([job_id])[job_id]

    def payloads(self, ids: Sequence[str]) -> Mapping[str, bytes | None]:
        """Return the envelopes of the first of *ids*."""
        self._members.refresh_if_old()
        if (plain := self._members.undivided) is not None:
            return plain.payloads(ids)
        found: dict[str, bytes | None] = {}
        answered = len(ids)
        for member, group in self._spread_of(ids):
            payloads = member.ask(member.backend.payloads, group)
            found.update((job_id, payload) for job_id, payload in payloads.items() if payload is not None)
            if len(payloads) < len(group):
                answered = min(answered, ids.index(group[len(payloads)]))
        first = ids[:answered]
        within = count_within((len(found.get(job_id) or b"") for job_id in first), READ_BYTES)
        return {job_id: found.get(job_id) for job_id in first[:within]}

    def condition(self) -> Condition:
        """Ask one partition on each server, and more until one was used. Those that are away are told by ``partitions``."""
        self._members.refresh_if_old()
        found: list[Condition] = []
        failures = []
        nodes: set[str] = set()
        for member in self._members.all:
            if member.backend.node in nodes and any(each.is_used for each in found):
                continue
            try:
                found.append(member.ask(member.backend.condition))
                nodes.add(member.backend.node)
            except QueueUnavailable as failure:
                failures.append(failure)
        if not found:
            raise failures[0]
        worst = find_worst(found)
        root = self._members.root
        return worst if worst.is_used else replace(worst, others=root.ask(root.backend.list_others))

    # Steering

    def replay(self, ids: Sequence[str]) -> int:
        """Move failed jobs to the end of their partitions, with no attempts counted."""
        return self._add_up(ids, "replay")

    def purge(self, state: JobState, ids: Sequence[str]) -> int:
        """Delete those of *ids* that are in *state*, never a leased job."""
        return self._add_up(ids, "purge", state)

    def expedite(self, ids: Sequence[str]) -> int:
        """Make delayed jobs due at once."""
        return self._add_up(ids, "expedite")

    def pass_on(self, ids: Sequence[str], *, remember: bool = True) -> int:
        """Forget jobs that another queue has taken."""
        count = self._add_up(ids, "pass_on", remember=remember)
        self._held.forget(ids)
        return count

    def rewrite(self, rewrites: Sequence[Rewrite]) -> list[bool]:
        """Put payloads in the place of others."""
        done = [False] * len(rewrites)
        for member, group in self._spread_of([each.job_id for each in rewrites]):
            wanted = set(group)
            mine = [n for n, each in enumerate(rewrites) if each.job_id in wanted]
            for n, answer in zip(
                mine, member.ask(member.backend.rewrite, [rewrites[n] for n in mine]), strict=True
            ):
                done[n] = done[n] or answer
        return done

    def _add_up(self, ids: Sequence[str], name: str, *terms: Any, **more: Any) -> int:
        """Return the sum of what the method *name* of each partition says of the jobs *ids* that may be there."""
        count = 0
        for member, group in self._spread_of(ids):
            count += member.ask(getattr(member.backend, name), *terms, group, **more)
        return count

    def _spread_of(self, ids: Sequence[str]) -> list[tuple[Member, list[str]]]:
        """Return which partition is asked about which of *ids*."""
        self._members.refresh_if_old()
        groups: dict[Part, list[str]] = {}
        everywhere = [member.part for member in self._members.all]
        for job_id in ids:
            part = self._held.get(job_id) or self._known.get(job_id)
            for each in everywhere if part is None else [part]:
                groups.setdefault(each, []).append(job_id)
        return [(self._members.find(part), group) for part, group in groups.items()]

    def pause(self, paused: bool) -> None:  # noqa: FBT001
        """Stop or resume handing out jobs, in every partition."""
        self._ask_all(lambda member: member.backend.pause(paused))

    def append(self, journal: str, entry: bytes, *, most: int, apart: float = 0.0) -> bool:
        """Append *entry* to *journal*, which the root has: no division ends it."""
        root = self._members.root
        return bool(root.ask(root.backend.append, journal, entry, most=most, apart=apart))

    def journal(self, journal: str, *, limit: int, before: int | None = None) -> list[JournalEntry]:
        """Return entries of *journal*, the newest first."""
        root = self._members.root
        found: list[JournalEntry] = root.ask(root.backend.journal, journal, limit=limit, before=before)
        return found

    def amend(self, journal: str, position: int, expected: bytes, entry: bytes) -> bool:
        """Put *entry* in the place of *expected*."""
        root = self._members.root
        return bool(root.ask(root.backend.amend, journal, position, expected, entry))

    def repair(self) -> int:
        """Mend what is damaged in every partition that can be reached."""
        found = 0
        failures: list[QueueUnavailable] = []
        members = self._members.all
        for member in members:
            try:
                found += member.ask(member.backend.repair)
            except QueueUnavailable as failure:
                failures.append(failure)
        if len(failures) == len(members):
            raise failures[0]
        return found

    def resize(self, partitions: int) -> None:
        """
        Divide the queue into so many *partitions* while it is used. May be repeated, and by another process.

        Raises:
            ConfigError: The number is out of bounds, or the queue is kept in strict order.
            QueueUnavailable: A partition cannot be reached.
        """
        if not 1 <= partitions <= MAX_PARTITIONS:
            raise ConfigError(f"a queue has 1 to {MAX_PARTITIONS} partitions, not {partitions}")
        self._members.refresh_if_old()
        root = self._members.root
        if partitions == 1 and not self._members.ring.is_divided:
            return
        if not self._members.ring.is_divided and root.ask(root.backend.find_ordering) is Ordering.FIFO:
            raise ConfigError(
                f"{self._name} is kept in strict order by its producers, which several partitions do not have: give them"
                " ordering='none' or ordering='per_user' first"
            )
        self._members.resize(partitions)

    def drop(self) -> None:
        """Delete every key of the queue, and so all of its jobs. No user is offered this."""
        self._ask_all(lambda member: member.backend.drop())
