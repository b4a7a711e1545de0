"""
The jobs of a queue in memory, and the order in which they are handed out.

An exception on the host's thread may cut a step off at any line. So a job that moves from one place to another is entered
into the new one before it is taken out of the old one: it may stand in both, and never in neither. ``mend`` then makes the
orders and the sums follow the jobs anew. The order of the assignments here is what makes that possible.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field, replace
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING

from eventspool._figures import Depth
from eventspool._job import Failure, Job, JobState, created_at_from_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Entries", "Entry", "PlacedEntries", "grow"]

_ENDS_KEPT = 100
"""Pages of lists of which it is known where they ended, although the last job of a page is gone or has moved on."""
_SLACK = 1000
"""Stale entries that a heap may hold before it is rebuilt: rare enough to cost each push a constant share."""


@dataclass(slots=True)
class Entry:
    """A stored job. *due* is when it is due or when its lease ends; *place* orders jobs that are due together."""

    id: str
    payload: bytes = field(repr=False)
    events: int
    due: float
    place: int
    attempts: int = 0
    progress: str = ""
    token: str = ""
    stalled: bool = False
    idle: bool = False  # the holder leased it without the intention to send it
    put_off: float = 0.0  # when it comes due, if it was last put back with a delay
    failure: Failure | None = None

    @property
    def has_stalled(self) -> bool:
        """Its holder leased it to send it, and has not ended that lease."""
        return bool(self.token) and not self.idle

    def end_stalled(self, due: float) -> None:
        """End a lease that ran out, if any, and set *due*. That costs an attempt if the holder meant to send the job."""
        self.attempts += self.has_stalled
        self.stalled = self.stalled or self.has_stalled
        self.token, self.due, self.put_off = "", due, 0.0

    def state(self, now: float) -> JobState:
        """Return the state that the job is in."""
        if self.failure is not None:
            return JobState.FAILED
        if self.due <= now:
            return JobState.WAITING
        return JobState.LEASED if self.token else JobState.DELAYED

    def describe(self, now: float, skew: float) -> Job:
        """Return the job as operators see it. The queue's time is *skew* seconds ahead of the clock."""
        failure = self.failure
        return Job(
            self.id,
            self.state(now),
            self.events,
            len(self.payload),
            self.attempts,
            failure.reason if failure else None,
            failure.error if failure else None,
            created_at_from_id(self.id),
            None if failure else self.due - skew,
            self.due - skew if failure else None,
        )


