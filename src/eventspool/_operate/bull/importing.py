"""
Hand the jobs of a Node SDK over to a queue of ours, while Node processes may still use theirs.

Some jobs at a time are held, so that no Node process takes them, stored in our queue, and only then deleted from Bull's.
Wherever this is killed, a job is in Bull's queue, or in both; and it is stored under an id that follows from the batch, so
that the next run finds it here already. If it was delivered from here meanwhile, or a Node process takes it when the hold has
ended, its events are delivered twice, with the same ``messageId``.

A job that a Node process works on has a lock, which the process renews. It is that process's own until the lock has ended; and
for another ``GRACE`` seconds, because the process sets the lock a moment after it has taken the job. Then the process has died
or stands still, Bull itself would give the job to another process, and it is taken.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eventspool._backends.parting import commit_foreign
from eventspool._buffering.batch import count_fitting
from eventspool._envelope import seal
from eventspool._exceptions import QueueError
from eventspool._job import Failure, NewJob
from eventspool._operate.bull.batch import NodeBatch, UnreadableError, read_batch
from eventspool._operate.bull.source import PLACES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from eventspool._backends import Backend
    from eventspool._operate.bull.source import BullQueue, StoredJob

__all__ = ["GRACE", "LEFT", "OTHER_WRITE_KEY", "Imported", "Wanted", "import_jobs"]

GRACE = 5.0
"""Seconds for which a job that a Node process has taken must be seen without a lock, before it is taken from that process."""
_PAUSE = 0.5
"""Seconds between two looks at a queue that has nothing to take at the moment."""
_ERROR_CHARS = 500

OTHER_WRITE_KEY = "other_write_key"
HELD = "held"
MISSING = "missing"
LEFT = {
    HELD: "Node processes work on these: they are taken once those are done, or their locks have ended, so run it again",
    OTHER_WRITE_KEY: "these are meant for another write key: import them with that one, into another queue",
    "javascript": "the text of these is damaged, or JavaScript that is more than data, such as a function in an event: let a "
    "Node process deliver them",
    "foreign": "these are no batches of an SDK that is known",
    "too_large": "these hold an event that is larger than --max-event-bytes",
    "unencodable": "these hold an event that is nested too deep",
    MISSING: "the data of these is gone, or larger than 64 MB",
    "no_room": "the queue here can never take these: each alone is larger than that queue may be",
}
"""Why jobs stay where they are: the word, and what it means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """
    Which jobs are to be taken over.

    Args:
        write_key: The write key of the queue's workers. Batches that are meant for another one are left.
        places: Those of ``PLACES``.
        limit: Most jobs; ``None`` for no limit.
        max_event_bytes: Batches with a larger event are left.
        max_batch_bytes: A batch whose request would be larger becomes several jobs.
    """

    write_key: str = field(repr=False)
    places: Sequence[str] = PLACES
    limit: int | None = None
    max_event_bytes: int
    max_batch_bytes: int


@dataclass(slots=True)
class Imported:
    """
    What became of an import.

    Args:
        jobs: Jobs of Bull's that are in the queue here now.
        events: Events of these jobs.
        failed: Those of *jobs* that had failed; they are in the failed queue here.
        known: Jobs that were here already: an earlier run was interrupted, or a Node process had put a batch back as another
            job.
        returned: Those of *jobs* that a Node process may have taken after all: storing them took longer than the hold.
        left: Why jobs were left, one of the words of ``LEFT`` -> their ids.
        completed: Jobs that the Node processes have delivered. Bull keeps them.
        is_complete: All jobs that were wanted were looked at, and none was left but those of other write keys.
    """

    jobs: int = 0
    events: int = 0
    failed: int = 0
    known: int = 0
    returned: int = 0
    left: dict[str, list[str]] = field(default_factory=dict)
    completed: int = 0
    is_complete: bool = False


def import_jobs(
    source: BullQueue,
    target: Backend | None,
    wanted: Wanted,
    *,
    stopping: Callable[[], bool] = lambda: False,
    on_job: Callable[[int], object] = lambda jobs: None,  # noqa: ARG005
    follow: bool = False,
    imported: Imported | None = None,
) -> Imported:
    """
    Take over the jobs that are there; return when none is left, or when *stopping* returns true.

    Args:
        source: Bull's queue.
        target: The open queue that they go to; ``None`` to change nothing, and only count.
        wanted: Which jobs.
        stopping: Called between two batches.
        on_job: Called with 1 for each job that was taken.
        follow: Do not end with the last job, but wait for more.
        imported: What is counted, for a caller who wants to know it also where an error ends the import.

    Raises:
        QueueError: Bull has no such queue, one of the two cannot be used, or the target is full. What was held is given back.
    """
    source.require_existing()
    run = _Import(source, target, wanted, on_job, Imported() if imported is None else imported)
    while not stopping():
        count = run.look_through(stopping)
        if run.has_reached_limit:
            break
        if (count and target is not None) or run.is_unsure:
            continue  # Node processes may have moved jobs meanwhile
        if not (run.awaits_locks or follow):
            break
        time.sleep(_PAUSE)
    return run.finish(stopped=stopping())


