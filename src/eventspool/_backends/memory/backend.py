"""The queue in memory, as producers and processors use it: batches are committed, leased and settled."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eventspool._backends.fleet import Admission, Budget, micros
from eventspool._backends.memory.entries import Entry
from eventspool._backends.memory.operated import OperatedQueue
from eventspool._backends.rules import PAUSE_POLL, PROBE_DEPTH, QUEUE_LEASE, count_within
from eventspool._claim import HELD, LIMITED, PAUSED, Claim, ClaimedJob
from eventspool._job import LOST, MOVED, CommitResult, Failure, NewJob, SettlementKind, created_at_from_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eventspool._claim import ClaimTerms
    from eventspool._fleet import Hold, Trouble
    from eventspool._job import Settlement

__all__ = ["MemoryBackend"]


class MemoryBackend(OperatedQueue):
    """Keeps the jobs of one queue in memory (see ``Backend`` for what each method promises)."""

    durable = False
    shared = False

    def open(self) -> None:
        """There is nothing to connect to."""

    def close(self) -> None:
        """End waits. The jobs stay."""
        self._bell.interrupt()

    def abandon(self) -> None:
        """Forget the parent's jobs: the parent delivers them."""
        self._reset()

    def find_routing(self) -> None:
        """Return ``None``: no queue in memory keeps the order per user."""

    def commit(self, jobs: Sequence[NewJob]) -> CommitResult:
        """Store *jobs*, in order, due at once."""
        accepted = duplicates = 0
        rejected: list[str] = []
        impossible: list[str] = []
        with self._step() as entries:
            now = self._now()
            for job in jobs:
                if job.id in entries.jobs or job.id in entries.failed:
                    duplicates += 1
                elif len(job.payload) > self._max_bytes:
                    impossible.append(job.id)
                elif not self._fits(len(job.payload)) or (rejected and self._rules.rejects_followers):
                    rejected.append(job.id)
                else:
                    entries.add(self._new_entry(job, now))
                    accepted += 1
                    self._accepted += job.events
        if accepted:
            self._bell.ring()
        return CommitResult(accepted, duplicates, tuple(rejected), tuple(impossible), self._epoch)

    def _new_entry(self, job: NewJob, now: float) -> Entry:
        if job.failure is None:
            return Entry(job.id, job.payload, job.events, now, 0, job.attempts, job.progress)
        failure = replace(job.failure, payload=None, events=job.events, purged=())
        failed_at = job.failed_at + self._skew
        return Entry(job.id, job.payload, job.events, failed_at, 0, job.attempts, failure=failure)

    def _fits(self, size: int) -> bool:
        live, buried = self._entries.live, self._entries.buried
        return (
            live.jobs + buried.jobs < self._max_jobs and live.bytes + buried.bytes + size <= self._max_bytes
        )

    def claim(self, token: str, terms: ClaimTerms) -> Claim:
        """Lease due jobs to *token*."""
        with self._step():
            now = self._now()
            self._processors[token] = now
            if self._paused:
                self._bell.heard()
                return Claim(wait=PAUSE_POLL, obstacle=PAUSED)
            holding = self._fleet.holding if terms.sending else None
            admission, admitted = Admission(), None
            if holding is not None and holding.is_believable(micros(now)):
                admission, admitted = holding.admit(token, micros(now))
                if admission.wait:
                    self._bell.heard()
                    return Claim((), admission.wait / 1e6, holding.why, is_held_back=True)
                terms = replace(terms, limit=1, probe=True)
            held_until = (
                self._take_queue(token, now, terms.visibility_timeout) if self._rules.one_holder else None
            )
            if held_until is not None:
                self._bell.heard()
                return Claim(wait=max(held_until - now, 0.0), obstacle=HELD)
            claim = self._claim(token, now, terms)
            if admitted is None:
                return claim
            self._fleet = replace(self._fleet, holding=admitted)
            return replace(claim, is_probe=True, is_free=admission.is_free)

    def _claim(self, token: str, now: float, terms: ClaimTerms) -> Claim:
        """Lease jobs, where nothing is in the way but the rate."""
        entries = self._entries
        taken = entries.take(now, PROBE_DEPTH if terms.probe else terms.limit)
        chosen = entries.probed(taken, terms.limit) if terms.probe else entries.due_among(taken, now)
        within = count_within((len(entry.payload) for entry in chosen), terms.max_bytes)
        rate = terms.events_per_second if terms.sending else None
        later = 0
        if rate is not None:
            budget = Budget(rate, self._paid)
            within, budget, later = budget.take([entry.events for entry in chosen[:within]], micros(now))
            self._paid = budget.paid
        claimed = tuple(
            [
                self._lease(entry, token, now + terms.visibility_timeout, terms.sending)
                for entry in chosen[:within]
            ]
        )
        entries.put_back(taken)
        if later:
            return Claim(claimed, later / 1e6, "" if claimed else LIMITED)
        if len(claimed) == terms.limit or within < len(chosen):
            return Claim(claimed, None if len(claimed) == terms.limit else 0.0)
        self._bell.heard()
        # If none of the taken jobs may be leased, the first of them holds up the others until its retry.
        next_due = taken[0].due if taken and not claimed else entries.next_due()
        return Claim(claimed, None if next_due is None else max(next_due - now, 0.0))

    def hold(self, token: str, trouble: Trouble | None, *, is_probe: bool) -> Hold | None:
        """Tell all processors of *trouble* with the data plane, or that it works."""
        with self._step():
            now = micros(self._now())
            was_held = self._fleet.holding is not None
            if trouble is None:
                self._answered = now
            self._fleet = self._fleet.hear(
                token, trouble, is_probe=is_probe, answered=self._answered, now=now
            )
            holding = self._fleet.holding
            if was_held and holding is None:
                self._bell.ring()
            return None if holding is None else holding.tell(now)

    def _take_queue(self, token: str, now: float, visibility_timeout: float) -> float | None:
        """Lease the queue to *token*. Return the time until which nothing may be handed out, or None."""
        if self._holder not in ("", token) and self._holder_until > now:
            return self._holder_until
        leased = [e for e in self._entries.moved.values() if e.token]
        if self._holder != token:
            for entry in leased:
                entry.end_stalled(now)
            leased = []
        self._holder, self._holder_until = token, now + min(visibility_timeout, QUEUE_LEASE)
        # What comes next must not overtake the jobs that this token has leased already.
        return min((e.due for e in leased if e.due > now), default=None)

    def _lease(self, entry: Entry, token: str, until: float, sending: bool) -> ClaimedJob:  # noqa: FBT001
        entry.end_stalled(until)
        stalled = entry.stalled
        entry.token, entry.stalled, entry.idle = token, False, not sending
        self._entries.moved[entry.id] = entry
        return ClaimedJob(
            entry.id, entry.payload, entry.attempts, entry.progress, created_at_from_id(entry.id), stalled
        )

    def ack(self, ids: Sequence[str]) -> int:
        """Forget delivered jobs, whatever token holds them."""
        with self._step() as entries:
            delivered = [entry for entry in map(entries.forget, ids) if entry is not None]
            self._delivered += sum(entry.events for entry in delivered)
            if delivered:
                self._answered = micros(self._now())
            return len(delivered)

    def pass_on(self, ids: Sequence[str], *, remember: bool = True) -> int:
        """Forget jobs that another queue has taken."""
        with self._step() as entries:
            moved = [entry for entry in map(entries.forget, ids) if entry is not None]
            self._moved_on += sum(entry.events for entry in moved)
            if remember:
                self._fates.remember({entry.id: MOVED for entry in moved}, self._now())
            return len(moved)

    def settle(self, token: str, settlements: Sequence[Settlement]) -> list[bool]:
        """End leases otherwise."""
        with self._step():
            now = self._now()
            return [self._settle(token, settlement, now) for settlement in settlements]

    def _settle(self, token: str, settlement: Settlement, now: float) -> bool:
        entry = self._entries.jobs.get(settlement.job_id)
        if entry is None or entry.token != token:
            return False
        entry.attempts += settlement.kind is not SettlementKind.RELEASE
        entry.token = ""
        if settlement.kind is SettlementKind.FAIL:
            failure = settlement.failure or Failure("unknown", "", entry.events)
            if failure.payload is not None:
                self._delivered += max(entry.events - failure.events, 0)
            self._given_up += entry.events if failure.payload is None else failure.events
            self._entries.bury(entry, failure, now)
        else:
            entry.progress, entry.due = settlement.progress, now + settlement.delay
            entry.put_off = entry.due if settlement.delay > 0 else 0.0
            self._entries.schedule(entry)
            self._bell.ring()
        return True

    def renew(self, token: str, ids: Sequence[str], *, visibility_timeout: float, note: str = "") -> set[str]:
        """Extend leases."""
        with self._step() as entries:
            now = self._now()
            self._processors[token] = now
            if note:
                self._notes[token] = note
            if self._holder == token:
                self._holder_until = now + min(visibility_timeout, QUEUE_LEASE)
            lost = set()
            for job_id in ids:
                entry = entries.jobs.get(job_id)
                if entry is None or entry.token != token:
                    lost.add(job_id)
                else:
                    entry.due = now + visibility_timeout
                    entries.schedule(entry)
            return lost

    def leave(self, token: str) -> None:
        """Give back every lease of *token*."""
        with self._step() as entries:
            now = self._now()
            self._processors.pop(token, None)
            self._notes.pop(token, None)
            if self._holder == token:
                self._holder = ""
            self._fleet = self._fleet.forget(token)
            for entry in [e for e in entries.moved.values() if e.token == token]:
                entry.token, entry.due = "", now
                entries.schedule(entry)
        self._bell.ring()

    def wait(self, timeout: float) -> bool:
        """Block until there may be something to claim."""
        return self._bell.wait(timeout)

    def interrupt(self) -> None:
        """End a ``wait`` that is under way."""
        self._bell.interrupt()

    def lookup(self, ids: Sequence[str], *, epoch: str = "") -> Mapping[str, Failure | None]:
        """Say which of *ids* are still stored."""
        with self._step() as entries:
            lost = ids if epoch not in ("", self._epoch) else ()
            fates = self._fates.find(ids)
            stored = {entry.id: entry.failure for entry in entries.select(ids)}
            for job_id, failure in stored.items():
                if failure is not None and job_id in fates:
                    stored[job_id] = replace(failure, purged=fates[job_id].indices or ())
            return {**dict.fromkeys(lost, LOST), **fates, **stored}

    def unfinished(self) -> list[NewJob]:
        """Return the unfinished jobs as another queue may take them, with what they went through here."""
        with self._step() as entries:
            return [NewJob(e.id, e.payload, e.events, e.attempts, e.progress) for e in entries.jobs.values()]
