"""
One queue over several partitions, behind the same Protocol as one over a single one.

Each partition is a queue in Redis of its own, with keys of its own, which a cluster may put on any node. There is no step over
two of them, and none is needed. ``ring`` says how a queue is divided, and how that changes while it is used. A queue that was
never divided has the root alone, and every call goes straight to it.

**Storing.** Without order, a commit goes to one partition as a whole, and the next one to the next partition: its cost is the
round trip. One that cannot be reached, or is full, is passed over. A commit that is not answered is sent to the same partition
once more, and only where that fails, too, to another one: if the first one had stored it after all, its events are delivered
twice, under the same ``messageId``. They are never lost. The same holds for a job that comes out of another queue while a
partition that may have it already cannot be asked. With order per user, a job names its partition, and waits for it.

**Delivering.** ``looks`` says into which partitions a processor looks, and when. It owns none of them: a lease is all that it
has of a job.

**One that is away** stops itself alone. What its jobs have come to is told to it when it is back (``member``). A call that
must hear all partitions, such as a count, fails while one of them is away.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, Final

from eventspool._backends.partitioned.looks import Looks, find_homes
from eventspool._backends.partitioned.merging import add_commits, merge_fates, split_epoch
from eventspool._backends.partitioned.operated import OperatedPartitions
from eventspool._backends.partitioned.places import Places
from eventspool._config import Ordering
from eventspool._exceptions import QueueUnavailable
from eventspool._job import LOST, MOVED, PURGED, Claim, CommitResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eventspool._backends.partitioned.member import Member
    from eventspool._backends.partitioned.ring import Part
    from eventspool._job import ClaimedJob, Failure, NewJob, Routing, Settlement

__all__ = ["PartitionedBackend"]

_UNDECIDED: Final = 10_000
"""Jobs, the last ones, whose commit was not answered, and of which it is remembered where it went."""
_QUICK: Final = 0.5
"""Seconds within which a partition that is gone fails. A second call of one that does not answer would take as long again."""
_STANDING: Final = 10.0
"""Seconds between two looks at which processors live: homes are a preference, and may be late."""


class PartitionedBackend(OperatedPartitions):
    """A queue of several partitions (see the module, and ``Backend`` for what each method promises)."""

    durable = True
    shared = True

    _lock: threading.Lock

    def _reset(self) -> None:
        """Begin anew, as in a process that has just started."""
        super()._reset()
        self._lock = threading.Lock()
        # Not of `random`'s own generator: a forked child would draw what its parent draws.
        start = Random(os.urandom(8)).randrange(1 << 16)
        self._turn = start
        self._looks: Looks[Part] = Looks(start)
        self._undecided = Places(_UNDECIDED)
        self._standing_at = float("-inf")
        self._standing = (0, 1)
        self._listening: Member | None = None
        self._is_interrupted = False

    # Life

    def open(self) -> None:
        """Connect to the root and find the others. Raises ``QueueError`` as ``Members.refresh`` does."""
        self._members.root.backend.open()
        self._members.refresh()

    def close(self) -> None:
        """Release connections. Safe to call twice."""
        for member in self._members.known:
            member.backend.close()

    def abandon(self) -> None:
        """In a forked child: forget every handle that the parent owns, without closing it."""
        for member in self._members.known:
            member.backend.abandon()
        self._reset()

    # Producing

    def find_routing(self) -> Routing | None:
        """Return how the queue is divided, where it keeps the order per user."""
        self._members.refresh_if_old()
        if self._members.ordering is not Ordering.PER_USER:
            return None
        return self._members.ring.routing

    def commit(self, jobs: Sequence[NewJob]) -> CommitResult:
        """Store *jobs*: all in one partition or, with order per user, each in its own."""
        members = self._members
        if members.undivided is None:
            members.refresh_if_old()
        if members.undivided is not None:
            result = members.undivided.commit(jobs)
            if not result.stale:
                return result
            members.refresh()
            if self._members.ordering is Ordering.PER_USER:
                return result
        if not jobs:
            return CommitResult(0)
        return (
            self._commit_in_order(jobs)
            if self._members.ordering is Ordering.PER_USER
            else self._commit_anywhere(jobs)
        )

    def _commit_in_order(self, jobs: Sequence[NewJob]) -> CommitResult:
        """Store each of *jobs* where its route says. One that has none, or an outdated one, is to be made anew."""
        division = self._members.ring.present
        groups: dict[Part, list[NewJob]] = {}
        stale: list[str] = []
        for job in jobs:
            route = job.route
            if (
                route
                and route.generation == division.generation
                and 0 <= route.partition < division.partitions
            ):
                groups.setdefault(division.parts[route.partition], []).append(job)
            else:
                stale.append(job.id)
        results: list[tuple[Part, CommitResult]] = []
        away: list[str] = []
        failures: list[QueueUnavailable] = []
        for part, group in groups.items():
            member = self._members.find(part)
            try:
                if member.is_left_alone(time.monotonic()):
                    away += [job.id for job in group]
                else:
                    results.append((part, member.ask(member.backend.commit, group)))
                    self._hasten(part)
            except QueueUnavailable as failure:
                failures.append(failure)
                away += [job.id for job in group]
        if failures and not results and not stale:
            raise failures[0]
        if any(result.stale for _, result in results):
            self._members.refresh()
        return add_commits(results, stale=tuple(stale), away=tuple(away))

    def _commit_anywhere(self, jobs: Sequence[NewJob]) -> CommitResult:
        """Store *jobs* together in the partition whose turn it is, but for those that may be in another one already."""
        results: list[tuple[Part, CommitResult]] = []
        left = self._commit_again(self._seek_foreign(jobs, results), results)
        return self._commit_new(left, results)

    def _seek_foreign(
        self, jobs: Sequence[NewJob], results: list[tuple[Part, CommitResult]]
    ) -> Sequence[NewJob]:
        """Note in *results* which of *jobs*, that come out of another queue, some partition has already. Return the others."""
        ids = [job.id for job in jobs if job.is_foreign]
        if not ids:
            return jobs
        stored: set[str] = set()
        for member in self._members.all:
            if member.is_left_alone(time.monotonic()):
                continue
            try:
                found = member.ask(member.backend.lookup, ids)
            except QueueUnavailable:
                continue
            there = [
                i
                for i, fate in found.items()
                if fate is None or fate.reason not in (PURGED.reason, MOVED.reason)
            ]
            if there:
                self._known.note(there, member.part)
                stored.update(there)
                results.append((member.part, CommitResult(0, len(there))))
        return [job for job in jobs if job.id not in stored]

    def _commit_again(self, jobs: Sequence[NewJob], results: list[tuple[Part, CommitResult]]) -> list[NewJob]:
        """Commit those of *jobs* again that some partition may have. Return those that are for any partition."""
        left: list[NewJob] = []
        groups: dict[Part, list[NewJob]] = {}
        for job in jobs:
            part = self._undecided.get(job.id) or self._known.get(job.id)
            (left if part is None else groups.setdefault(part, [])).append(job)
        for part, group in groups.items():
            ids = [job.id for job in group]
            member = self._members.find(part)
            try:
                result: CommitResult = member.ask(member.backend.commit, group)
            except QueueUnavailable:
                if self._undecided.get(ids[0]) is None:
                    raise  # it is known to have them: they must not be stored a second time
                self._forget_places(ids)
                left += group
                continue
            self._undecided.forget(ids)
            refused = {*result.stale, *result.rejected}
            if result.stale:
                self._members.refresh()
            self._forget_places(refused)
            results.append((part, _without(result)))
            left += [job for job in group if job.id in refused]
        return left

    def _commit_new(self, left: Sequence[NewJob], results: list[tuple[Part, CommitResult]]) -> CommitResult:
        """Commit what is *left* to the partition whose turn it is; what that cannot take, to the next ones."""
        tried: set[Part] = set()
        failure: QueueUnavailable | None = None
        while left:
            member = self._next_taker(tried)
            if member is None:
                break
            tried.add(member.part)
            ids = [job.id for job in left]
            self._undecided.note(ids, member.part)
            try:
                result = self._commit_twice(member, left)
            except QueueUnavailable as error:
                failure = error
                continue
            self._undecided.forget(ids)
            if result.stale:
                self._members.refresh()
            again = {*result.rejected, *result.stale}
            results.append((member.part, _without(result)))
            self._known.note((job_id for job_id in ids if job_id not in again), member.part)
            if result.accepted:
                self._hasten(member.part)
            left = [job for job in left if job.id in again]
            if left:
                failure = None  # there is no room, or a new division: that is no outage
        if failure is not None and left:
            raise failure
        if left and not tried:
            raise QueueUnavailable(f"no partition of {self._name} can be reached")
        return add_commits(results, rejected=tuple(job.id for job in left))

    def _commit_twice(self, member: Member, jobs: Sequence[NewJob]) -> CommitResult:
        """Commit to a partition. Where its connection breaks, ask once more: it may have stored them."""
        began = time.monotonic()
        try:
            result: CommitResult = member.ask(member.backend.commit, jobs)
        except QueueUnavailable:
            if time.monotonic() - began > _QUICK:
                raise
            result = member.ask(member.backend.commit, jobs)
        return result

    def _next_taker(self, tried: set[Part]) -> Member | None:
        """Return the partition whose turn it is, ``None`` where each was tried or is away."""
        takers = self._members.takers
        now = time.monotonic()
        for _ in takers:
            with self._lock:
                self._turn += 1
                member = takers[self._turn % len(takers)]
            if member.part not in tried and not member.is_left_alone(now):
                return member
        return None

    def _forget_places(self, ids: Sequence[str] | set[str]) -> None:
        self._undecided.forget(ids)
        self._known.forget(ids)

    def _hasten(self, part: Part) -> None:
        with self._lock:
            self._looks.hasten(part)

    def lookup(self, ids: Sequence[str], *, epoch: str = "") -> Mapping[str, Failure | None]:
        """
        Say which of *ids* are still stored, by the partitions that *epoch* names.

        Of a partition that is away its jobs are said to be unfinished: nothing else is known of them.
        """
        plain = self._members.undivided
        if plain is not None and "/" not in epoch:
            return plain.lookup(ids, epoch=epoch)
        self._members.refresh_if_old()
        places = split_epoch(epoch)
        if not places:
            return merge_fates(self._ask_all(lambda member: member.backend.lookup(ids)))
        answers: list[Mapping[str, Failure | None]] = []
        for part, own in places.items():
            member = self._members.find(part)
            try:
                if member.is_left_alone(time.monotonic()):
                    answers.append(dict.fromkeys(ids))
                else:
                    answers.append(member.ask(member.backend.lookup, ids, epoch=own))
            except QueueUnavailable:
                answers.append(dict.fromkeys(ids))
        found = merge_fates(answers)
        lost = [job_id for job_id, fate in found.items() if fate == LOST]
        if lost:  # before a producer is told so, the others are asked: another process may have stored the job there
            others = [member for member in self._members.all if not member.is_left_alone(time.monotonic())]
            with contextlib.suppress(QueueUnavailable):
                elsewhere = self._ask_all(lambda member: member.backend.lookup(lost), members=others)
                found = merge_fates([found, *elsewhere])
        return found

    # Consuming

    def claim(
        self,
        token: str,
        *,
        limit: int,
        visibility_timeout: float,
        max_bytes: int | None = None,
        probe: bool = False,
        sending: bool = True,
        chain: int = 1,
        chain_bytes: int | None = None,
    ) -> Claim:
        """Lease jobs of one partition after another, until there are enough."""
        members = self._members
        if members.undivided is None:
            members.refresh_if_old()
        root = members.undivided
        if root is not None:
            claim = root.claim(
                token,
                limit=limit,
                visibility_timeout=visibility_timeout,
                max_bytes=max_bytes,
                probe=probe,
                sending=sending,
                chain=chain,
                chain_bytes=chain_bytes,
            )
            if not root.is_sealed:
                return claim
            members.refresh()
            if claim.jobs:
                self._held.note((job.id for job in claim.jobs), members.root.part)
                return claim
        round_ = _Round(limit, max_bytes)
        self._arrange(token)
        terms = {
            "visibility_timeout": visibility_timeout,
            "probe": probe,
            "sending": sending,
            "chain": chain,
            "chain_bytes": chain_bytes,
        }
        with self._lock:
            due = self._looks.due(time.monotonic())
        failure = self._look_into(due, round_, token, terms)
        if not round_.jobs:
            with self._lock:
                rest = self._looks.rest(due)
            failure = self._look_into(rest, round_, token, terms) or failure
        if failure is not None and not round_.answers:
            raise failure
        return round_.claim(self._find_wait(round_))

    def _look_into(
        self,
        parts: Sequence[Part],
        round_: _Round,
        token: str,
        terms: Mapping[str, Any],
    ) -> QueueUnavailable | None:
        """Claim from *parts* until the round has enough. Return why one of them could not be reached, if so."""
        failure = None
        for part in parts:
            member = self._members.find(part)
            if round_.is_full:
                break
            if member.is_left_alone(time.monotonic()):
                failure = failure or self._left_alone(member)
                continue
            was_sealed, asked = member.backend.is_sealed, round_.limit
            try:
                member.catch_up()
                if member.may_hold_unheard and not self._held.any_in(part):
                    member.ask(member.backend.leave, token)
                    member.may_hold_unheard = False
                claim: Claim = member.ask(
                    member.backend.claim,
                    token,
                    limit=asked,
                    max_bytes=round_.max_bytes,
                    **terms,
                )
            except QueueUnavailable as error:
                failure = error
                member.may_hold_unheard = True
                with self._lock:
                    self._looks.note_away(part, member.away_until)
                continue
            self._held.note((job.id for job in claim.jobs), part)
            more = bool(claim.jobs) and (len(claim.jobs) >= asked or claim.wait == 0.0)
            with self._lock:
                self._looks.note(part, time.monotonic(), found=bool(claim.jobs), more=more, wait=claim.wait)
            if was_sealed and not claim.jobs and claim.wait is None and not claim.obstacle:
                self._note_drained(member, token)
            elif member.backend.is_sealed and part in self._members.ring.newest.parts:
                self._members.refresh()  # others have divided the queue anew
                self._arrange(token)
            round_.add(claim, more=more)
        return failure

    def _note_drained(self, member: Member, token: str) -> None:
        if not member.is_drained:
            member.is_drained = True
            if self._members.ordering is Ordering.PER_USER:
                self._arrange(token)

    def _find_wait(self, round_: _Round) -> float | None:
        """Return when the next claim may find something: ``None`` where every partition says that time brings nothing."""
        if round_.is_cut:
            return 0.0
        if not round_.jobs and round_.answers >= len(self._members.givers):
            return min(round_.waits, default=None)
        with self._lock:
            due = self._looks.next_due(time.monotonic())
        return min([due, *round_.waits])

    def _arrange(self, token: str) -> None:
        """Go by the ring, and by the homes that this processor has now."""
        members = self._members
        now = time.monotonic()
        members.refresh_if_old()
        if now - self._standing_at > _STANDING:
            self._standing_at = now
            self._find_standing(token)
        givers = [member.part for member in members.givers]
        homes = find_homes(
            [member.part for member in members.takers if member.part in givers] or givers, *self._standing
        )
        with self._lock:
            self._looks.arrange(givers, homes, self._standing[1])

    def _find_standing(self, token: str) -> None:
        """Ask the root which processors live, and have what is empty forgotten. Homes stay as they are where that fails."""
        root = self._members.root
        try:
            text, before, live = root.ask(root.backend.read_standing, token)
            self._standing = before, live
            self._members.take(text)
            self._members.forget_empty()
        except QueueUnavailable:
            return

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
        self._require_any(failures)
        return count

    def settle(self, token: str, settlements: Sequence[Settlement]) -> list[bool]:
        """End leases otherwise, each where *token* still holds it. A partition that is away is told later."""
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
                answers = [True] * len(chosen)
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
        """Give back every lease of *token*, in every partition."""
        self._ask_all(lambda member: member.backend.leave(token))

    def wait(self, timeout: float) -> bool:
        """
        Block until something was queued in the first of this processor's homes, or *timeout*.

        With further homes a wait ends after a second, as there may be something in those.
        """
        members = self._members
        if members.undivided is not None:
            self._listening = members.root
            return members.undivided.wait(timeout)
        with self._lock:
            homes = self._looks.homes
        now = time.monotonic()
        found = [member for member in map(members.find, homes) if not member.is_left_alone(now)]
        member = self._listening = found[0] if found else members.root
        try:
            if self._is_interrupted:
                return False
            slice_ = timeout if len(homes) == 1 and found else min(timeout, 1.0)
            woken = bool(member.ask(member.backend.wait, slice_))
            if woken:
                self._hasten(member.part)
            return woken or (slice_ < timeout and not self._is_interrupted)
        finally:
            self._listening, self._is_interrupted = None, False

    def interrupt(self) -> None:
        """End a ``wait`` that is under way in this process, from another thread."""
        self._is_interrupted = True
        member = self._listening
        (member or self._members.root).backend.interrupt()


class _Round:
    """What one claim has found so far, and what it still takes."""

    def __init__(self, limit: int, max_bytes: int | None) -> None:
        self.limit = max(limit, 1)
        self.max_bytes = max_bytes
        self.jobs: list[ClaimedJob] = []
        self.answers = 0
        self.waits: list[float] = []
        self.is_cut = False
        """There are more jobs than it takes."""
        self.obstacle = ""
        self.held_up = False

    @property
    def is_full(self) -> bool:
        return self.limit <= 0 or self.is_cut

    def add(self, claim: Claim, *, more: bool) -> None:
        self.answers += 1
        self.jobs += claim.jobs
        self.limit -= len(claim.jobs)
        if self.max_bytes is not None and claim.jobs:
            self.max_bytes -= sum(len(job.payload or b"") for job in claim.jobs)
            self.is_cut = self.max_bytes <= 0 or claim.wait == 0.0
        if claim.wait is not None and not more:
            self.waits.append(claim.wait)
        self.obstacle = self.obstacle or claim.obstacle
        self.held_up = self.held_up or claim.held_up

    def claim(self, wait: float | None) -> Claim:
        return Claim(tuple(self.jobs), wait, "" if self.jobs else self.obstacle, self.held_up)


def _without(result: CommitResult) -> CommitResult:
    """Return *result* without the jobs that are tried elsewhere."""
    return replace(result, rejected=(), stale=())
