"""
The queue in memory, as its operators see and steer it: counts, lists, pauses and mends.

What producers and processors do with it is in ``backend``. Every step holds the lock, and leaves nothing half done.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from eventspool._backends.bell import Bell
from eventspool._backends.condition import Condition
from eventspool._backends.fleet import FleetState
from eventspool._backends.journals import JournalEntry
from eventspool._backends.memory.entries import Entries, PlacedEntries, grow
from eventspool._backends.memory.fates import Fates
from eventspool._backends.rules import (
    AGE_DEPTH,
    ORDER_RULES,
    PROCESSOR_TTL,
    READ_BYTES,
    count_within,
    place_of,
)
from eventspool._backends.undivided import Undivided
from eventspool._claim import new_token
from eventspool._config import Ordering
from eventspool._exceptions import ConfigError
from eventspool._figures import Depth, QueueStats
from eventspool._job import PURGED, Job, JobState, created_at_from_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from eventspool._job import Rewrite

__all__ = ["OperatedQueue"]


class OperatedQueue(Undivided):
    """
    A queue in memory as its operators see and steer it (see ``Backend`` for what each method promises).

    Args:
        ordering: Whether jobs are handed out in order, to one processor at a time. Order per user is refused.
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
        if ordering is Ordering.PER_USER:
            raise ConfigError("a queue in memory cannot keep ordering='per_user': use a queue in Redis")
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
        self._journals: dict[str, deque[JournalEntry]] = {}
        self._epoch = new_token()
        self._processors: dict[str, float] = {}
        self._notes: dict[str, str] = {}
        self._paused = False
        self._fleet = FleetState()
        self._answered = self._paid = 0  # see `fleet`
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
            held, why = 0.0, ""
            if (holding := self._fleet.holding) is not None:
                held, why = holding.until / 1e6 - self._skew, holding.why
            return QueueStats(*depths, age, processors, self._paused, *totals, held, why)

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

    def condition(self) -> Condition:
        """Say whether a job was ever stored: nothing else can be wrong with memory."""
        with self._step():
            return Condition(is_used=self._accepted > 0)

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

    def rewrite(self, rewrites: Sequence[Rewrite]) -> list[bool]:
        """Put payloads in the place of others."""
        with self._step() as entries:
            now = self._now()
            return [self._rewrite(entries, each, now) for each in rewrites]

    def _rewrite(self, entries: Entries, rewrite: Rewrite, now: float) -> bool:
        entry = entries.find(rewrite.job_id)
        if entry is None or entry.payload != rewrite.expected or entry.progress:
            return False
        if entry.state(now) is JobState.LEASED:
            return False
        if entry.token:  # its lease ran out: a stale holder must not bring back what it read
            entry.end_stalled(entry.due)
        if rewrite.purged:
            self._fates.remember({entry.id: replace(PURGED, indices=rewrite.purged)}, now)
        self._erased += max(entry.events - rewrite.events, 0)
        entries.rewrite(entry, rewrite.payload, rewrite.events)
        return True

    def jobs(self, state: JobState, *, limit: int, after: Job | str | None = None) -> list[Job]:
        """List jobs."""
        job_id, _ = place_of(after)
        with self._step() as entries:
            now = self._now()
            found = entries.listed(state, now, limit=limit, after=job_id)
            return [entry.describe(now, self._skew) for entry in found]

    def scan(self, cursor: str = "") -> tuple[list[str], str]:  # noqa: ARG002
        """Return all ids: they are in memory already."""
        with self._step() as entries:
            return [*entries.jobs, *entries.failed], ""

    def payload(self, job_id: str) -> bytes | None:
        """Return one job's envelope."""
        with self._step() as entries:
            entry = entries.find(job_id)
            return entry.payload if entry is not None else None

    def payloads(self, ids: Sequence[str]) -> Mapping[str, bytes | None]:
        """Return the envelopes of the first of *ids*."""
        with self._step() as entries:
            found = [None if entry is None else entry.payload for entry in map(entries.find, ids)]
        within = count_within((len(payload or b"") for payload in found), READ_BYTES)
        return dict(zip(ids[:within], found[:within], strict=True))

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

    def append(self, journal: str, entry: bytes, *, most: int, apart: float = 0.0) -> bool:
        """Append *entry* to *journal*."""
        with self._step():
            at = self._now() - self._skew
            entries = self._journals.get(journal, ())
            if entries and 0.0 <= at - entries[-1].at < apart:
                return False
            position = entries[-1].position + 1 if entries else 1
            self._journals[journal] = deque([*entries, JournalEntry(position, at, entry)], most)
            return True

    def journal(self, journal: str, *, limit: int, before: int | None = None) -> list[JournalEntry]:
        """Return entries of *journal*, the newest first."""
        with self._step():
            entries = reversed(self._journals.get(journal, ()))
            return [each for each in entries if before is None or each.position < before][:limit]

    def amend(self, journal: str, position: int, expected: bytes, entry: bytes) -> bool:
        """Put *entry* in the place of *expected*."""
        with self._step():
            entries = self._journals.get(journal, deque())
            for n, each in enumerate(entries):
                if each.position == position and each.body == expected:
                    entries[n] = replace(each, body=entry)
                    return True
            return False
