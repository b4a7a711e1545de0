"""
What becomes of jobs: how each one ended is noted in the ledger, once, and told to the host.

Two sources know how a job ended: this process's processor, which delivered it or gave it up, and a look-up in the queue of
a job that another process dealt with, or that an operator deleted.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from eventspool._events.decoding import decode_batch
from eventspool._exceptions import DeliveryError, QueueError
from eventspool._guest.executor import carry_out
from eventspool._guest.log import Log
from eventspool._job import LOST, PURGED, JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eventspool._guest.calls import CallQueue
    from eventspool._job import Failure
    from eventspool._settling.ledger import Ledger
    from eventspool._settling.reporting import Reporter

__all__ = ["JobEnd", "MemorySettler", "Settler"]

_log = Log("eventspool")


@dataclass(frozen=True, slots=True)
class JobEnd:
    """
    How a job ended.

    Args:
        job_id: The job.
        failure: Why it was given up; ``None`` where it was delivered.
        purged: Positions, in the batch as first committed, of events that were erased before they could be sent.
        is_recorded: The queue has recorded it. A delivered job is told of before its acknowledgement is recorded: the event
            has arrived, whatever becomes of the queue. A job that was given up is told of only when it is in the failed
            queue: until then another processor may still deliver it.
    """

    job_id: str
    failure: Failure | None = None
    purged: tuple[int, ...] = ()
    is_recorded: bool = True

    @property
    def error(self) -> DeliveryError | None:
        """What callbacks and ``on_error`` are told of it; nothing where it was delivered."""
        failure = self.failure
        return None if failure is None else DeliveryError(failure.error, failure.reason, failure.status)


class _Payloads(Protocol):
    def payload(self, job_id: str) -> bytes | None: ...


class _Dealer(Protocol):
    def deals_with(self, job_id: str) -> bool: ...


class Settler:
    """
    Settles the jobs of one pipeline.

    Args:
        ledger: Knows which events a job holds, and what waits for them.
        reporter: The host's ``on_error``.
        callbacks: The thread on which the host is told.
    """

    def __init__(self, ledger: Ledger, reporter: Reporter, callbacks: CallQueue) -> None:
        self._ledger = ledger
        self._reporter = reporter
        self._callbacks = callbacks
        self._queue: _Payloads | None = None
        self._processor: _Dealer | None = None

    def serve(self, queue: _Payloads, processor: _Dealer | None) -> None:
        """Settle the jobs of *queue* from now on; *processor* is this process's, where there is one."""
        self._queue, self._processor = queue, processor

    def settle(self, end: JobEnd) -> None:
        """Settle a job that this process's processor delivered or gave up, whichever process produced it."""
        self._note(end)
        self._tell(end)

    def learn(self, ids: Sequence[str], standing: Mapping[str, Failure | None]) -> None:
        """
        Settle those of *ids* that are not in the queue as unfinished jobs any more.

        Args:
            ids: Jobs of this process that were looked up.
            standing: What the queue says of them (see ``Backend.lookup``): nothing at all of those that were delivered.
        """
        settled: Counter[str] = Counter()
        for job_id in ids:
            if job_id not in standing:
                self._note(JobEnd(job_id))
                continue
            failure = standing[job_id]
            if failure is None or (self._processor is not None and self._processor.deals_with(job_id)):
                continue  # it is unfinished, or this process's processor tells of it itself, once
            end = JobEnd(job_id, failure, failure.purged)
            if events := self._note(end):  # otherwise this process's processor was quicker
                self._tell(end)
            settled[failure.reason] += events
        if lost := settled[LOST.reason]:
            _log.error(
                "the queue was emptied, deleted or replaced, or came back older: %d events that it held are lost",
                lost,
            )
        if purged := settled[PURGED.reason]:
            _log.warning("%d events are lost: an operator purged them from the queue", purged)

    def tell_lost(self, events: int) -> None:
        """Tell ``on_error`` how many events the close has lost."""
        if self._reporter.on_error is not None:
            error = DeliveryError(f"{events} events are lost", LOST.reason)
            self._callbacks.submit(self._reporter.report, error, [])

    def _note(self, end: JobEnd) -> int:
        indices = None if end.failure is None else end.failure.indices
        return self._ledger.settle(end.job_id, end.error, indices, purged=end.purged)

    def _tell(self, end: JobEnd) -> None:
        told = []
        if end.failure is not None and (error := end.error) is not None:
            told.append((error, end.failure.payload))
        if end.purged:
            told.append((DeliveryError(PURGED.error, PURGED.reason), b""))
        for error, payload in told:
            self._reporter.last_failure = str(error)
            if self._reporter.on_error is not None:
                self._callbacks.submit(self._report, error, end.job_id, payload)

    def _report(self, error: DeliveryError, job_id: str, payload: bytes | None) -> None:
        """On the thread of the callbacks, which holds no lock of ours: read the events, and call ``on_error``."""
        if payload is None and self._queue is not None:
            with contextlib.suppress(QueueError):  # the host hears of the error all the same
                payload = carry_out(self._queue.payload, job_id)
        self._reporter.report(error, decode_batch(payload or b""))


class _Memory(_Payloads, Protocol):
    def purge(self, state: JobState, ids: Sequence[str]) -> int: ...


class MemorySettler:
    """
    Settles the jobs of a queue in memory, which has no failed queue: the host's callbacks are the last to see these events.

    Args:
        settler: The pipeline's.
        queue: The queue in memory.
        give_room: Called when events are settled: only now memory holds them no more.
    """

    def __init__(self, settler: Settler, queue: _Memory, give_room: Callable[[], object]) -> None:
        self._settler = settler
        self._queue = queue
        self._give_room = give_room

    def settle(self, end: JobEnd) -> None:
        """Settle a job, and forget it where it was given up."""
        failure = end.failure
        if failure is not None:
            end = replace(
                end, failure=replace(failure, payload=failure.payload or self._queue.payload(end.job_id))
            )
        self._settler.settle(end)
        self._give_room()
        if failure is not None:
            self._queue.purge(JobState.FAILED, [end.job_id])
