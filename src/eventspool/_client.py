"""The client: what a backend calls. Thin: encoding, the buffer and the pipeline do the work."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from eventspool._backends import import_driver
from eventspool._config import ClientOptions, ClientOpts, QueueOpts, read_queue_opts, reject_unknown
from eventspool._events import methods
from eventspool._events.event import EventEncoder
from eventspool._events.methods import EventMethods
from eventspool._exceptions import (
    ConfigError,
    DeliveryError,
    EventError,
    EventSpoolError,
    QueueError,
    QueueUnavailable,
    RefusedError,
)
from eventspool._lifecycle import (
    close_on_sigterm,
    explain_no_thread,
    importing,
    is_ending,
    is_exiting,
    keep,
    register,
    release,
)
from eventspool._stats import ClientStats, Tally
from eventspool._throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from eventspool._buffering.ledger import FlushResult
    from eventspool._config import RedisOpts
    from eventspool._delivery.observation import Observer
    from eventspool._events.methods import Callback
    from eventspool._pipeline import Pipeline
    from eventspool._queue import Queue

    OnError = Callable[[Exception, list[dict[str, Any]]], object]

__all__ = ["Client"]

_log = logging.getLogger("eventspool")
_log.addHandler(logging.NullHandler())

_MAX_PENDING_REPORTS = 1000

_inherited: list[Pipeline] = []
"""Pipelines of a forked child's parent: kept, so that nothing of theirs is ever closed by being collected."""

_making = False
"""Whether some thread, which holds ``importing``, is making a pipeline."""


class _StartingError(RuntimeError):
    """A call came, on the same thread, in the midst of another one that sets the client up."""