class _Import:
    def __init__(
        self,
        source: BullQueue,
        target: Backend | None,
        wanted: Wanted,
        on_job: Callable[[int], object],
        imported: Imported,
    ) -> None:
        self._source = source
        self._target = target
        self._wanted = wanted
        self._on_job = on_job
        self._imported = imported
        self._left: dict[str, str] = {}
        self._passed: set[str] = set()
        self._unlocked: dict[str, float] = {}
        self._missed: set[str] = set()

    def look_through(self, stopping: Callable[[], bool]) -> int:
        """Look at every job that was not refused before; return how many were taken."""
        before = self._imported.jobs
        self._missed = self._find_left(MISSING)
        for job_id in self._missed | self._find_left(HELD):
            del self._left[job_id]
            self._passed.discard(job_id)
        for place in self._wanted.places:
            for page in self._source.pages(place, self._passed):
                self._take(page)
                if self.has_reached_limit or stopping():
                    return self._imported.jobs - before
        self._unlocked = {each: since for each, since in self._unlocked.items() if each in self._left}
        return self._imported.jobs - before

    @property
    def has_reached_limit(self) -> bool:
        """As many jobs were taken as are wanted."""
        return self._wanted.limit is not None and self._imported.jobs >= self._wanted.limit

    @property
    def awaits_locks(self) -> bool:
        """Jobs were left that are taken if they are still without a lock in some seconds."""
        return self._target is not None and bool(self._unlocked)

    @property
    def is_unsure(self) -> bool:
        """
        Jobs had no data when they were looked at, that had some at the look before, or were not there yet.

        Perhaps a Node process has delivered them, after their ids were read and before their data was: the next look tells.
        """
        return not self._find_left(MISSING) <= self._missed

    def finish(self, *, stopped: bool) -> Imported:
        """Return what became of all of it."""
        done = self._imported
        for job_id, reason in self._left.items():
            done.left.setdefault(reason, []).append(job_id)
        done.completed = self._source.count()["completed"]
        done.is_complete = not (stopped or self.has_reached_limit or done.left.keys() - {OTHER_WRITE_KEY})
        return done

    def _take(self, page: Sequence[StoredJob]) -> None:
        found: dict[str, tuple[StoredJob, NodeBatch]] = {}
        for job in page:
            try:
                found[job.id] = job, self._read(job)
            except UnreadableError as refusal:
                self._leave(job.id, refusal.reason)
        if self._wanted.limit is not None:
            room = self._wanted.limit - self._imported.jobs
            found = dict(list(found.items())[:room])
        if self._target is None:
            for job, batch in found.values():
                self._passed.add(job.id)
                self._count(job, batch)
        elif found:
            self._hand_over(self._target, found)

    def _read(self, job: StoredJob) -> NodeBatch:
        """Return the batch in *job*. Raises ``UnreadableError`` where the job is to be left."""
        if job.data is None:
            raise UnreadableError(MISSING)
        batch = read_batch(job.data, self._wanted.max_event_bytes)
        if batch.write_key != self._wanted.write_key:
            raise UnreadableError(OTHER_WRITE_KEY)
        if job.place == "active" and not self._is_abandoned(job):
            raise UnreadableError(HELD)
        return batch

    def _is_abandoned(self, job: StoredJob) -> bool:
        if job.is_locked:
            self._unlocked.pop(job.id, None)
            return False
        now = time.monotonic()
        return now - self._unlocked.setdefault(job.id, now) >= GRACE

    def _find_left(self, reason: str) -> set[str]:
        return {job_id for job_id, each in self._left.items() if each == reason}

    def _leave(self, job_id: str, reason: str) -> None:
        self._left[job_id] = reason
        self._passed.add(job_id)

    def _hand_over(self, target: Backend, found: dict[str, tuple[StoredJob, NodeBatch]]) -> None:
        held = self._source.hold(job for job, _ in found.values())
        for job_id in found.keys() - held.keys():
            self._leave(job_id, HELD)
        parts: dict[str, NewJob] = {}
        owners: dict[str, list[str]] = {}
        for job_id in held:
            for part in _jobs_of(*found[job_id], self._wanted.max_batch_bytes):
                parts[part.id] = part
                owners.setdefault(part.id, []).append(job_id)  # several where Node has put a batch back
        try:
            result = commit_foreign(target, list(parts.values()))
        except BaseException:
            with contextlib.suppress(QueueError):
                self._source.put_back(held, held)
            raise
        stuck = {
            job_id: reason
            for reason, ids in (("", result.rejected), ("no_room", result.impossible))
            for part_id in ids
            for job_id in owners[part_id]
        }
        stored = [each for each in held if each not in stuck]
        deleted = self._source.forget(held, stored)
        self._source.put_back(held, stuck)
        for job_id in stored:
            self._count(*found[job_id])
            self._left.pop(job_id, None)
        self._imported.known += result.duplicates + sum(map(len, owners.values())) - len(owners)
        self._imported.returned += len(stored) - len(deleted)
        for job_id, reason in stuck.items():
            if reason:
                self._leave(job_id, reason)
        if result.rejected:
            raise QueueError(
                f"the queue is full after {self._imported.jobs:,} jobs; the others are still in Bull's: "
                "go on when there is room"
            )

    def _count(self, job: StoredJob, batch: NodeBatch) -> None:
        self._imported.jobs += 1
        self._imported.events += len(batch.events)
        self._imported.failed += job.place == "failed"
        self._on_job(1)


def _jobs_of(job: StoredJob, batch: NodeBatch, max_batch_bytes: int) -> Iterable[NewJob]:
    """Yield the jobs of ours that hold the batch: one, or several where it is larger than a request may be."""
    events, number = list(batch.events), 0
    while events:
        count = count_fitting(events, max_batch_bytes)
        part, events = events[:count], events[count:]
        failure = None
        if job.place == "failed":
            failure = Failure("imported", job.error[:_ERROR_CHARS] or "Bull does not say why", count)
        yield NewJob(
            batch.id_of_part(number, job.timestamp),
            seal(part),
            count,
            failure=failure,
            failed_at=(job.finished_on or job.timestamp) / 1000 if failure else 0.0,
            is_foreign=True,
        )
        number += 1
