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

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from eventspool._backends.partitioned.leases import LeasedPartitions
from eventspool._backends.partitioned.looks import HOME_POLL, QUICK_POLL, find_homes
from eventspool._backends.partitioned.rate import SharedRate
from eventspool._backends.partitioned.round import Round
from eventspool._claim import PAUSED
from eventspool._config import Ordering
from eventspool._exceptions import QueueError, QueueUnavailable
from eventspool._job import Settlement, SettlementKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._backends.partitioned.member import Member
    from eventspool._backends.partitioned.ring import Part
    from eventspool._claim import Claim, ClaimedJob, ClaimTerms

__all__ = ["PartitionedBackend"]

_STANDING: Final = 10.0
"""Seconds between two looks at which processors live: homes are a preference, and may be late."""


_ROOT_FRESH: Final = 0.5
"""Seconds after which a claim looks into the root first: whether all processors stay away from the data plane."""


class PartitionedBackend(LeasedPartitions):
    """A queue of several partitions (see the module, and ``Backend`` for what each method promises)."""

    durable = True
    shared = True

    def _reset(self) -> None:
        """Begin anew, as in a process that has just started."""
        super()._reset()
        self._standing_at = self._root_at = float("-inf")
        self._rate = SharedRate(self._members.root)
        self._standing = (0, 1)
        self._listening: Member | None = None
        self._listened: Member | None = None
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
        if self._source is not None:
            self._source.close()

    def abandon(self) -> None:
        """In a forked child: forget every handle that the parent owns, without closing it."""
        for member in self._members.known:
            member.backend.abandon()
        if self._source is not None:
            self._source.abandon()
        self._reset()

    # Consuming

    def claim(self, token: str, terms: ClaimTerms) -> Claim:
        """
        Lease jobs of one partition after another, until there are enough.

        What all processors know of the data plane is in the root, which is asked first. It keeps the rate of all, too.
        """
        members = self._members
        if members.undivided is None:
            members.refresh_if_old()
        elif members.undivided.is_sealed:  # and this process cannot deliver what the queue was divided into
            members.refresh()
        root = members.undivided
        if root is not None:
            claim = root.claim(token, terms)
            if not root.is_sealed:
                return claim
            try:
                members.refresh()
            except QueueUnavailable:
                raise
            except QueueError:
                root.leave(token)  # others can deliver these jobs, at once
                raise
            if claim.jobs:
                self._held.note((job.id for job in claim.jobs), members.root.part)
                return claim
        rate = terms.events_per_second if terms.sending else None
        # While all stay away, only the root can say that they need not any longer.
        if rate and not self._is_held and (obstacle := self._rate.find_obstacle(rate)) is not None:
            return obstacle
        self._arrange(token)
        claim = self._claim_parts(Round(terms), token)
        if rate:
            claim, late = self._rate.limit(claim, rate, self._standing[1])
            if late:
                self._give_back(token, late)
        return claim

    def _give_back(self, token: str, jobs: Sequence[ClaimedJob]) -> None:
        known, _ = self._held.group([job.id for job in jobs])
        self.settle(
            token, [Settlement(job.id, SettlementKind.RELEASE, progress=job.progress) for job in jobs]
        )
        for part in known:
            self._hasten(part)

    def _claim_parts(self, round_: Round, token: str) -> Claim:
        """Claim what *round_* takes, from the root first where it may say that all processors stay away."""
        members = self._members
        if round_.left.sending and (self._is_held or time.monotonic() - self._root_at > _ROOT_FRESH):
            self._look_into([members.root.part], round_, token)
            self._root_at = time.monotonic()
            self._is_held = round_.gate is not None
            if round_.gate is not None:
                return self._claim_while_held(round_.gate, round_, token)
        with self._lock:
            due = self._looks.due(time.monotonic())
        failure = self._look_into(due, round_, token)
        if not round_.jobs:
            with self._lock:
                rest = self._looks.rest(due)
            for part in rest:
                failure = self._look_into([part], round_, token) or failure
                if round_.jobs:
                    break
        if failure is not None and not round_.answers:
            raise failure
        return round_.claim(self._find_wait(round_))

    def _claim_while_held(self, gate: Claim, round_: Round, token: str) -> Claim:
        """Return nothing where the root says so; where this processor is the probe of all, one job of any partition."""
        if gate.is_held_back or gate.obstacle == PAUSED:
            return gate
        if not round_.jobs:
            round_.left = replace(round_.left, limit=1, probe=True)
            root = self._members.root
            others = [member.part for member in self._members.givers if member is not root]
            self._look_into(others, round_, token)
        return replace(round_.claim(self._find_wait(round_)), is_probe=True, is_free=gate.is_free)

    def _look_into(self, parts: Sequence[Part], round_: Round, token: str) -> QueueUnavailable | None:
        """Claim from *parts* until the round has enough. Return why one of them could not be reached, if so."""
        failure = None
        for part in parts:
            member = self._members.find(part)
            if round_.is_full:
                break
            if member.is_left_alone(time.monotonic()):
                failure = failure or self._left_alone(member)
                continue
            was_sealed, asked = member.backend.is_sealed, round_.left.limit
            try:
                member.catch_up()
                if member.may_hold_unheard and not self._held.any_in(part):
                    member.ask(member.backend.leave, token)
                    member.may_hold_unheard = False
                claim: Claim = self._members.ask(member, member.backend.claim, token, round_.left)
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

    def _find_wait(self, round_: Round) -> float | None:
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

    def wait(self, timeout: float) -> bool:
        """
        Block until something was queued in the first of this processor's homes, or *timeout*.

        With further homes a wait ends when one of those is due to be looked into, at most after a second.
        """
        members = self._members
        if members.undivided is not None:
            self._listening = self._listened = members.root
            return members.undivided.wait(timeout)
        with self._lock:
            homes = self._looks.homes
        now = time.monotonic()
        found = [member for member in map(members.find, homes) if not member.is_left_alone(now)]
        member = self._listening = found[0] if found else members.root
        if self._listened not in (None, member):  # else a connection would stay open to each former home
            self._listened.backend.stop_waiting()
        self._listened = member
        try:
            if self._is_interrupted:
                return False
            slice_ = timeout
            if len(homes) > 1 or not found:
                with self._lock:
                    slice_ = min(timeout, max(self._looks.next_due(now), QUICK_POLL), HOME_POLL)
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