class Client(EventMethods):
    """
    Takes events, keeps them safe, delivers them at least once (contract, section 1).

    Nothing runs and nothing is connected before the first event, ``flush`` or ``create_persistence_queue``. A
    client works in forked children; events that the parent holds stay the parent's.

    Args:
        write_key: Identifies the source to the data plane. Never stored, never logged.
        data_plane_url: Scheme and host (and base path) of the data plane.
        path: Where batches are posted.
        flush_at: Events that trigger a flush, at most every 0.25 s unless 1,000 wait. No cap: batches grow up to
            *max_batch_bytes*.
        flush_interval: Longest time, in seconds, that an event waits in memory.
        max_internal_queue_size: Events held in memory; beyond it new ones are refused.
        max_batch_bytes: Largest request body, before compression.
        max_event_bytes: Largest event; a larger one is refused.
        gzip: Compress request bodies.
        timeout: One deadline for a whole request, in seconds.
        enable: ``False`` accepts and forgets every event, and connects to nothing: its queue looks empty.
        strict: Raise ``EventError`` for a wrong event instead of refusing it.
        durability: ``"persisted"``: an event method returns once the event is in the queue (or ``None`` after
            *timeout*).
        persistence: The queue: a URL, ``QueueOpts``, a mapping of its fields, or ``None`` for memory.
        on_error: Called as ``on_error(error, events)`` for every event that is given up or refused.
        process: ``False``: only enqueue; a worker elsewhere delivers.
        handle_sigterm: Close on SIGTERM, then do what would have been done without us.
        spill: For a queue in Redis: ``sqlite:///path`` (or ``SpillOpts``, or a mapping of its fields), a local file that
            takes events while Redis is not available for longer than a second. They are as safe as in the queue,
            and go into it, in order, when Redis is back: from this process or the next one with the same file.

    Raises:
        ConfigError: An option is unknown or wrong.
    """

    def __init__(self, write_key: str, **options: Unpack[ClientOptions]) -> None:
        reject_unknown(options, list(ClientOptions.__annotations__), "Client")
        self._on_error = options.pop("on_error", None)
        self._queue_opts = read_queue_opts(options.pop("persistence", None))
        self._opts = ClientOpts(write_key=write_key, **options)  # type: ignore[misc]
        if self._on_error is not None and not callable(self._on_error):
            raise ConfigError("on_error must be callable")
        self._import_drivers(self._queue_opts)
        self._encoder = EventEncoder(max_event_bytes=self._opts.max_event_bytes)
        self._observer: Observer | None = None
        self._closed = is_exiting()
        self._begin()
        register(self)
        if self._opts.handle_sigterm:
            close_on_sigterm()

    def _import_drivers(self, queue_opts: QueueOpts | None) -> None:
        spill = self._opts.spill_beside(queue_opts)
        if queue_opts is not None and self._opts.enable:
            with importing:
                import_driver(queue_opts)
                if spill is not None:
                    import_driver(spill)

    def _begin(self) -> None:
        """Set up what belongs to one process."""
        self._lock = threading.RLock()  # a signal handler, or a destructor, may interrupt its holder
        self._throttle = Throttle(_log)
        self._pipeline: Pipeline | None = None
        self._refused = Tally()
        self._unconfirmed = Tally()
        self._discarded = Tally()
        self._put = None

    def __repr__(self) -> str:
        return f"<eventspool.Client {self._opts.data_plane_url}{self._opts.path}>"

    # -- events ----------------------------------------------------------------------------------------------------------

    def _accept(self, encoded: bytes, message_id: str, callback: Callback | None) -> str | None:
        if methods.capture is not None:
            methods.capture(encoded)
            self._discarded.add("discarded")
            if callback is not None:
                self._pipe().callbacks.submit(callback, None, message_id)
            return message_id
        put = self._put
        if put is None or callback is not None:
            return self._accept_slowly(encoded, message_id, callback)
        return message_id if put(encoded) else self._refuse_full(encoded)

    def _accept_slowly(self, encoded: bytes, message_id: str, callback: Callback | None) -> str | None:
        """Accept the first event of a process, one with a callback, or one that must be stored before we return."""
        if not self._opts.enable:
            self._discarded.add("discarded")
            if callback is not None:
                self._pipe().callbacks.submit(callback, None, message_id)
            return message_id
        try:
            pipeline = self._pipe(start=True)
        except _StartingError as error:
            return self._refuse(RefusedError(str(error), "starting"), encoded)
        except RuntimeError:
            return self._refuse(
                RefusedError(explain_no_thread(), "closed" if is_ending() else "starting"), encoded
            )
        if self._opts.durability == "persisted" and not pipeline.backend.durable:
            message = "durability='persisted' needs persistence=… or create_persistence_queue()"
            return self._refuse(RefusedError(message, "no_queue"), encoded)
        if callback is not None:
            encoded = pipeline.ledger.watch(encoded, callback, message_id)
        if not self._choose_put(pipeline)(encoded):
            return self._refuse_full(encoded)
        if self._opts.durability == "persisted" and not pipeline.await_stored(self._opts.timeout):
            self._unconfirmed.add("unconfirmed")
            self._throttle.warning(
                "storing events takes too long; calls return None, their events are kept in memory"
            )
            return None
        return message_id

    # -- refusals ----------------------------------------------------------------------------------------------------------

    def _refuse_invalid(self, error: EventError, **given: Any) -> str | None:
        if self._opts.strict:
            raise error
        return self._refuse(error, {name: value for name, value in given.items() if value is not None})

    def _refuse_full(self, encoded: bytes) -> str | None:
        if self._closed:
            return self._refuse(RefusedError("the client is closed", "closed"), encoded)
        size = self._opts.max_internal_queue_size
        return self._refuse(RefusedError(f"{size} events wait in memory already", "buffer_full"), encoded)

    def _refuse(self, error: EventError | RefusedError, event: bytes | dict[str, Any]) -> str | None:
        """Count a refusal, log it, and tell the host. Never raises, returns ``None`` for the event method to return."""
        self._refused.add(error.reason)
        self._throttle.warning(f"refused an event ({error.reason}): %s", error)
        if self._on_error is not None:
            with contextlib.suppress(_StartingError):
                callbacks = self._pipe().callbacks
                if callbacks.backlog < _MAX_PENDING_REPORTS:
                    callbacks.submit(_report_refusal, self._on_error, error, event)
        return None

    # -- queue ------------------------------------------------------------------------------------------------------------

    def create_persistence_queue(
        self,
        queue_opts: QueueOpts | Mapping[str, Any] | str | None = None,
        callback: Callable[[Exception | None], object] | None = None,
        *,
        redis_opts: RedisOpts | Mapping[str, Any] | None = None,
    ) -> None:
        """
        Keep events in a durable queue from now on (document: ``createPersistenceQueue``).

        Args:
            queue_opts: The queue. The document's nested form ``{"queue_opts": {…}, "redis_opts": {…}}`` works
                as well.
            callback: Called once as ``callback(error)``, with ``None`` when the queue is ready.
            redis_opts: Where Redis is, where *queue_opts* does not say.

        Raises:
            ConfigError: An option is unknown or wrong.
            QueueError: Redis is not reachable, or no thread can be started, and there is no *callback*. With or without
                one the client goes on trying and keeps events in memory meanwhile.
        """
        opts = read_queue_opts(queue_opts, redis_opts) or QueueOpts()
        self._opts.spill_beside(opts)
        if self._closed:
            closed = QueueError("the client is closed: it takes no queue any more")
            if callback is None:
                raise closed
            self._pipe().callbacks.submit(callback, closed)
            return
        self._import_drivers(opts)
        with self._lock:
            again = self._queue_opts is not None
            if not again:
                self._queue_opts = opts
        if again:
            _log.warning("create_persistence_queue was called again; the queue that is there stays")
        pipeline = self._pipe()
        if not self._opts.enable:
            if callback is not None:
                pipeline.callbacks.submit(callback, None)
            return
        keep(self)
        error: QueueError | None = None
        try:
            if again or (not pipeline.is_started and pipeline.backend.durable):
                pipeline.start()
                pipeline.backend.open()
            else:
                pipeline.attach(opts)
        except QueueError as problem:
            error = problem
        except RuntimeError:
            error = QueueUnavailable(f"{explain_no_thread()}: the next event tries again")
        finally:
            if not pipeline.is_started:
                self._put = None  # so that the next event does
        if callback is not None:
            pipeline.callbacks.submit(callback, error)
        elif error is not None:
            raise error

    @property
    def queue(self) -> Queue:
        """
        The queue, to look into and to steer.

        Raises:
            QueueError: There is none: neither ``persistence`` nor ``create_persistence_queue()``.
        """
        if self._queue_opts is None:
            raise QueueError("there is no queue: give persistence=… or call create_persistence_queue()")
        from eventspool._queue import Queue

        return Queue(self._pipe().backend, owns_backend=False)

    # -- flush and close ----------------------------------------------------------------------------------------------------

    @overload
    def flush(
        self,
        callback: None = None,
        *,
        until: Literal["delivered", "persisted"] = "delivered",
        timeout: float | None = None,
    ) -> FlushResult: ...

    @overload
    def flush(
        self,
        callback: Callable[[Exception | None, FlushResult], object],
        *,
        until: Literal["delivered", "persisted"] = "delivered",
        timeout: float | None = None,
    ) -> None: ...

    def flush(
        self,
        callback: Callable[[Exception | None, FlushResult], object] | None = None,
        *,
        until: Literal["delivered", "persisted"] = "delivered",
        timeout: float | None = None,
    ) -> FlushResult | None:
        """
        Wait until every event accepted by this client before the call is settled.

        Args:
            callback: Return at once; ``callback(error, result)`` is called exactly once.
            until: ``"persisted"``: until they are stored in the queue.
            timeout: Longest wait in seconds. Passing is no error, but ``result.pending > 0``.

        Returns:
            The counts, or ``None`` with a *callback*.
        """
        if until not in ("delivered", "persisted"):
            raise ConfigError(f"until must be 'delivered' or 'persisted', not {until!r}")
        if timeout is not None:
            timeout = min(timeout, threading.TIMEOUT_MAX)
        pipeline = self._pipe()
        if self._queue_opts is not None:
            with contextlib.suppress(RuntimeError):  # no thread is to be had: no event was accepted either
                self._pipe(start=True)
        return pipeline.flush(until, timeout, callback)

    def close(self, timeout: float = 5.0) -> None:
        """
        Refuse new events, store the buffer, deliver until *timeout* (seconds), give unfinished leases back.

        Safe to call twice. Without persistence, what is left at the deadline is reported as lost, by count.
        """
        timeout = min(timeout, threading.TIMEOUT_MAX)
        deadline = time.monotonic() + timeout
        self._closed = True
        with self._lock:
            pipeline = self._pipeline
        if pipeline is not None and pipeline.is_current:  # a destructor that the collector runs there
            with contextlib.suppress(RuntimeError):  # the exit closes it
                threading.Thread(
                    target=self.close, args=(timeout,), name="eventspool-close", daemon=True
                ).start()
            return
        if pipeline is not None:
            lost = pipeline.close(timeout)
            if lost and self._on_error is not None:
                pipeline.callbacks.submit(
                    self._on_error, DeliveryError(f"{lost} events are lost", "lost"), []
                )
                pipeline.callbacks.drain(max(deadline - time.monotonic(), 0.1))
        release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stats(self) -> ClientStats:
        """Return what became of this client's events in this process."""
        pipeline = self._pipe()
        processor = pipeline.processor
        counts = pipeline.ledger.counts()
        taken = pipeline.buffer.accepted  # read last, so that it covers whatever was settled
        persisted = counts.stored if pipeline.backend.durable else 0
        return ClientStats(
            accepted=taken,
            refused=self._refused.counts(),
            buffered=taken - counts.delivered - counts.failed - counts.lost - persisted,
            persisted=persisted,
            spilled=counts.spilled,
            delivered=counts.delivered,
            failed=counts.failed,
            failed_reasons=counts.failed_reasons,
            lost=counts.lost,
            lost_reasons=counts.lost_reasons,
            discarded=self._discarded.counts().get("discarded", 0),
            unconfirmed=self._unconfirmed.counts().get("unconfirmed", 0),
            sent=processor.sent if processor else 0,
            retried=processor.retried if processor else 0,
            in_flight=processor.in_flight if processor else 0,
            paused=processor.is_paused if processor else False,
        )

    # -- process ------------------------------------------------------------------------------------------------------------

    def _pipe(self, *, start: bool = False) -> Pipeline:
        """Return this process's pipeline; make it, and with *start* set it going, where it is not there yet."""
        pipeline = self._pipeline or self._make_pipeline()
        if start and self._put is None and self._opts.enable and not self._closed:
            keep(self)
            pipeline.start()
            if self._opts.durability == "buffered":
                self._put = self._choose_put(pipeline)
        return pipeline

    def _choose_put(self, pipeline: Pipeline) -> Callable[[bytes], bool]:
        """Return what puts an event into the buffer. Without an observer an event pays nothing for there being such."""
        put, mark, observer = pipeline.buffer.put, pipeline.ledger.mark, self._observer
        if observer is None:
            return put
        return lambda encoded: put(mark(encoded, observer.origin()))

    def _observe(self, observer: Observer | None) -> None:
        """Have *observer* (an instrumentation, or nobody) told of events and deliveries from now on."""
        self._observer = observer
        with self._lock:
            pipeline = self._pipeline
            if pipeline is not None:
                pipeline.observe(observer)
                if self._put is not None:
                    self._put = self._choose_put(pipeline)

    def _make_pipeline(self) -> Pipeline:
        global _making  # noqa: PLW0603 - whoever imports is alone in its process
        with importing:
            if _making:  # by this very thread: a signal handler, or a destructor, has interrupted it
                raise _StartingError("the client is just starting, and this call has interrupted that")
            _making = True
            try:
                from eventspool._pipeline import Pipeline

                with self._lock:
                    if self._pipeline is None:
                        queue_opts = self._queue_opts if self._opts.enable else None
                        pipeline = Pipeline(self._opts, queue_opts, self._on_error, self._observer)
                        if self._closed:
                            pipeline.buffer.close()
                        self._pipeline = pipeline
                    return self._pipeline
            finally:
                _making = False

    def begin_in_child(self) -> None:
        """In a forked child: leave the parent's events, threads and connections to the parent."""
        pipeline = self._pipeline
        release(self)
        self._begin()
        if pipeline is not None:
            _inherited.append(pipeline)
            pipeline.abandon()


def _report_refusal(on_error: OnError, error: EventSpoolError, event: bytes | dict[str, Any]) -> None:
    import json

    on_error(error, [json.loads(event) if isinstance(event, bytes) else event])
