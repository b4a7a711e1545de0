"""
The parts, put together: buffer -> flusher -> queue -> processor -> transport, and the ledger that keeps
account.

There is one pipeline per client and process. Without persistence it runs on the memory backend; ``attach``
puts a durable one in its place. A forked child makes its own.

Its methods are for threads of ours (``_guest.executor.carry_out``), but for the few that say otherwise: they hold locks, and
an exception of the host's must not come while they do.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._backends import create_backend
from eventspool._backends.memory import MemoryBackend
from eventspool._buffering.buffer import Buffer
from eventspool._buffering.flusher import Flusher
from eventspool._buffering.spill import Spill
from eventspool._config import JobOpts, Ordering, SQLiteOpts
from eventspool._delivery.attempt import fail_rest
from eventspool._delivery.observation import describe_attempt, write_trace
from eventspool._delivery.parcel import Packer
from eventspool._delivery.processor import Processor
from eventspool._delivery.transport import HTTPTransport
from eventspool._guest.calls import CallQueue
from eventspool._guest.log import Log
from eventspool._guest.loop import Loop
from eventspool._guest.thread import NoThread
from eventspool._guest.throttle import Throttle
from eventspool._settling.flushes import Flushes
from eventspool._settling.ledger import Ledger
from eventspool._settling.settler import MemorySettler, Settler
from eventspool._settling.watched import origins_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eventspool._backends import Backend
    from eventspool._claim import ClaimedJob
    from eventspool._config import ClientOpts, QueueOpts
    from eventspool._delivery.attempt import Outcome
    from eventspool._delivery.observation import Observer
    from eventspool._job import NewJob
    from eventspool._settling.reporting import Reporter

__all__ = ["Pipeline"]

_log = Log("eventspool")

_TEND_INTERVAL = 1.0
"""Seconds between two looks at whether a thread has ended before its time."""


@dataclass(slots=True)
class Engine:
    """A backend, the processor that empties it (``None``: another process does), and the file for its outages."""

    backend: Backend
    processor: Processor | None
    spill: Spill | None = None
    max_batch_bytes: int | None = None


class _MemoryHandover:
    """
    Moves what the memory queue still holds into the durable one, once no request of it is under way.

    Args:
        old: The engine that is replaced.
        memory: Its queue.
        patience: Longest wait, in seconds, for requests under way.
        position: Returns the number of a job's first event.
    """

    def __init__(
        self, old: Engine, memory: MemoryBackend, patience: float, position: Callable[[str], int]
    ) -> None:
        self._old = old
        self._memory = memory
        self._until = time.monotonic() + patience
        self._position = position
        if old.processor is not None:
            old.processor.stop(0.0)

    def collect(self, now: float) -> list[NewJob] | None:
        """Return its jobs in order, ``None`` while some of them may still be delivered."""
        processor = self._old.processor
        if processor is not None and not processor.has_ended and now < self._until:
            return None
        return sorted(self._memory.unfinished(), key=lambda job: self._position(job.id))

    def hurry(self, deadline: float) -> None:
        """Wait until then at most: the client closes."""
        self._until = min(self._until, deadline)


class Pipeline:
    """
    One client's flow of events in one process.

    Args:
        opts: The client's options.
        queue_opts: The durable queue, or ``None`` for memory.
        reporter: Tells the host's ``on_error``.
        observer: An instrumentation, or ``None``.
        memory_jobs: How patiently jobs are tried as long as there is no durable queue, which has options of its own.
    """

    def __init__(
        self,
        opts: ClientOpts,
        queue_opts: QueueOpts | None,
        reporter: Reporter,
        observer: Observer | None = None,
        memory_jobs: JobOpts | None = None,
    ) -> None:
        self.opts = opts
        self._memory_jobs = memory_jobs or JobOpts()
        self._reporter = reporter
        self._observer = observer
        self._throttle = Throttle(_log)
        self.callbacks = CallQueue("callbacks", self._note_raised, reporter.finish)
        self.buffer = Buffer(opts.max_internal_queue_size, self._count_outside)
        self.ledger = Ledger(self.callbacks.put, self.callbacks.tend, is_strict=opts.is_replicated)
        self.settler = Settler(self.ledger, reporter, self.callbacks)
        self.transport = HTTPTransport(opts)
        self.engine = self._make_engine(queue_opts)
        self.flusher = Flusher(
            self.buffer,
            self.ledger,
            self.engine.backend,
            opts,
            spill=self.engine.spill,
            max_batch_bytes=self.engine.max_batch_bytes,
            trace=self._trace,
            on_stored=self._wake_processor,
            on_lookup=self.settler.learn,
        )
        self._flushing = Loop("flusher", self.flusher, on_turn=self._tend, on_failure=self._note_failed)
        self._lock = threading.RLock()  # a destructor may interrupt its holder
        self._started = False
        self.handover: _MemoryHandover | None = None
        self._tend_at = 0.0
        self.flushes = Flushes(
            self.ledger,
            self.callbacks,
            reporter,
            count_accepted=self.buffer.mark,
            hasten=self.hasten,
            explain=self._explain_pending,
        )
        self.is_leaving = False
        """Its threads end, for the client closes."""

    def _make_engine(self, queue_opts: QueueOpts | None) -> Engine:
        backend: Backend
        limit = self.opts.max_batch_bytes
        if queue_opts is None:
            backend = self._memory = MemoryBackend()
            jobs, ordering = self._memory_jobs, Ordering.NONE
        else:
            backend = create_backend(queue_opts, replicated=self.opts.is_replicated)
            jobs, ordering = queue_opts.jobs, queue_opts.resolved_ordering
            limit = min(limit, queue_opts.max_bytes)
        spill = self._make_spill(queue_opts, backend)
        if not self.opts.process and backend.shared:
            self.settler.serve(backend, None)
            return Engine(backend, None, spill, limit)
        settler: Settler | MemorySettler = self.settler
        if not backend.durable:
            settler = MemorySettler(self.settler, self._memory, self.buffer.refresh)
        processor = Processor(
            backend,
            self.transport,
            jobs,
            ordering=ordering,
            packer=Packer(self.opts.max_batch_bytes),
            gzip=self.opts.gzip,
            is_paced=self.opts.calls_wait,
            on_settled=settler.settle,
            on_turn=self._tend,
        )
        if self._observer is not None:
            processor.on_attempt = self._note_attempt
        self.settler.serve(backend, processor)
        return Engine(backend, processor, spill, limit)

    def _make_spill(self, queue_opts: QueueOpts | None, backend: Backend) -> Spill | None:
        opts = self.opts.spill_beside(queue_opts)
        if opts is None:
            return None
        assert isinstance(opts.target, SQLiteOpts)  # noqa: S101 - spill_beside makes no other
        return Spill(
            create_backend(opts),
            opts.target.path,
            backend,
            self.ledger,
            on_moved=self._wake_processor,
            on_lookup=self.settler.learn,
            fail_rest=fail_rest,
        )

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """
        Start the threads that do not run yet.

        Raises:
            NoThread: None is to be had now. The next call tries again.
        """
        with self._lock:
            if self._started:
                return
            if not self._flushing.is_started and self.opts.spill is not None and self.engine.spill is None:
                _log.warning(
                    "the spill file is not used before create_persistence_queue() brings a queue in Redis"
                )
            self._flushing.start()
            if self.engine.processor is not None:
                self.engine.processor.start()
            if self.engine.spill is not None:
                self.buffer.alarm()  # its file may hold something
            self._started = True

    def _tend(self) -> None:
        """Start the threads again that have ended before their time. Each of our threads looks after the others."""
        now = time.monotonic()
        if now < self._tend_at or not self._started or self.is_leaving:
            return
        self._tend_at = now + _TEND_INTERVAL
        with contextlib.suppress(NoThread):
            self._flushing.start()
            if self.engine.processor is not None:
                self.engine.processor.start()
        if self.engine.spill is not None:
            self.engine.spill.tend()
        self.callbacks.tend()

    def _note_failed(self, error: BaseException) -> None:
        _log.error("flushing met %s and goes on", type(error).__name__)

    def _note_raised(self, error: BaseException) -> None:
        # By its type alone: the text may hold a payload.
        self._throttle.warning("a callback raised %s", type(error).__name__)

    @property
    def is_started(self) -> bool:
        """Whether the threads run. For any thread."""
        return self._started

    @property
    def is_flushing(self) -> bool:
        """Whether the thread that stores runs, or ran: what was accepted is on its way."""
        return self._flushing.is_started

    @property
    def backend(self) -> Backend:
        """The queue's backend. For any thread."""
        return self.engine.backend

    @property
    def processor(self) -> Processor | None:
        """The processor, where this process has one. For any thread."""
        return self.engine.processor

    @property
    def is_spilling(self) -> bool:
        """The spill file may hold events, of this process or of another one. For any thread."""
        spill = self.engine.spill
        return spill is not None and spill.may_hold_jobs

    def attach(self, queue_opts: QueueOpts) -> None:
        """
        Put a durable queue in the place of memory. What memory holds follows in order. Waits for no server.

        Raises:
            NoThread: It is attached, but not every thread could be started: ``start`` tries again.
        """
        with self._lock:
            old = self.engine
            if self._flushing.is_started:
                self.handover = _MemoryHandover(
                    old, self._memory, self.opts.timeout + 1.0, self.ledger.position
                )
            engine = self._make_engine(queue_opts)
            self.engine = engine
            self.flusher.switch(engine.backend, engine.spill, engine.max_batch_bytes, self.handover)
            self._started = False
            self.start()

    def join(self, timeout: float) -> bool:
        """Wait at most *timeout* seconds until flusher, processor and mover have ended. Return whether they have."""
        deadline = time.monotonic() + timeout
        processor, spill = self.engine.processor, self.engine.spill
        self._flushing.join(timeout)
        if processor is not None:
            processor.join(deadline - time.monotonic())
        if spill is not None:
            spill.stop(deadline - time.monotonic())
        return not (
            self._flushing.is_alive
            or (processor is not None and processor.is_alive)
            or (spill is not None and spill.is_alive)
        )

    def abandon(self) -> None:
        """In a forked child: forget what belongs to the parent."""
        self.engine.backend.abandon()
        if self.engine.spill is not None:
            self.engine.spill.abandon()

    # -- instrumentation -----------------------------------------------------------------------------------------------

    def observe(self, observer: Observer | None) -> None:
        """Tell *observer* of every attempt from now on. For any thread."""
        self._observer = observer
        if self.engine.processor is not None:
            self.engine.processor.on_attempt = None if observer is None else self._note_attempt

    def _note_attempt(self, job: ClaimedJob, outcome: Outcome, began_at: float, ended_at: float) -> None:
        observer = self._observer
        attempt = describe_attempt(job, outcome, began_at, ended_at)
        if observer is not None and attempt is not None:
            observer.attempted(attempt)

    def _trace(self, events: Sequence[bytes]) -> bytes:
        """Return what a batch of *events* says of the spans in which they were tracked. For the thread that makes batches."""
        observer = self._observer
        if observer is None:
            return b""
        try:
            return write_trace(observer.describe(origins_of(events)))
        except Exception as error:  # noqa: BLE001 - whatever an instrumentation raises: events go on without their trace
            self._throttle.warning("the instrumentation raised %s", type(error).__name__)
            return b""

    # -- flow ------------------------------------------------------------------------------------------------------------

    def _wake_processor(self, *, at_once: bool = False) -> None:
        processor = self.engine.processor
        if processor is not None:
            processor.wake(at_once=at_once)

    def _count_outside(self) -> int:
        if self.engine.backend.durable and self.flusher.is_handed_over:
            return self.flusher.count_held()
        return self.ledger.open_events

    def hasten(self, upto: int) -> None:
        """Move every event numbered below *upto* into the queue now, and have what is there delivered."""
        self.flusher.hasten(upto)
        self._wake_processor(at_once=True)

    def _explain_pending(self, cut: int) -> str:
        if self.ledger.stored < cut and self.flusher.trouble:
            return self.flusher.trouble
        if not self._started:
            return str(NoThread())
        processor = self.engine.processor
        if processor is None:
            return "this client only stores (process=False): a worker elsewhere delivers"
        return processor.hindrance or "the time was over before the data plane had answered"
