"""
Move a queue's jobs into another one, while producers and processors use both.

The mover is one more processor of the source: it leases jobs, but instead of sending them it commits them to the target,
under the same id, and acknowledges them once they are stored there. Wherever it is killed, a job is in the source or in both;
then the lease runs out, and the next try finds it in the target already. Where the target has delivered it meanwhile, it
is delivered twice, with the same ``messageId``.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._envelope import OVERSIZED, count_events
from eventspool._exceptions import ConfigError, QueueError
from eventspool._heartbeat import Heartbeat
from eventspool._job import Failure, JobState, NewJob, Settlement, SettlementKind, new_token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eventspool._backends import Backend
    from eventspool._job import ClaimedJob

__all__ = ["Moved", "move_jobs"]

_BATCH = 50
_LEASE = 60.0
_PAUSE = 0.2
"""Seconds between two looks at a source that has nothing to hand out."""


@dataclass(slots=True)
class Moved:
    """
    What became of a move.

    Args:
        jobs: Jobs that are in the target now.
        events: Their events.
        known: Those of *jobs* that the target had already: an earlier move was interrupted.
        unreadable: Jobs without a payload that can be read; they are in the source's failed queue.
        failed_left: Jobs in the source's failed queue, which are not moved.
        is_complete: Nothing unfinished is left in the source.
    """

    jobs: int = 0
    events: int = 0
    known: int = 0
    unreadable: int = 0
    failed_left: int = 0
    is_complete: bool = False


def move_jobs(
    source: Backend,
    target: Backend,
    *,
    stopping: Callable[[], bool] = lambda: False,
    on_moved: Callable[[int], object] = lambda jobs: None,  # noqa: ARG005
    follow: bool = False,
) -> Moved:
    """
    Move every unfinished job; return when nothing is left, or *stopping* says so.

    Args:
        source: Where the jobs are, open.
        target: Where they go, open.
        stopping: Asked between two batches.
        on_moved: Told how many jobs came over, batch by batch.
        follow: Do not end with the last job: wait for more.

    Raises:
        ConfigError: Both are one and the same queue.
        QueueError: One of them cannot be used, the target is full, or the source is paused. Leases are given back.
    """
    mover = _Mover(source, target)
    try:
        mover.introduce()
        while not stopping():
            count = mover.step()
            if count:
                on_moved(count)
            elif mover.is_source_empty():
                if not follow:
                    mover.moved.is_complete = True
                    break
                time.sleep(_PAUSE)
        return mover.moved
    finally:
        with contextlib.suppress(QueueError):
            source.leave(mover.token)


class _Mover:
    def __init__(self, source: Backend, target: Backend) -> None:
        self._source = source
        self._target = target
        self.token = new_token()
        self.moved = Moved()

    def introduce(self) -> None:
        """
        Show up in the source as a processor, and not in the target.

        Two URLs can lead to one queue. Jobs moved onto themselves would be found there already, and then be forgotten.
        """
        heartbeat = Heartbeat(socket.gethostname(), os.getpid(), time.time())
        note = heartbeat.note(in_flight=0, sent=0, retried=0, paused=False)
        self._source.renew(self.token, [], visibility_timeout=_LEASE, note=note)
        if any(token == self.token for token, *_ in self._target.processors()):
            raise ConfigError("both URLs lead to the same queue: there is nothing to move")

    def step(self) -> int:
        """Move a batch; return how many jobs left the source's unfinished ones."""
        claim = self._source.claim(self.token, limit=_BATCH, visibility_timeout=_LEASE)
        if not claim.jobs:
            return 0
        readable = [job for job in claim.jobs if job.payload is not None and job.payload != OVERSIZED]
        self._set_aside([job for job in claim.jobs if job not in readable])
        new = [NewJob(job.id, job.payload or b"", count_events(job.payload or b"")) for job in readable]
        result = self._target.commit(new)
        stored = [job for job in new if job.id not in result.rejected]
        self._source.ack([job.id for job in stored])
        self.moved.jobs += len(stored)
        self.moved.events += sum(job.events for job in stored)
        self.moved.known += result.duplicates
        if result.rejected:
            given_back = [Settlement(job_id, SettlementKind.RELEASE) for job_id in result.rejected]
            self._source.settle(self.token, given_back)
            raise QueueError(
                f"the target is full after {self.moved.jobs:,} jobs; the others are still here: go on when there is room"
            )
        return len(claim.jobs)

    def _set_aside(self, jobs: Sequence[ClaimedJob]) -> None:
        failure = Failure(
            "missing", "the queue lists this batch, but its payload is gone or too large to be read", 0
        )
        self._source.settle(
            self.token, [Settlement(job.id, SettlementKind.FAIL, failure=failure) for job in jobs]
        )
        self.moved.unreadable += len(jobs)

    def is_source_empty(self) -> bool:
        """Say whether nothing is left; else hasten what waits for a retry, and give leases time to end."""
        stats = self._source.stats()
        self.moved.failed_left = stats.failed.jobs
        if stats.paused:
            raise QueueError("the queue is paused and hands nothing out: `eventspool queue resume` it first")
        if not (stats.waiting.jobs or stats.delayed.jobs or stats.leased.jobs):
            return True
        delayed = (
            [job.id for job in self._source.jobs(JobState.DELAYED, limit=_BATCH)]
            if stats.delayed.jobs
            else []
        )
        if not delayed or not self._source.expedite(delayed):
            time.sleep(_PAUSE)
        return False