class Entries:
    """
    Keeps jobs in the order of their due times: a job that is leased or put off goes behind those that are due.

    Most jobs wait for their first lease. They stand in a plain queue and are all due, so they cost no heap. Only those that
    were leased, put off or replayed, which are few, stand in a heap. Both are cleaned as they are read: what does not match
    its job any more is skipped.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Entry] = {}
        """The unfinished jobs."""
        self.failed: dict[str, Entry] = {}
        """The failed jobs."""
        self.moved: dict[str, Entry] = {}
        """The unfinished jobs that were leased, put off or replayed."""
        self.live = Depth()
        """How much is unfinished."""
        self.buried = Depth()
        """How much has failed."""
        self.due: list[tuple[float, int, str]] = []
        """The heap of the moved jobs."""
        self._ends: dict[str, tuple[float, int]] = {}  # where the last jobs of pages stood
        self._fresh: deque[Entry] = deque()  # the other unfinished jobs, in order
        self._places = 0

    def find(self, job_id: str) -> Entry | None:
        """Return the job *job_id*, unfinished or failed."""
        return self.jobs.get(job_id) or self.failed.get(job_id)

    def select(self, ids: Iterable[str]) -> list[Entry]:
        """Return those of *ids* that are stored, each once."""
        found = (self.find(job_id) for job_id in dict.fromkeys(ids))
        return [entry for entry in found if entry is not None]

    def mend(self, now: float) -> None:
        """Make the orders and the sums follow the jobs anew, after a step that was cut off."""
        both = {**self.failed, **self.jobs}
        failed = {job_id: entry for job_id, entry in both.items() if entry.failure is not None}
        unfinished = sorted((e for e in both.values() if e.failure is None), key=lambda e: e.place)
        jobs = {entry.id: entry for entry in unfinished}
        self.jobs, self.failed = jobs, failed  # as late as possible: an exception may cut this off, too
        self.moved = {e.id: e for e in unfinished if e.id in self.moved or e.token}
        for entry in unfinished:
            # A step that was cut off while it leased a job may have set the lease's end, and not yet the holder.
            if not (entry.token or entry.put_off):
                entry.due = min(entry.due, now)
        self._fresh = deque(entry for entry in unfinished if entry.id not in self.moved)
        self._order_anew()
        self.live = self.buried = Depth()
        for entry in unfinished:
            self.live = grow(self.live, entry, 1)
        for entry in self.failed.values():
            self.buried = grow(self.buried, entry, 1)

    # Coming and going.

    def add(self, entry: Entry) -> None:
        """Store a new job, behind all others."""
        if entry.failure is None:
            self._enter(entry)
            self._fresh.append(entry)
            return
        self.failed[entry.id] = entry
        self.buried = grow(self.buried, entry, 1)

    def bury(self, entry: Entry, failure: Failure, now: float) -> None:
        """Move an unfinished job to the failed ones; only the events that failed stay."""
        self.live = grow(self.live, entry, -1)
        if failure.payload is not None:
            entry.payload, entry.events = failure.payload, failure.events
        entry.failure = replace(failure, payload=None, events=entry.events)
        entry.due, entry.progress = now, ""
        self.failed[entry.id] = entry
        self.buried = grow(self.buried, entry, 1)
        del self.jobs[entry.id]  # last: a step that is cut off must not lose the job
        self.moved.pop(entry.id, None)

    def revive(self, entry: Entry, now: float) -> None:
        """Move a failed job back to the unfinished ones, behind all others."""
        self.buried = grow(self.buried, entry, -1)
        entry.failure, entry.attempts, entry.due, entry.put_off = None, 0, now, 0.0
        self._enter(entry)
        self.schedule(entry)
        del self.failed[entry.id]  # last: a step that is cut off must not lose the job

    def rewrite(self, entry: Entry, payload: bytes, events: int) -> None:
        """Put *payload*, of *events* events, in the place of what the job holds."""
        buried = entry.failure is not None
        depth = grow(self.buried if buried else self.live, entry, -1)
        entry.payload, entry.events = payload, events
        if entry.failure is not None:
            entry.failure = replace(entry.failure, events=events)
        depth = grow(depth, entry, 1)
        if buried:
            self.buried = depth
        else:
            self.live = depth

    def forget(self, job_id: str) -> Entry | None:
        """Delete the job *job_id*, and return what it was."""
        entry = self.jobs.pop(job_id, None)
        if entry is not None:
            self.live = grow(self.live, entry, -1)
            self.moved.pop(job_id, None)
            return entry
        entry = self.failed.pop(job_id, None)
        if entry is not None:
            self.buried = grow(self.buried, entry, -1)
        return entry

    def _enter(self, entry: Entry) -> None:
        self._places += 1
        entry.place = self._places
        self.jobs[entry.id] = entry
        self.live = grow(self.live, entry, 1)

    # The order.

    def take(self, now: float, limit: int) -> list[Entry]:
        """Take the next due jobs out of the order, at most *limit*."""
        due: list[Entry] = []
        while len(due) < limit:
            moved = self.jobs[self.due[0][2]] if self._drop_stale() and self.due[0][0] <= now else None
            if self._skip_held() and (moved is None or self.rank(self._fresh[0]) < self.rank(moved)):
                due.append(self._fresh.popleft())
            elif moved is not None:
                place = heapq.heappop(self.due)
                while (
                    self.due and self.due[0] == place
                ):  # put there twice: in one tick, or amid `_order_anew`
                    heapq.heappop(self.due)
                due.append(moved)
            else:
                break
        return due

    def due_among(self, taken: list[Entry], now: float) -> list[Entry]:  # noqa: ARG002
        """Return those of the *taken* jobs that may be leased now: all of them."""
        return taken

    def probed(self, taken: list[Entry], limit: int) -> list[Entry]:
        """Return the *limit* of the *taken* jobs that a probe leases."""
        return heapq.nsmallest(limit, taken, key=self._probe_rank)

    def put_back(self, taken: Sequence[Entry]) -> None:
        """Put jobs into the order again: leased now, or looked at by a probe and left."""
        for entry in reversed(taken):
            if entry.id in self.moved:
                self._push(entry)
            else:
                self._fresh.appendleft(entry)

    def schedule(self, entry: Entry) -> None:
        """Make the order follow the new time of *entry*."""
        self.moved[entry.id] = entry
        self._push(entry)

    def next_due(self) -> float | None:
        """Return when the next of the moved jobs comes due; None if time alone makes none due."""
        return self.due[0][0] if self._drop_stale() else None

    def rank(self, entry: Entry) -> tuple[float, int]:
        """Return what orders the jobs."""
        return entry.due, entry.place

    def _probe_rank(self, entry: Entry) -> tuple[int, float]:
        """Return what orders the jobs for a probe: fewest attempts first, the next of these in the order."""
        return entry.attempts + entry.has_stalled, 0.0

    def _push(self, entry: Entry) -> None:
        heapq.heappush(self.due, (entry.due, entry.place, entry.id))
        if len(self.due) > 2 * len(self.moved) + _SLACK:
            self._order_anew()

    def _order_anew(self) -> None:
        due = [(e.due, e.place, e.id) for e in self.moved.values()]
        heapq.heapify(due)
        self.due = due

    def _skip_held(self) -> bool:
        """Remove jobs that are gone, or were held since, from the front of the fresh ones. False when none is left."""
        while self._fresh:
            entry = self._fresh[0]
            if entry.id not in self.moved and self.jobs.get(entry.id) is entry:
                return True
            self._fresh.popleft()
        return False

    def _drop_stale(self) -> bool:
        """Remove entries from the heap's top until it matches its job. False when the heap is empty."""
        while self.due:
            due, place, job_id = self.due[0]
            entry = self.jobs.get(job_id)
            if entry is not None and (entry.due, entry.place) == (due, place):
                return True
            heapq.heappop(self.due)
        return False

    # Looking.

    def listed(self, state: JobState, now: float, *, limit: int, after: str) -> list[Entry]:
        """Return the jobs in *state*, at most *limit*, in their order, behind where the job *after* stands or stood."""
        entries = (self.failed if state is JobState.FAILED else self.jobs).values()
        cursor = self.find(after)
        timed = state in (JobState.DELAYED, JobState.LEASED)
        rank = (lambda e: (e.due, e.place)) if timed else self.rank
        known = [rank(cursor)] if cursor is not None else []
        known += [self._ends[after]] if after in self._ends else []
        behind = min(known, default=(-1.0, -1))
        matching = (e for e in entries if e.state(now) is state and rank(e) > behind)
        found = heapq.nsmallest(limit, matching, rank)
        if found:
            self._ends[found[-1].id] = rank(found[-1])
            if len(self._ends) > _ENDS_KEPT:
                del self._ends[next(iter(self._ends))]
        return found

    def depths(self, now: float) -> tuple[Depth, Depth, Depth]:
        """Return how much is waiting, delayed and leased. Only the moved jobs are looked at."""
        moved = {JobState.WAITING: Depth(), JobState.DELAYED: Depth(), JobState.LEASED: Depth()}
        for entry in self.moved.values():
            state = entry.state(now)
            moved[state] = grow(moved[state], entry, 1)
        delayed, leased, live = moved[JobState.DELAYED], moved[JobState.LEASED], self.live
        waiting = Depth(
            live.jobs - delayed.jobs - leased.jobs,
            live.events - delayed.events - leased.events,
            live.bytes - delayed.bytes - leased.bytes,
        )
        return waiting, delayed, leased

    def nearest(self, number: int) -> list[Entry]:
        """Return the moved jobs, and the first *number* of the others."""
        self._skip_held()
        return [e for e in chain(self.moved.values(), islice(self._fresh, number)) if e.id in self.jobs]


