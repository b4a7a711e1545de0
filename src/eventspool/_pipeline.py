"""
The parts, put together: buffer -> flusher -> queue -> processor -> transport, and the ledger that keeps
account.

There is one pipeline per client and process. Without persistence it runs on the memory backend; ``attach``
puts a durable one in its place. Nothing runs before the first event, and a forked child makes its own.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eventspool._backends import create_backend
from eventspool._backends.memory import MemoryBackend
from eventspool._buffering.buffer import Buffer
from eventspool._buffering.callbacks import CallbackThread
from eventspool._buffering.flusher import Flusher
from eventspool._buffering.ledger import FlushResult, Ledger, Waiter
from eventspool._buffering.spill import Spill
from eventspool._config import JobOpts, SQLiteOpts
from eventspool._delivery.observation import describe_attempt
from eventspool._delivery.processor import Processor
from eventspool._delivery.transport import HTTPTransport
from eventspool._envelope import EnvelopeError, open_envelope
from eventspool._exceptions import DeliveryError, QueueError
from eventspool._job import LOST, PURGED, JobState, NewJob
from eventspool._lifecycle import explain_no_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eventspool._backends import Backend
    from eventspool._config import ClientOpts, QueueOpts
    from eventspool._delivery.attempt import Outcome
    from eventspool._delivery.observation import Observer
    from eventspool._job import ClaimedJob, Failure

__all__ = ["Pipeline"]

_log = logging.getLogger("eventspool")

_LEAVE_BUDGET = 0.3
"""Seconds of a close that are kept for giving leases back."""
_HANDOVER_POLL = 0.1
_RESCUE_AFTER = 2.0
"""Seconds of a close, at most half of it, after which a commit that hangs is no longer waited for."""


@dataclass(slots=True)
class _Engine:
    """A backend, the processor that empties it (``None``: somebody else does), and the file for its outages."""

    backend: Backend
    processor: Processor | None
    spill: Spill | None = None


class _Closing:
    """A close that is under way, or was: on which thread, and whether it is over."""

    def __init__(self, thread: threading.Thread) -> None:
        self.thread = thread
        self.over = threading.Event()


class Pipeline:
    """
    One client's flow of events in one process.

    Args:
        opts: The client's options.
        queue_opts: The durable queue, or ``None`` for memory.
        on_error: The host's ``on_error``, or ``None``.
        observer: An instrumentation, or ``None``.
    """

    def __init__(
        self,
        opts: ClientOpts,
        queue_opts: QueueOpts | None,
        on_error: Callable[[Exception, list[dict[str, Any]]], object] | None,
        observer: Observer | None = None,
    ) -> None:
        self._opts = opts
        self._on_error = on_error
        self._observer = observer
        self.callbacks = CallbackThread()
        self.buffer = Buffer(opts.max_internal_queue_size)
        self.ledger = Ledger(self.callbacks.submit)
        self._transport = HTTPTransport(opts)
        self._engine = self._make_engine(queue_opts)
        self._flusher = Flusher(
            self.buffer,
            self.ledger,
            self._engine.backend,
            opts,
            spill=self._engine.spill,
            on_stored=self._wake_processor,
            on_lookup=self._learn,
        )
        self._lock = threading.RLock()  # a signal handler may interrupt its holder
        self._started = False
        self._left: _Engine | None = None  # the one before, while what it holds is not handed over
        self._closed = False
        self._closing: _Closing | None = None
        self._flushes: weakref.WeakSet[threading.Thread] = weakref.WeakSet()

    def _make_engine(self, queue_opts: QueueOpts | None) -> _Engine:
        backend: Backend
        if queue_opts is None:
            backend = self._memory = MemoryBackend()
            jobs, fifo = JobOpts(), False
        else:
            backend = create_backend(queue_opts)
            jobs, fifo = queue_opts.jobs, not queue_opts.is_multi_processor
        spill = self._make_spill(queue_opts, backend)
        if not self._opts.process and backend.shared:
            return _Engine(backend, None, spill)
        settled = self._settle if backend.durable else self._settle_in_memory
        processor = Processor(
            backend, self._transport, jobs, fifo=fifo, gzip=self._opts.gzip, on_settled=settled
        )
        if self._observer is not None:
            processor.on_attempt = self._note_attempt
        return _Engine(backend, processor, spill)

    def _make_spill(self, queue_opts: QueueOpts | None, backend: Backend) -> Spill | None:
        opts = self._opts.spill_beside(queue_opts)
        if opts is None:
            return None
        assert isinstance(opts.target, SQLiteOpts)  # noqa: S101 - spill_beside makes no other
        return Spill(
            create_backend(opts),
            opts.target.path,
            backend,
            self.ledger,
            on_moved=self._wake_processor,
            on_lookup=self._learn,
        )

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """
        Start the threads that do not run yet.

        Raises:
            RuntimeError: None is to be had now. The next call tries again.
        """
        with self._lock:
            if self._started:
                return
            self._started = True  # first: a signal handler that interrupts us may come here
            try:
                self._start()
            except BaseException:
                self._started = False
                raise

    def _start(self) -> None:
        if not self._flusher.is_started:
            if self._opts.spill is not None and self._engine.spill is None:
                _log.warning(
                    "the spill file is not used before create_persistence_queue() brings a queue in Redis"
                )
            self._flusher.start()
        if self._engine.processor is not None:
            self._engine.processor.start()
        left, self._left = self._left, None
        if left is not None:
            try:
                threading.Thread(
                    target=self._hand_over, args=(left,), name="eventspool-handover", daemon=True
                ).start()
            except RuntimeError:
                self._left = left
                raise

    @property
    def is_started(self) -> bool:
        """Whether the threads run."""
        return self._started

    @property
    def is_current(self) -> bool:
        """Whether this is a thread that moves events. Waiting for them here, it would wait for itself."""
        processor = self._engine.processor
        return self._flusher.is_current or (processor is not None and processor.is_current)

    @property
    def backend(self) -> Backend:
        """The queue's backend."""
        return self._engine.backend

    def attach(self, queue_opts: QueueOpts) -> None:
        """
        Put a durable queue in the place of memory. What memory holds follows in order.

        Raises:
            QueueError: It cannot be used now. It is attached all the same, and tried again in the background.
            RuntimeError: It is attached, but not every thread could be started: ``start`` tries again.
        """
        with self._lock:
            old = self._engine
            self._engine = self._make_engine(queue_opts)
            self._flusher.switch(self._engine.backend, self._engine.spill)
            if self._flusher.is_started:
                self._left = old
            self._started = False
            self.start()
        self._engine.backend.open()

    def _hand_over(self, old: _Engine) -> None:
        """Move what the memory queue still holds into the durable one, once no request of it is under way."""
        if old.processor is not None:
            deadline = time.monotonic() + self._opts.timeout + 1.0
            old.processor.stop(_HANDOVER_POLL)
            while old.processor.in_flight and not self._closed and time.monotonic() < deadline:
                old.processor.stop(_HANDOVER_POLL)
        left: dict[str, NewJob] = {}  # by id: one that comes due meanwhile is listed twice
        for state in (JobState.LEASED, JobState.DELAYED, JobState.WAITING):
            for job in old.backend.jobs(state, limit=1 << 30):
                payload = old.backend.payload(job.id)
                if payload is not None:
                    left[job.id] = NewJob(job.id, payload, job.events)
        self._flusher.adopt(sorted(left.values(), key=lambda job: self.ledger.position(job.id)))

    def close(self, timeout: float) -> int:
        """
        Store the buffer, deliver until *timeout*, give leases back. Return how many events were lost.

        Lost can be only what memory alone held at the deadline. Where another thread is closing already, wait for it:
        the process may end when this returns.
        """
        deadline = time.monotonic() + timeout
        with self._lock:
            self._closed = True
            under_way = self._closing
            if under_way is None:
                closing = self._closing = _Closing(threading.current_thread())
        if under_way is not None:
            if under_way.thread is threading.current_thread() or self.callbacks.is_current:
                return 0
            if under_way.over.wait(timeout) and self._closing is not under_way:  # it was interrupted
                return self.close(max(deadline - time.monotonic(), 0.0))
            return 0
        try:
            return self._close(deadline)
        except BaseException:
            # Such as Ctrl-C: the next close, at the latest that at the exit, has it all before it.
            self._closing = None
            raise
        finally:
            closing.over.set()

    def _close(self, deadline: float) -> int:
        self.buffer.close()
        engine = self._engine
        if self._flusher.is_started:
            with contextlib.suppress(RuntimeError):
                self.start()  # what could not be started before
        if self._left is not None:
            self._hand_over(self._left)
            self._left = None
        if self._flusher.is_started:
            accepted = self.buffer.accepted
            self._flusher.leave()
            self._flusher.hasten(accepted)
            waiter = self.ledger.open_waiter(accepted)
            try:
                if engine.spill is not None:
                    self._rescue(accepted, deadline)
                if engine.processor is None:
                    self.ledger.await_stored(accepted, max(deadline - time.monotonic() - 0.05, 0.0))
                else:
                    waiter.done.wait(max(deadline - time.monotonic() - _LEAVE_BUDGET, 0.0))
            finally:
                self.ledger.close_waiter(waiter)
            self._flusher.stop()
            if engine.spill is not None:
                engine.spill.stop(min(deadline - time.monotonic(), _LEAVE_BUDGET / 3))
            if engine.processor is not None:
                self._stop_processor(engine, deadline)
        self._flusher.abandon_buffer()
        lost = self.ledger.lose(
            stored_too=not engine.backend.durable,
            error=DeliveryError("the process closed before this event was stored or delivered", "lost"),
        )
        if lost:
            _log.warning("%d events are lost: the client closed before they were stored or delivered", lost)
        self.ledger.release_waiters()
        for thread in list(self._flushes):
            thread.join(max(deadline - time.monotonic(), 0.0))
        self.callbacks.drain(deadline - time.monotonic())
        if self._flusher.is_started:
            with contextlib.suppress(RuntimeError):  # the interpreter is going down, and all of it with it
                threading.Thread(target=self._release, args=(engine,), daemon=True).start()
        return lost

    def _rescue(self, accepted: int, deadline: float) -> None:
        """Where the queue keeps the flusher waiting, have another thread put everything into the spill file."""
        left = max(deadline - time.monotonic(), 0.0)
        if self.ledger.await_stored(accepted, min(left / 2, _RESCUE_AFTER)):
            return
        try:
            rescuer = threading.Thread(target=self._flusher.rescue, daemon=True)
            rescuer.start()
        except RuntimeError:  # the interpreter is going down
            self._flusher.rescue()
        else:
            rescuer.join(max(deadline - time.monotonic(), _LEAVE_BUDGET))

    @staticmethod
    def _stop_processor(engine: _Engine, deadline: float) -> None:
        assert engine.processor is not None  # noqa: S101
        engine.processor.stop(deadline - time.monotonic() - _LEAVE_BUDGET / 2)
        if engine.processor.in_flight:
            try:
                giver = threading.Thread(target=engine.processor.give_back, daemon=True)
                giver.start()
                giver.join(max(deadline - time.monotonic(), 0.0))
            except RuntimeError:  # the interpreter is going down: the leases run out by themselves
                pass

    def _release(self, engine: _Engine) -> None:
        """Close what the threads used, once they have ended: one that is late would connect anew."""
        deadline = time.monotonic() + self._opts.timeout + 1.0
        self._flusher.join(deadline - time.monotonic())
        if engine.processor is not None:
            engine.processor.join(deadline - time.monotonic())
        try:
            self._transport.close()
            engine.backend.close()
        except QueueError:
            pass
        if engine.spill is not None:
            engine.spill.close()

    def abandon(self) -> None:
        """In a forked child: forget what belongs to the parent."""
        self._engine.backend.abandon()
        if self._engine.spill is not None:
            self._engine.spill.abandon()

    # -- instrumentation -----------------------------------------------------------------------------------------------

    def observe(self, observer: Observer | None) -> None:
        """Tell *observer* of every attempt from now on."""
        self._observer = observer
        if self._engine.processor is not None:
            self._engine.processor.on_attempt = None if observer is None else self._note_attempt

    def _note_attempt(self, job: ClaimedJob, outcome: Outcome, began_at: float, ended_at: float) -> None:
        observer = self._observer
        attempt = describe_attempt(job, outcome, began_at, ended_at, self.ledger.origins(job.id))
        if observer is not None and attempt is not None:
            observer.attempted(attempt)

    # -- flow ------------------------------------------------------------------------------------------------------------

    def _wake_processor(self) -> None:
        processor = self._engine.processor
        if processor is not None:
            processor.wake()

    def await_stored(self, timeout: float) -> bool:
        """
        Wait until every event accepted so far is in the queue. Return whether it came to that.

        The thread that puts them there, on which a destructor may track, does not wait for itself.
        """
        if self._flusher.is_current:
            return False
        return self.ledger.await_stored(self.buffer.accepted, timeout)

    def hasten(self, upto: int) -> None:
        """Move every event numbered below *upto* into the queue now."""
        self._flusher.hasten(upto)
        self._wake_processor()

    def flush(
        self,
        until: str,
        timeout: float | None,
        callback: Callable[[Exception | None, FlushResult], object] | None = None,
    ) -> FlushResult | None:
        """Wait until every event accepted so far is delivered (or, ``persisted``, stored), or *timeout*."""
        if callback is None and self.is_current:
            timeout = 0.0
        accepted = self.buffer.accepted
        waiter = self.ledger.open_waiter(accepted)
        self.hasten(accepted)
        if callback is None:
            return self._await(waiter, accepted, until, timeout)

        def wait() -> None:
            self.callbacks.submit(callback, None, self._await(waiter, accepted, until, timeout))

        thread = threading.Thread(target=wait, name="eventspool-flush", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            error = QueueError(f"{explain_no_thread()}: nobody waits for the events")
            self.callbacks.submit(callback, error, self.ledger.close_waiter(waiter))
        else:
            self._flushes.add(thread)
        return None

    def _await(self, waiter: Waiter, accepted: int, until: str, timeout: float | None) -> FlushResult:
        try:
            if until == "persisted":
                self.ledger.await_stored(accepted, timeout)
            else:
                waiter.done.wait(timeout)
        finally:  # also when Ctrl-C ends the wait
            result = self.ledger.close_waiter(waiter)
        if until == "delivered":
            return result
        missing = max(0, accepted - self.ledger.stored)
        return FlushResult(result.delivered, result.failed, min(result.pending, missing))

    def _settle(
        self, job_id: str, error: DeliveryError | None, indices: tuple[int, ...] | None, payload: bytes | None
    ) -> int:
        """Settle a job that this process's processor delivered or gave up, whoever produced it."""
        settled = self.ledger.settle(job_id, error, indices)
        self._tell(job_id, error, payload)
        return settled

    def _tell(self, job_id: str, error: DeliveryError | None, payload: bytes | None) -> None:
        if error is not None and self._on_error is not None:
            self.callbacks.submit(self._report, self._on_error, error, job_id, payload)

    def _settle_in_memory(
        self, job_id: str, error: DeliveryError | None, indices: tuple[int, ...] | None, payload: bytes | None
    ) -> None:
        backend = self._memory
        if error is not None:  # memory has no failed queue: the callbacks are the last to see these events
            payload = payload or backend.payload(job_id)
        self.buffer.release(self._settle(job_id, error, indices, payload))
        if error is not None:
            backend.purge(JobState.FAILED, [job_id])

    def _report(
        self,
        on_error: Callable[[Exception, list[dict[str, Any]]], object],
        error: DeliveryError,
        job_id: str,
        payload: bytes | None,
    ) -> None:
        if payload is None:
            try:
                payload = self.backend.payload(job_id)
            except QueueError:  # the host hears of the error all the same
                payload = None
        on_error(error, decode_events(payload or b""))

    def _learn(self, ids: list[str], standing: Mapping[str, Failure | None]) -> None:
        """Settle what others delivered, gave up or purged, and what is gone with the storage that held it."""
        settled: Counter[str] = Counter()
        for job_id in ids:
            if job_id not in standing:
                self.ledger.settle(job_id)
            elif (failure := standing[job_id]) is not None:
                error = DeliveryError(failure.error, failure.reason, failure.status)
                events = self.ledger.settle(job_id, error, failure.indices)
                if events:  # our own processor may have been quicker
                    self._tell(job_id, error, failure.payload)
                settled[failure.reason] += events
        if lost := settled[LOST.reason]:
            _log.error("the queue was emptied, deleted or replaced: %d events that it held are lost", lost)
        if purged := settled[PURGED.reason]:
            _log.warning("%d events are lost: an operator purged them from the queue", purged)

    @property
    def is_spilling(self) -> bool:
        """The spill file may hold events, whoever put them there."""
        spill = self._engine.spill
        return spill is not None and spill.may_hold_jobs

    @property
    def processor(self) -> Processor | None:
        """The processor, where this process has one."""
        return self._engine.processor


def decode_events(payload: bytes) -> list[dict[str, Any]]:
    """Return the events of a stored batch, none where it cannot be read."""
    import json

    try:
        return [json.loads(event) for event in open_envelope(payload).split()]
    except (EnvelopeError, ValueError, RecursionError):
        return []
