"""The queue in this process's memory: not durable, and the readable reference of what every backend does."""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING

from eventspool._backends._bell import Bell
from eventspool._job import (
    LOST,
    PURGED,
    PURGED_FOR,
    PURGED_KEPT,
    Claim,
    ClaimedJob,
    CommitResult,
    Depth,
    Failure,
    Job,
    JobState,
    QueueStats,
    SettlementKind,
    created_at_from_id,
    new_token,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from eventspool._job import NewJob, Settlement

__all__ = ["MemoryBackend"]

QUEUE_LEASE = 10.0
"""Longest lease of a first-in-first-out queue as a whole, in seconds."""
PROBE_DEPTH = 1000
"""How many due jobs a probe looks at."""
AGE_DEPTH = 100
"""Among how many of the next jobs the oldest is sought; clocks of producers differ, but not by more jobs than these."""
PROCESSOR_TTL = 30.0
"""Seconds after which a silent processor is no longer counted."""
PAUSE_POLL = 1.0
"""Seconds after which a processor that met a paused queue looks again, should no bell have told it."""
_SLACK = 1000
"""Stale entries that a heap may hold before it is rebuilt: rare enough to cost each push a constant share."""


@dataclass(slots=True)
class _Entry:
    """A stored job. *due* is when it is due or when its lease ends; *place* orders what is due together."""

    id: str
    payload: bytes = field(repr=False)
    events: int
    due: float
    place: int
    attempts: int = 0
    progress: str = ""
    token: str = ""
    stalled: bool = False
    failure: Failure | None = None

    def state(self, now: float) -> JobState:
        if self.failure is not None:
            return JobState.FAILED
        if self.due <= now:
            return JobState.WAITING
        return JobState.LEASED if self.token else JobState.DELAYED


class MemoryBackend:
    """
    Keeps the jobs of one queue in memory (see ``Backend`` for what each method promises).

    Args:
        fifo: Hand jobs out strictly in order, to one processor at a time.
        max_jobs: Most jobs held, failed ones included.
        max_bytes: Most payload bytes held, failed ones included.
        clock: Returns seconds since the epoch.
    """

    durable = False
    shared = False

    def __init__(
        self,
        *,
        fifo: bool = False,
        max_jobs: int = 1_000_000,
        max_bytes: int = 1 << 30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fifo = fifo
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        self._clock = clock
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._bell = Bell()
        self._jobs: dict[str, _Entry] = {}  # unfinished
        self._failed: dict[str, _Entry] = {}
        self._fresh: deque[_Entry] = (
            deque()
        )  # jobs that nobody ever held, in order, all due; others are skipped
        self._moved: dict[
            str, _Entry
        ] = {}  # unfinished jobs that were leased, delayed or replayed: few, next to all
        self._due: list[tuple[float, int, str]] = []  # a heap of these; entries unlike their job are skipped
        self._live = Depth()
        self._buried = Depth()
        self._epoch = new_token()
        self._processors: dict[str, float] = {}
        self._notes: dict[str, str] = {}
        self._paused = False
        self._accepted = self._delivered = self._given_up = self._erased = 0  # events, of all time
        self._purged: dict[str, float] = {}  # the last purged jobs and when that was, in order
        self._holder = ""
        self._holder_until = 0.0
        self._places = 0
        self._last = 0.0
        self._skew = 0.0

    def open(self) -> None:
        """There is nothing to connect to."""

    def close(self) -> None:
        """End waits. The jobs stay."""
        self._bell.interrupt()

    def abandon(self) -> None:
        """Forget the parent's jobs: the parent delivers them."""
        self._reset()

    def commit(self, jobs: Sequence[NewJob]) -> CommitResult:
        """Store *jobs*, in order, due at once."""
        accepted = duplicates = 0
        rejected: list[str] = []
        with self._lock:
            now = self._now()
            for job in jobs:
                if job.id in self._jobs or job.id in self._failed:
                    duplicates += 1
                elif not self._fits(len(job.payload)) or (self._fifo and rejected):
                    rejected.append(job.id)
                else:
                    entry = _Entry(job.id, job.payload, job.events, now, 0)
                    self._enter(entry)
                    self._fresh.append(entry)
                    accepted += 1
                    self._accepted += entry.events
        if accepted:
            self._bell.ring()
        return CommitResult(accepted, duplicates, tuple(rejected), self._epoch)

    def _fits(self, size: int) -> bool:
        jobs, total = self._live.jobs + self._buried.jobs, self._live.bytes + self._buried.bytes
        return jobs < self._max_jobs and total + size <= self._max_bytes

    def claim(self, token: str, *, limit: int, visibility_timeout: float, probe: bool = False) -> Claim:
        """Lease up to *limit* due jobs to *token*."""
        with self._lock:
            now = self._now()
            self._processors[token] = now
            if self._paused:
                self._bell.heard()
                return Claim(wait=PAUSE_POLL)
            if self._fifo:
                held_until = self._take_queue(token, now, visibility_timeout)
                if held_until is not None:
                    self._bell.heard()
                    return Claim(wait=max(held_until - now, 0.0))
                due = self._pop_first(PROBE_DEPTH if probe else limit)
            else:
                due = self._pop_due(now, PROBE_DEPTH if probe else limit)
            if probe:
                chosen = heapq.nsmallest(limit, due, key=lambda e: e.attempts + bool(e.token))
            else:  # in strict order, nothing passes a job that waits for its retry
                chosen = list(takewhile(lambda e: e.due <= now, due))
            claimed = [self._lease(entry, token, now + visibility_timeout) for entry in chosen]
            self._put_back(due)
            if len(claimed) == limit:
                return Claim(tuple(claimed))
            self._bell.heard()
            if due and not claimed:  # in strict order: the first one waits
                return Claim(wait=due[0].due - now)
            return Claim(tuple(claimed), max(self._due[0][0] - now, 0.0) if self._drop_stale() else None)

    def _take_queue(self, token: str, now: float, visibility_timeout: float) -> float | None:
        """Lease the queue to *token*. Return the time until which nothing may be handed out, or None."""
        if self._holder not in ("", token) and self._holder_until > now:
            return self._holder_until
        leased = [e for e in self._moved.values() if e.token]
        if self._holder != token:
            for entry in leased:
                entry.token, entry.attempts, entry.stalled, entry.due = "", entry.attempts + 1, True, now
            leased = []
        self._holder, self._holder_until = token, now + min(visibility_timeout, QUEUE_LEASE)
        # What comes next must not overtake those under way.
        return min((e.due for e in leased if e.due > now), default=None)

    def _pop_first(self, limit: int) -> list[_Entry]:
        moved = deque(sorted(self._moved.values(), key=self._rank))
        first: list[_Entry] = []
        while len(first) < limit and (self._skip_held() or moved):
            fresh = self._fresh[0] if self._fresh else None
            if fresh is not None and not (moved and self._rank(moved[0]) < self._rank(fresh)):
                first.append(self._fresh.popleft())
            else:
                first.append(moved.popleft())
        return first

    def _pop_due(self, now: float, limit: int) -> list[_Entry]:
        due: list[_Entry] = []
        while len(due) < limit:
            moved = self._jobs[self._due[0][2]] if self._drop_stale() and self._due[0][0] <= now else None
            if self._skip_held() and (moved is None or self._rank(self._fresh[0]) < self._rank(moved)):
                due.append(self._fresh.popleft())
            elif moved is not None:
                heapq.heappop(self._due)
                due.append(moved)
            else:
                break
        return due

    def _put_back(self, due: list[_Entry]) -> None:
        """Put jobs into the order again: leased now, or looked at by a probe and left."""
        for entry in reversed(due):
            if entry.id in self._moved:
                self._push(entry)
            else:
                self._fresh.appendleft(entry)

    def _skip_held(self) -> bool:
        """Remove jobs that are gone, or were held since, from the front. False when there are no others."""
        while self._fresh:
            entry = self._fresh[0]
            if entry.id not in self._moved and self._jobs.get(entry.id) is entry:
                return True
            self._fresh.popleft()
        return False

    def _drop_stale(self) -> bool:
        """Remove entries from the heap's top until it matches its job. False when the heap is empty."""
        while self._due:
            due, place, job_id = self._due[0]
            entry = self._jobs.get(job_id)
            if entry is not None and (entry.due, entry.place) == (due, place):
                return True
            heapq.heappop(self._due)
        return False

    def _lease(self, entry: _Entry, token: str, until: float) -> ClaimedJob:
        stalled = entry.stalled or bool(entry.token)
        if entry.token:  # the lease ran out
            entry.attempts += 1
        entry.token, entry.due, entry.stalled = token, until, False
        self._moved[entry.id] = entry
        return ClaimedJob(
            entry.id, entry.payload, entry.attempts, entry.progress, created_at_from_id(entry.id), stalled
        )

    def ack(self, ids: Sequence[str]) -> int:
        """Forget delivered jobs, whoever holds them."""
        with self._lock:
            delivered = [entry for entry in map(self._forget, ids) if entry is not None]
            self._delivered += sum(entry.events for entry in delivered)
            return len(delivered)

    def settle(self, token: str, settlements: Sequence[Settlement]) -> list[bool]:
        """End leases otherwise."""
        with self._lock:
            now = self._now()
            return [self._settle(token, settlement, now) for settlement in settlements]

    def _settle(self, token: str, settlement: Settlement, now: float) -> bool:
        entry = self._jobs.get(settlement.job_id)
        if entry is None or entry.token != token:
            return False
        entry.attempts += settlement.kind is not SettlementKind.RELEASE
        entry.token = ""
        if settlement.kind is SettlementKind.FAIL:
            self._forget(entry.id)
            failure = settlement.failure or Failure("unknown", "", entry.events)
            if failure.payload is not None:
                self._delivered += max(entry.events - failure.events, 0)
                entry.payload, entry.events = failure.payload, failure.events
            entry.failure = replace(failure, payload=None, events=entry.events)
            entry.due, entry.progress = now, ""
            self._failed[entry.id] = entry
            self._buried = _grow(self._buried, entry, 1)
            self._given_up += entry.events
        else:
            entry.progress, entry.due = settlement.progress, now + settlement.delay
            self._schedule(entry)
            self._bell.ring()
        return True

    def renew(self, token: str, ids: Sequence[str], *, visibility_timeout: float, note: str = "") -> set[str]:
        """Extend leases."""
        with self._lock:
            now = self._now()
            self._processors[token] = now
            if note:
                self._notes[token] = note
            if self._holder == token:
                self._holder_until = now + min(visibility_timeout, QUEUE_LEASE)
            lost = set()
            for job_id in ids:
                entry = self._jobs.get(job_id)
                if entry is None or entry.token != token:
                    lost.add(job_id)
                else:
                    entry.due = now + visibility_timeout
                    self._schedule(entry)
            return lost

    def leave(self, token: str) -> None:
        """Give back every lease of *token*."""
        with self._lock:
            now = self._now()
            self._processors.pop(token, None)
            self._notes.pop(token, None)
            if self._holder == token:
                self._holder = ""
            for entry in [e for e in self._moved.values() if e.token == token]:
                entry.token, entry.due = "", now
                self._schedule(entry)
        self._bell.ring()

    def wait(self, timeout: float) -> bool:
        """Block until there may be something to claim."""
        return self._bell.wait(timeout)

    def interrupt(self) -> None:
        """End a ``wait`` that is under way."""
        self._bell.interrupt()

    def lookup(self, ids: Sequence[str], *, epoch: str = "") -> Mapping[str, Failure | None]:
        """Say which of *ids* are still stored."""
        with self._lock:
            found: dict[str, Failure | None] = {}
            if epoch not in ("", self._epoch):
                found.update(dict.fromkeys(ids, LOST))
            if self._purged:
                found.update((job_id, PURGED) for job_id in ids if job_id in self._purged)
            entries = [self._jobs.get(job_id) or self._failed.get(job_id) for job_id in ids]
            return {**found, **{entry.id: entry.failure for entry in entries if entry is not None}}

    def stats(self) -> QueueStats:
        """Count."""
        with self._lock:
            now = self._now()
            moved = {JobState.WAITING: Depth(), JobState.DELAYED: Depth(), JobState.LEASED: Depth()}
            for entry in self._moved.values():
                state = entry.state(now)
                moved[state] = _grow(moved[state], entry, 1)
            delayed, leased, live = moved[JobState.DELAYED], moved[JobState.LEASED], self._live
            waiting = Depth(
                live.jobs - delayed.jobs - leased.jobs,
                live.events - delayed.events - leased.events,
                live.bytes - delayed.bytes - leased.bytes,
            )
            self._skip_held()
            near = chain(self._moved.values(), islice(self._fresh, AGE_DEPTH))
            born = [created_at_from_id(entry.id) or now for entry in near if entry.id in self._jobs]
            age = max(self._clock() - min(born), 0.0) if born else 0.0
            processors = len(self._sighted(now))
            totals = self._accepted, self._delivered, self._given_up, self._erased
            return QueueStats(waiting, delayed, leased, self._buried, age, processors, self._paused, *totals)

    def processors(self) -> list[tuple[str, float, str]]:
        """List the live processors."""
        with self._lock:
            sighted = self._sighted(self._now())
            return [(token, at - self._skew, self._notes.get(token, "")) for token, at in sighted.items()]

    def _sighted(self, now: float) -> dict[str, float]:
        """Return the processors seen of late, and forget the others."""
        self._processors = {t: at for t, at in self._processors.items() if now - at <= PROCESSOR_TTL}
        self._notes = {t: note for t, note in self._notes.items() if t in self._processors}
        return self._processors

    def reasons(self) -> Mapping[str, Depth]:
        """Count the failed jobs by reason."""
        found: dict[str, Depth] = {}
        with self._lock:
            for entry in self._failed.values():
                reason = entry.failure.reason if entry.failure else "unknown"
                found[reason] = _grow(found.get(reason, Depth()), entry, 1)
        return found

    def pause(self, paused: bool) -> None:  # noqa: FBT001
        """Stop or resume handing out jobs."""
        with self._lock:
            self._paused = paused
        self._bell.ring()

    def expedite(self, ids: Sequence[str]) -> int:
        """Make delayed jobs due at once."""
        with self._lock:
            now = self._now()
            entries = [self._jobs[job_id] for job_id in dict.fromkeys(ids) if job_id in self._jobs]
            delayed = [entry for entry in entries if entry.state(now) is JobState.DELAYED]
            for entry in delayed:
                entry.due = now
                self._schedule(entry)
        self._bell.ring()
        return len(delayed)

    def rewrite(self, job_id: str, expected: bytes, payload: bytes, events: int) -> bool:
        """Put *payload* in the place of *expected*."""
        with self._lock:
            now = self._now()
            entry = self._jobs.get(job_id) or self._failed.get(job_id)
            if entry is None or entry.payload != expected or entry.progress:
                return False
            if entry.state(now) is JobState.LEASED:
                return False
            if entry.token:  # its lease ran out: a stale holder must not bring back what it read
                entry.token, entry.attempts, entry.stalled = "", entry.attempts + 1, True
            buried = entry.failure is not None
            depth = _grow(self._buried if buried else self._live, entry, -1)
            self._erased += max(entry.events - events, 0)
            entry.payload, entry.events = payload, events
            if entry.failure is not None:
                entry.failure = replace(entry.failure, events=events)
            depth = _grow(depth, entry, 1)
            if buried:
                self._buried = depth
            else:
                self._live = depth
            return True

    def jobs(self, state: JobState, *, limit: int, after: str | None = None) -> list[Job]:
        """List jobs."""
        with self._lock:
            now = self._now()
            entries: Iterable[_Entry] = (self._failed if state is JobState.FAILED else self._jobs).values()
            cursor = self._jobs.get(after or "") or self._failed.get(after or "")
            timed = state in (JobState.DELAYED, JobState.LEASED)
            rank = (lambda e: (e.due, e.place)) if timed else self._rank
            behind = rank(cursor) if cursor is not None else (-1.0, -1)
            matching = (e for e in entries if e.state(now) is state and rank(e) > behind)
            return [self._describe(e, now) for e in heapq.nsmallest(limit, matching, rank)]

    def _rank(self, entry: _Entry) -> tuple[float, int]:
        """The order of due times, or of places where a job keeps its place."""
        return (0.0 if self._fifo and entry.failure is None else entry.due, entry.place)

    def _describe(self, entry: _Entry, now: float) -> Job:
        failure = entry.failure
        return Job(
            entry.id,
            entry.state(now),
            entry.events,
            len(entry.payload),
            entry.attempts,
            failure.reason if failure else None,
            failure.error if failure else None,
            created_at_from_id(entry.id),
            None if failure else entry.due - self._skew,
            entry.due - self._skew if failure else None,
        )

    def payload(self, job_id: str) -> bytes | None:
        """Return one job's envelope."""
        with self._lock:
            entry = self._jobs.get(job_id) or self._failed.get(job_id)
            return entry.payload if entry is not None else None

    def replay(self, ids: Sequence[str]) -> int:
        """Move failed jobs back to waiting, behind all others."""
        with self._lock:
            now = self._now()
            entries = [self._failed[job_id] for job_id in dict.fromkeys(ids) if job_id in self._failed]
            for entry in entries:
                self._forget(entry.id)
                entry.failure, entry.attempts, entry.due = None, 0, now
                self._enter(entry)
                self._schedule(entry)
        self._bell.ring()
        return len(entries)

    def purge(self, state: JobState, ids: Sequence[str]) -> int:
        """Delete those of *ids* that are in *state*."""
        with self._lock:
            now = self._now()
            entries = [self._jobs.get(job_id) or self._failed.get(job_id) for job_id in dict.fromkeys(ids)]
            doomed = [e for e in entries if e is not None and e.state(now) is state is not JobState.LEASED]
            for entry in doomed:
                self._forget(entry.id)
                self._erased += entry.events
                self._purged.pop(entry.id, None)
                self._purged[entry.id] = now
            while self._purged:
                oldest, at = next(iter(self._purged.items()))
                if len(self._purged) <= PURGED_KEPT and now - at < PURGED_FOR:
                    break
                del self._purged[oldest]
            return len(doomed)

    def repair(self) -> int:
        """There is nothing that could be out of step."""
        return 0

    def _now(self) -> float:
        """The queue's own time. It never goes back: a clock set back would leave jobs due in a far future."""
        now = self._clock() + self._skew
        if now < self._last:
            self._skew += self._last - now
        self._last = max(now, self._last)
        return self._last

    def _enter(self, entry: _Entry) -> None:
        self._places += 1
        entry.place = self._places
        self._jobs[entry.id] = entry
        self._live = _grow(self._live, entry, 1)

    def _schedule(self, entry: _Entry) -> None:
        """Make the order follow *entry*'s new time."""
        self._moved[entry.id] = entry
        self._push(entry)

    def _push(self, entry: _Entry) -> None:
        if self._fifo:  # the order is that of places
            return
        heapq.heappush(self._due, (entry.due, entry.place, entry.id))
        if len(self._due) > 2 * len(self._moved) + _SLACK:
            self._due = [(e.due, e.place, e.id) for e in self._moved.values()]
            heapq.heapify(self._due)

    def _forget(self, job_id: str) -> _Entry | None:
        entry = self._jobs.pop(job_id, None)
        if entry is not None:
            self._live = _grow(self._live, entry, -1)
            self._moved.pop(job_id, None)
            return entry
        entry = self._failed.pop(job_id, None)
        if entry is not None:
            self._buried = _grow(self._buried, entry, -1)
        return entry


def _grow(depth: Depth, entry: _Entry, sign: int) -> Depth:
    return Depth(
        depth.jobs + sign, depth.events + sign * entry.events, depth.bytes + sign * len(entry.payload)
    )