class PlacedEntries(Entries):
    """Keeps jobs in the order of their places: a job that is leased or put off holds up what stands behind it."""

    def take(self, now: float, limit: int) -> list[Entry]:  # noqa: ARG002
        """Take the next jobs out of the order, at most *limit*, whether they are due or not."""
        moved = deque(sorted(self.moved.values(), key=self.rank))
        first: list[Entry] = []
        while len(first) < limit and (self._skip_held() or moved):
            fresh = self._fresh[0] if self._fresh else None
            if fresh is not None and not (moved and self.rank(moved[0]) < self.rank(fresh)):
                first.append(self._fresh.popleft())
            else:
                first.append(moved.popleft())
        return first

    def due_among(self, taken: list[Entry], now: float) -> list[Entry]:
        """Return those of the *taken* jobs that may be leased now: nothing passes one that waits for its retry."""
        return list(takewhile(lambda entry: entry.due <= now, taken))

    def rank(self, entry: Entry) -> tuple[float, int]:
        """Return what orders the jobs; a failed one has no place."""
        return (0.0 if entry.failure is None else entry.due, entry.place)

    def _probe_rank(self, entry: Entry) -> tuple[int, float]:
        """Return what orders the jobs for a probe: of those with the fewest attempts, the one put off longest ago."""
        return entry.attempts + entry.has_stalled, entry.put_off if entry.attempts else 0.0

    def _push(self, entry: Entry) -> None:
        """Do nothing: places do not change, so no heap is needed."""

    def _order_anew(self) -> None:
        """Do nothing, as for ``_push``."""


def grow(depth: Depth, entry: Entry, sign: int) -> Depth:
    """Return *depth* with *entry*, or with *sign* -1 without it."""
    return Depth(
        depth.jobs + sign, depth.events + sign * entry.events, depth.bytes + sign * len(entry.payload)
    )
