"""
Move a queue's jobs into another queue, while producers and processors use both. ``_backends.mover`` says how a job is moved.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._backends import create_backend
from eventspool._backends.mover import Mover
from eventspool._delivery.attempt import fail_rest
from eventspool._exceptions import ConfigError, QueueError
from eventspool._heartbeat import Heartbeat
from eventspool._job import JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._backends import Backend
    from eventspool._backends.mover import Step
    from eventspool._config import QueueOpts

__all__ = ["Moved", "create_target", "move_jobs"]

_BATCH = 50
_LEASE = 60.0
_PAUSE = 0.2
"""Seconds between two looks at a source that hands nothing out at the moment."""


@dataclass(slots=True)
class Moved:
    """
    What became of a move.

    Args:
        jobs: Jobs that are in the target now.
        events: Events of these jobs.
        known: Those of *jobs* that the target had already, from an earlier move that was interrupted.
        failed: Those of *jobs* that had failed; they are in the target's failed queue.
        unreadable: Jobs without a payload that can be read; they are in the source's failed queue.
        too_large: Jobs that the target can never take; they are in the source's failed queue.
        failed_left: Jobs in the source's failed queue.
        is_complete: No unfinished job is left in the source; where failed jobs were to be moved, none of these that can be.
    """

    jobs: int = 0
    events: int = 0
    known: int = 0
    failed: int = 0
    unreadable: int = 0
    too_large: int = 0
    failed_left: int = 0
    is_complete: bool = False


def create_target(opts: QueueOpts, *, as_it_is: bool) -> Backend:
    """
    Return the backend of the queue that jobs go to, not opened.

    Args:
        opts: The queue.
        as_it_is: *opts* say nothing of its order. A queue that is divided into partitions then keeps what its producers have
            it keep; the default would be strict order, which it cannot.
    """
    if as_it_is:
        observer = create_backend(opts, observe=True)
        observer.open()
        if observer.partitions():
            return observer
        observer.close()
    return create_backend(opts)


def move_jobs(
    source: Backend,
    target: Backend,
    *,
    stopping: Callable[[], bool] = lambda: False,
    on_moved: Callable[[int], object] = lambda jobs: None,  # noqa: ARG005
    failed: bool = False,
    follow: bool = False,
    moved: Moved | None = None,
) -> Moved:
    """
    Move every unfinished job; return when none is left, or when *stopping* returns true.

    Args:
        source: The open queue that the jobs are in.
        target: The open queue that they go to.
        stopping: Called between two batches.
        on_moved: Called after each batch with the number of jobs that were moved.
        failed: Move failed jobs, too, at the end.
        follow: Do not end with the last job, but wait for more.
        moved: What is counted, for a caller who wants to know it also where an error ends the move.

    Raises:
        ConfigError: Source and target are the same queue.
        QueueError: One of them cannot be used, the target is full, or the source is paused. Leases are given back.
    """
    move = _Move(source, target, Moved() if moved is None else moved)
    try:
        move.introduce()
        while not stopping():
            count = move.step()
            if count:
                on_moved(count)
            elif move.is_source_empty():
                if not follow:
                    move.moved.is_complete = not failed or move.move_failed(stopping, on_moved)
                    break
                time.sleep(_PAUSE)
        return move.moved
    finally:
        with contextlib.suppress(QueueError):
            move.mover.leave()


class _Move:
    def __init__(self, source: Backend, target: Backend, moved: Moved) -> None:
        self._source = source
        self._target = target
        self.mover = Mover(source, target, limit=_BATCH, lease=_LEASE, fail_rest=fail_rest)
        self.moved = moved

    def introduce(self) -> None:
        """
        Register as a processor of the source, and make sure that the target does not list that processor.

        Two URLs can lead to one queue. A job that is moved onto itself would be found in the target, and then be forgotten as
        one that has arrived there.
        """
        token = self.mover.token
        heartbeat = Heartbeat(socket.gethostname(), os.getpid(), time.time())
        note = heartbeat.note(in_flight=0, sent=0, retried=0, paused=False)
        self._source.renew(token, [], visibility_timeout=_LEASE, note=note)
        if any(seen == token for seen, *_ in self._target.processors()):
            raise ConfigError("both URLs lead to the same queue: there is nothing to move")

    def step(self) -> int:
        """Move a batch; return how many jobs left the source's unfinished ones."""
        step = self.mover.step()
        self._count(step)
        return len(step.moved) + len(step.failed)

    def move_failed(self, stopping: Callable[[], bool], on_moved: Callable[[int], object]) -> bool:
        """Move failed jobs. Return whether all were tried before *stopping* returned true."""
        after = None
        while not stopping():
            self.moved.failed_left = self._source.stats().failed.jobs
            done = self.mover.step_failed(after)
            if done is None:
                return True
            step, after = done
            self._count(step)
            self.moved.failed += len(step.moved)
            on_moved(len(step.moved))
        return False

    def _count(self, step: Step) -> None:
        moved = self.moved
        moved.jobs += len(step.moved)
        moved.events += sum(job.events for job in step.moved)
        moved.known += step.known
        reasons = [failure.reason for failure in step.failed.values()]
        moved.too_large += reasons.count("too_large")
        moved.unreadable += reasons.count("missing")
        if step.left:
            raise QueueError(
                f"the target is full after {moved.jobs:,} jobs; the others are still here: go on when there is room"
            )

    def is_source_empty(self) -> bool:
        """Say whether no unfinished job is left. If some are, make delayed ones due, and give leases time to end."""
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
