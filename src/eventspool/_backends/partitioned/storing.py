"""
How jobs get into a queue of several partitions, and how producers ask for them. ``backend`` says which partition takes them.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Final

from eventspool._backends.partitioned.looks import Looks
from eventspool._backends.partitioned.merging import add_commits, merge_fates, split_epoch
from eventspool._backends.partitioned.operated import OperatedPartitions
from eventspool._backends.partitioned.places import Places
from eventspool._config import Ordering
from eventspool._exceptions import QueueUnavailable, Unconfirmed
from eventspool._job import LOST, MOVED, PURGED, CommitResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eventspool._backends.partitioned.member import Member
    from eventspool._backends.partitioned.ring import Part
    from eventspool._job import Failure, NewJob
    from eventspool._routing import Routing

__all__ = ["StoringPartitions"]

_UNDECIDED: Final = 10_000
"""Jobs, the last ones, whose commit was not answered, and of which it is remembered where it went."""
_QUICK: Final = 0.5
"""Seconds within which a partition that is gone fails. A second call of one that does not answer would take as long again."""


class StoringPartitions(OperatedPartitions):
    """A queue of several partitions as producers use it (see ``Backend`` for what each method promises)."""

    def _reset(self) -> None:
        """Begin anew, as in a process that has just started."""
        super()._reset()
        self._lock = threading.Lock()
        # Not of `random`'s own generator: a forked child would draw what its parent draws.
        start = Random(os.urandom(8)).randrange(1 << 16)
        self._turn = start
        self._looks: Looks[Part] = Looks(start)
        self._undecided = Places(_UNDECIDED)

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
        """Store each of *jobs* where its route says. One without a route, or new with an outdated one, is to be made anew."""
        ring = self._members.ring
        division = ring.present
        # One that was made for an older division goes to its sealed partition, too: where the reply to its commit was lost,
        # that has it, and it must not be made anew.
        divisions = {
            each.generation: each for each in ring.divisions if each.generation <= division.generation
        }
        groups: dict[Part, list[NewJob]] = {}
        stale: list[str] = []
        for job in jobs:
            route = job.route
            made_for = divisions.get(route.generation) if route else None
            if route and made_for and 0 <= route.partition < made_for.partitions:
                groups.setdefault(made_for.parts[route.partition], []).append(job)
            else:
                stale.append(job.id)
        results: list[tuple[Part, CommitResult]] = []
        away: list[str] = []
        failures: list[QueueUnavailable] = []
        for part, group in groups.items():
            member = self._members.find(part)
            try:
                if member.takes_commits(time.monotonic()):
                    results.append((part, self._members.ask(member, member.backend.commit, group)))
                    self._hasten(part)
                else:
                    away += [job.id for job in group]
            except QueueUnavailable as failure:
                failures.append(failure)
                away += [job.id for job in group]
        if failures and not results and not stale:
            raise failures[0]
        if any(result.stale and part in division.parts for part, result in results):
            self._members.refresh()
        return add_commits(results, stale=tuple(stale), away=tuple(away))

    def _commit_anywhere(self, jobs: Sequence[NewJob]) -> CommitResult:
        """Store *jobs* together in the partition whose turn it is, but for those that may be in another one already."""
        results: list[tuple[Part, CommitResult]] = []
        # By server: why it has not acknowledged what it has stored. It is not asked to store that a second time.
        unconfirmed: dict[str, Unconfirmed] = {}
        self._seek_foreign(jobs)
        left = self._commit_again(jobs, results, unconfirmed)
        return self._commit_new(left, results, unconfirmed)

    def _seek_foreign(self, jobs: Sequence[NewJob]) -> None:
        """Note which of *jobs*, that come out of another queue, some partition has already: they are committed there again."""
        ids = [job.id for job in jobs if job.is_foreign]
        for member in self._members.all if ids else ():
            if member.is_left_alone(time.monotonic()):
                continue
            try:
                found = member.ask(member.backend.lookup, ids)
            except QueueUnavailable:
                continue
            gone = (PURGED.reason, MOVED.reason)
            there = (job_id for job_id, fate in found.items() if fate is None or fate.reason not in gone)
            self._known.note(there, member.part)

    def _commit_again(
        self,
        jobs: Sequence[NewJob],
        results: list[tuple[Part, CommitResult]],
        unconfirmed: dict[str, Unconfirmed],
    ) -> list[NewJob]:
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
                result: CommitResult = self._members.ask(member, member.backend.commit, group)
            except Unconfirmed as failure:
                if self._undecided.get(ids[0]) is None:
                    raise  # as below
                unconfirmed[failure.node] = failure
                left += group
                continue
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

    def _commit_new(
        self,
        left: Sequence[NewJob],
        results: list[tuple[Part, CommitResult]],
        unconfirmed: dict[str, Unconfirmed],
    ) -> CommitResult:
        """Commit what is *left* to the partition whose turn it is; what that cannot take, to the next ones."""
        tried: set[Part] = set()
        failure: QueueUnavailable | None = next(iter(unconfirmed.values()), None)
        while left:
            member = self._next_taker(tried, unconfirmed)
            if member is None:
                break
            tried.add(member.part)
            ids = [job.id for job in left]
            self._undecided.note(ids, member.part)
            try:
                result = self._commit_twice(member, left)
            except Unconfirmed as error:
                self._hasten(member.part)
                failure = unconfirmed[error.node] = error
                continue
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
            result: CommitResult = self._members.ask(member, member.backend.commit, jobs)
        except Unconfirmed:
            raise
        except QueueUnavailable:
            if time.monotonic() - began > _QUICK:
                raise
            result = member.ask(member.backend.commit, jobs)
        return result

    def _next_taker(self, tried: set[Part], unconfirmed: Mapping[str, Unconfirmed]) -> Member | None:
        """Return the partition whose turn it is, ``None`` where each was tried, is away, or lacks its replicas."""
        takers = self._members.takers
        now = time.monotonic()
        for _ in takers:
            with self._lock:
                self._turn += 1
                member = takers[self._turn % len(takers)]
            if member.part in tried or not member.takes_commits(now):
                continue
            # One whose server is not known may be on the same one.
            if not unconfirmed or member.backend.node not in ("", *unconfirmed):
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


def _without(result: CommitResult) -> CommitResult:
    """Return *result* without the jobs that are tried elsewhere. Its advice stays: there may be no room there, either."""
    return replace(result, rejected=(), stale=())
