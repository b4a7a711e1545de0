"""
The queue in memory, as its operators see and steer it: counts, lists, pauses and mends.

What producers and processors do with it is in ``backend``. Every step holds the lock, and leaves nothing half done.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from eventspool._backends.bell import Bell
from eventspool._backends.memory.entries import Entries, PlacedEntries, grow
from eventspool._backends.memory.fates import Fates
from eventspool._backends.rules import AGE_DEPTH, ORDER_RULES, PROCESSOR_TTL
from eventspool._config import Ordering
from eventspool._job import PURGED, Depth, Job, JobState, QueueStats, created_at_from_id, new_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["OperatedQueue"]


class OperatedQueue:
    """
    A queue in memory as its operators see and steer it (see ``Backend`` for what each method promises).

    Args:
        ordering: Whether jobs are handed out in order, to one processor at a time.
        max_jobs: Most jobs held, failed ones included.
        max_bytes: Most payload bytes held, failed ones included.
        clock: Returns seconds since the epoch.
    """

    def __init__(
        self,
        *,
        ordering: Ordering = Ordering.NONE,
        max_jobs: int = 1_000_000,
        max_bytes: int = 1 << 30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._rules = ORDER_RULES[ordering]
        self._max_jobs = max_jobs
        self._max_bytes = max_bytes
        self._clock = clock
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.RLock()
        self._is_torn = False
        self._bell = Bell()
        self._entries = PlacedEntries() if self._rules.keeps_places else Entries()
        self._fates = Fates()
        self._epoch = new_token()
        self._processors: dict[str, float] = {}
        self._notes: dict[str, str] = {}
        self._paused = False
        # Events, of all time.
        self._accepted = self._delivered = self._given_up = self._erased = self._moved_on = 0
        self._holder = ""
        self._holder_until = 0.0
        self._last = 0.0
        self._skew = 0.0

    @contextlib.contextmanager
    def _step(self) -> Iterator[Entries]:
        """Hold the lock. If an exception (a ``MemoryError``) cuts the step off, the next step mends what it left."""
        with self._lock:
            if self._is_torn:
                self._entries.mend(self._now())
                self._is_torn = False
            try:
                yield self._entries
            except BaseException:
                self._is_torn = True
                raise

    def _now(self) -> float:
        """Return the queue's own time. It never goes back: a clock set back would leave jobs due in a far future."""
        now = self._clock() + self._skew
        if now < self._last:
            self._skew += self._last - now
        else:
            self._last = now
        return self._last

    def stats(self) -> QueueStats:
        """Count."""
        with self._step() as entries:
            now = self._now()
            born = [created_at_from_id(entry.id) or now for entry in entries.nearest(AGE_DEPTH)]
            age = max(self._clock() - min(born), 0.0) if born else 0.0
            processors = len(self._sighted(now))
            totals = self._accepted, self._delivered, self._given_up, self._erased, self._moved_on
            depths = *entries.depths(now), entries.buried
            return QueueStats(*depths, age, processors, self._paused, *totals)

    def processors(self) -> list[tuple[str, float, str]]:
        """List the live processors."""
        with self._step():
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
        with self._step() as entries:
            for entry in entries.failed.values():
                reason = entry.failure.reason if entry.failure else "unknown"
                found[reason] = grow(found.get(reason, Depth()), entry, 1)
        return found

    def pause(self, paused: bool) -> None:  # noqa: FBT001
        """Stop or resume handing out jobs."""
        with self._step():
            self._paused = paused
        self._bell.ring()

    def expedite(self, ids: Sequence[str]) -> int:
        """Make delayed jobs due at once."""
        with self._step() as entries:
            now = self._now()
            delayed = [entry for entry in entries.select(ids) if entry.state(now) is JobState.DELAYED]
            for entry in delayed:
                entry.due, entry.put_off = now, 0.0
                entries.schedule(entry)
        self._bell.ring()
        return len(delayed)

    def rewrite(
        self, job_id: str, expected: bytes, payload: bytes, events: int, purged: Sequence[int] = ()
    ) -> bool:
        """Put *payload* in the place of *expected*."""
        with self._step() as entries:
            now = self._now()
            entry = entries.find(job_id)
            if entry is None or entry.payload != expected or entry.progress:
                return False
            if entry.state(now) is JobState.LEASED:
                return False
            if entry.token:  # its lease ran out: a stale holder must not bring back what it read
                entry.end_stalled(entry.due)
            if purged:
                self._fates.remember({job_id: replace(PURGED, indices=tuple(purged))}, now)
            self._erased += max(entry.events - events, 0)
            entries.rewrite(entry, payload, events)
            return True

    def jobs(self, state: JobState, *, limit: int, after: str | None = None) -> list[Job]:
        """List jobs."""
        with self._step() as entries:
            now = self._now()
            found = entries.listed(state, now, limit=limit, after=after)
            return [entry.describe(now, self._skew) for entry in found]

    def payload(self, job_id: str) -> bytes | None:
        """Return one job's envelope."""
        with self._step() as entries:
            entry = entries.find(job_id)
            return entry.payload if entry is not None else None

    def replay(self, ids: Sequence[str]) -> int:
        """Move failed jobs back to waiting, behind all others."""
        with self._step() as entries:
            now = self._now()
            failed = [entry for entry in entries.select(ids) if entry.failure is not None]
            for entry in failed:
                entries.revive(entry, now)
        self._bell.ring()
        return len(failed)

    def purge(self, state: JobState, ids: Sequence[str]) -> int:
        """Delete those of *ids* that are in *state*."""
        with self._step() as entries:
            now = self._now()
            doomed = [e for e in entries.select(ids) if e.state(now) is state is not JobState.LEASED]
            for entry in doomed:
                entries.forget(entry.id)
                self._erased += entry.events
            self._fates.remember({entry.id: PURGED for entry in doomed}, now)
            return len(doomed)

    def repair(self) -> int:
        """There is nothing that could be out of step."""
        return 0
