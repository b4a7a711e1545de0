"""
The client: what programs call. It is thin: encoding, the buffer and the pipeline do the work.

Its class is longer than others since more than half of it is signatures and docstrings, for the people who call it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping  # noqa: TC003 - tools look up the types of the options
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Literal, Self, overload

from eventspool._backends import import_driver
from eventspool._beginning import Beginning, Interrupted, import_pipeline
from eventspool._config import (
    DEFAULT_DATA_PLANE_URL,
    DEFAULT_PATH,
    ClientOpts,
    QueueOpts,
    SpillOpts,
    fill_client,
    find_strays,
    import_table,
    naming_unknown,
    read_queue,
)
from eventspool._events import methods
from eventspool._exceptions import (
    ConfigError,
    QueueError,
    QueueUnavailable,
)
from eventspool._guest.executor import carry_out, start_apart
from eventspool._guest.importing import importing
from eventspool._guest.lifecycle import (
    call_soon,
    close_on_sigterm,
    register,
    release,
)
from eventspool._guest.log import Log
from eventspool._guest.process import begin_in_child, here
from eventspool._guest.thread import NoThread, is_ours
from eventspool._reception import Reception, waits_in_vain
from eventspool._settling.reporting import Reporter
from eventspool._settling.stats import ClientStats
from eventspool._settling.waiter import FlushResult

if TYPE_CHECKING:
    from collections.abc import Collection
    from contextlib import AbstractContextManager
    from types import TracebackType

    from eventspool._closing import Closing
    from eventspool._config import RedisOpts
    from eventspool._delivery.observation import Observer
    from eventspool._operate.queue import Queue
    from eventspool._pipeline import Pipeline
    from eventspool._settling.waiter import Waiter

__all__ = ["Client"]

_log = Log("eventspool")

_are_strays_told = False

_inherited: list[Pipeline] = []
"""Pipelines of a forked child's parent: kept, so that nothing of theirs is ever closed by being collected."""


def _fill(given: Collection[str]) -> AbstractContextManager[Mapping[str, Any]]:
    """Give the options of a client that are not *given* as the environment has them."""
    with importing:
        import_table(os.environ)
    return fill_client(os.environ, given)


class Client(Reception):
    """
    Takes events, keeps them safe, and delivers them at least once.

    A client starts no thread and opens no connection before the first event, ``flush`` or ``create_persistence_queue``. With
    *persistence*, it starts by itself after a second, to deliver what earlier processes left in the queue. A client works in
    forked children; events that the parent holds stay the parent's.

    An event method does no more on the caller's thread than encode the event and put it into a buffer; the methods that wait
    say so. What a signal handler raises amid a call comes out of the call as it is, and the event was taken or was not.

    What is not given is as the environment has it: ``EVENTSPOOL_WRITE_KEY``, ``EVENTSPOOL_QUEUE`` (for *persistence*) and so
    on, read when the client is made.

    Args:
        write_key: Identifies the source to the data plane; needed, here or in the environment. It is never stored and never
            logged.
        data_plane_url: Scheme and host (and base path) of the data plane.
        path: Where batches are posted.
        flush_at: Number of events that triggers a flush, at most every 0.25 s unless 1,000 wait. It is no cap: a batch grows
            up to *max_batch_bytes*.
        flush_interval: Longest time, in seconds, that an event waits in memory.
        max_internal_queue_size: Most events held in memory; the client refuses an event beyond it.
        max_batch_bytes: Largest request body, before compression.
        max_event_bytes: Largest event; the client refuses a larger one.
        gzip: Compress request bodies.
        timeout: One deadline for a whole request, in seconds.
        enable: ``False`` accepts and forgets every event, and connects to nothing: its queue looks empty.
        strict: Raise ``EventError`` for a wrong event instead of refusing it.
        durability: ``"persisted"``: an event method returns once the event is in the queue, or returns ``None`` after
            *timeout*. ``"replicated"``: the same, once replicas of the queue's server have it, too (see ``QueueOpts``).
            ``"buffered"``: it returns once the event is in memory.
        persistence: The queue: a URL, ``QueueOpts``, a mapping of its fields, or ``None`` for memory.
        on_error: Called as ``on_error(error, events)`` for every event that is given up or refused.
        before_send: Called as ``before_send(event)`` for every event, on the caller's thread, with a copy of what would be
            sent. It returns what is sent; ``None`` drops the event, and an exception or anything else refuses it.
        process: ``False``: this process only enqueues; a worker elsewhere delivers.
        handle_sigterm: On SIGTERM, close the client and then do what would have been done without it.
        spill: For a queue in Redis: ``sqlite:///path`` (or ``SpillOpts``, or a mapping of its fields), a local file that takes
            events while Redis is not available for longer than a second. They are as safe there as in the queue, and this
            process, or the next one with the same file, moves them into the queue, in order, when Redis is back.
        proxy: The proxy on the way to the data plane, ``http://user:password@host:port``. ``None``: that of the environment
            (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``); "": none.
        ca_file: A file with certificates in PEM form, the only authorities that the data plane's certificate may come from.
            ``None``: the system's and those of ``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE`` and ``SSL_CERT_FILE``.

    Raises:
        ConfigError: An option is unknown or wrong.
    """

    @naming_unknown("Client", _fill)
    def __init__(
        self,
        write_key: str = "",
        *,
        data_plane_url: str = DEFAULT_DATA_PLANE_URL,
        path: str = DEFAULT_PATH,
        flush_at: int = 20,
        flush_interval: float = 20.0,
        max_internal_queue_size: int = 20_000,
        max_batch_bytes: int = 460_800,
        max_event_bytes: int = 32_768,
        gzip: bool = True,
        timeout: float = 10.0,
        enable: bool = True,
        strict: bool = False,
        durability: Literal["buffered", "persisted", "replicated"] = "buffered",
        persistence: str | QueueOpts | Mapping[str, Any] | None = None,
        on_error: Callable[[Exception, list[dict[str, Any]]], object] | None = None,
        before_send: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None,
        process: bool = True,
        handle_sigterm: bool = False,
        spill: str | SpillOpts | Mapping[str, Any] | None = None,
        proxy: str | None = None,
        ca_file: str | None = None,
    ) -> None:
        if not here[0]:
            begin_in_child()
        _tell_of_strays()  # first: that an option is missing is what comes of it
        queue_opts = read_queue(persistence, environ=os.environ)
        opts = ClientOpts(
            write_key=write_key,
            data_plane_url=data_plane_url,
            path=path,
            flush_at=flush_at,
            flush_interval=flush_interval,
            max_internal_queue_size=max_internal_queue_size,
            max_batch_bytes=max_batch_bytes,
            max_event_bytes=max_event_bytes,
            gzip=gzip,
            timeout=timeout,
            enable=enable,
            strict=strict,
            durability=durability,
            process=process,
            handle_sigterm=handle_sigterm,
            spill=spill,
            proxy=proxy,
            ca_file=ca_file,
        )
        if on_error is not None and not callable(on_error):
            raise ConfigError("on_error must be callable")
        _check_before_send(before_send)
        _import_drivers(opts, queue_opts)
        super().__init__(opts, Reporter(on_error, _log), before_send)
        self._is_made = False
        self._beginning = Beginning(self, opts, queue_opts, self._reporter, self._take_pipeline)
        register(self)
        if opts.handle_sigterm:
            close_on_sigterm()
        # Last: a client whose making was interrupted is in no hands, and must not begin by itself.
        self._is_made = True

    def __reduce_ex__(self, protocol: object) -> Any:
        """Refuse to be copied or pickled: two would share one buffer, and threads go into no other process."""
        raise TypeError(
            "a client can be neither copied nor pickled: pass it on, or make one where it is needed"
        )

    def __repr__(self) -> str:
        return f"<eventspool.Client {self._opts.data_plane_url}{self._opts.path}>"

    # -- queue ------------------------------------------------------------------------------------------------------------

    def create_persistence_queue(
        self,
        queue_opts: QueueOpts | Mapping[str, Any] | str | None = None,
        callback: Callable[[Exception | None], object] | None = None,
        *,
        redis_opts: RedisOpts | Mapping[str, Any] | None = None,
    ) -> None:
        """
        Keep events in a durable queue from now on and deliver those that it holds already.

        Args:
            queue_opts: The queue; ``None``: that of the environment, else Redis on localhost. A mapping may be nested as well:
                ``{"queue_opts": {…}, "redis_opts": {…}}``.
            callback: Called once as ``callback(error)``, with ``None`` when the queue is ready.
            redis_opts: Where Redis is, where *queue_opts* does not say.

        Raises:
            ConfigError: An option is unknown or wrong.
            QueueError: Redis is not reachable, or no thread can be started, and there is no *callback*. With or without
                one the client goes on trying and keeps events in memory meanwhile.
        """
        if not here[0]:
            begin_in_child()
        given = {} if queue_opts is None else queue_opts
        opts = read_queue(given, redis_opts, environ=os.environ) or QueueOpts()
        self._opts.spill_beside(opts)
        if self._beginning.is_closed:
            closed = QueueError("the client is closed: it takes no queue any more")
            if callback is None:
                raise closed
            self._call_back(callback, closed)
            return
        _import_drivers(self._opts, opts)
        if not self._opts.enable:
            self._beginning.adopt(opts)
            if callback is not None:
                self._call_back(callback, None)
            return
        error = self._beginning.create_queue(opts)
        if callback is not None:
            self._call_back(callback, error)
        elif error is not None:
            raise error

    @property
    def queue(self) -> Queue:
        """
        The queue, to look into and to steer.

        Raises:
            QueueError: There is none: neither ``persistence`` nor ``create_persistence_queue()``.
            QueueUnavailable: A signal handler has interrupted the first call of the client, which makes it.
        """
        if self._beginning.queue_opts is None:
            raise QueueError("there is no queue: give persistence=… or call create_persistence_queue()")
        from eventspool._operate.queue import Queue

        try:
            return Queue(self._pipe().backend, owns_backend=False, opts=self._beginning.queue_opts)
        except Interrupted as error:
            raise QueueUnavailable(str(error)) from None

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
            until: ``"persisted"``: until they are stored in the queue; with ``durability="replicated"`` on replicas, too.
            timeout: Longest wait in seconds. Passing is no error, but ``result.pending > 0``.

        Returns:
            The counts, or ``None`` with a *callback*.
        """
        if until not in ("delivered", "persisted"):
            raise ConfigError(f"until must be 'delivered' or 'persisted', not {until!r}")
        if timeout is not None:
            timeout = min(timeout, threading.TIMEOUT_MAX)
        if not here[0]:
            begin_in_child()
        capture = methods.capture  # read once: the test may end meanwhile
        if capture is not None:
            captured = FlushResult(delivered=capture.flush(self))
            if callback is None:
                return captured
            self._call_back(callback, None, captured)
            return None
        if callback is not None:
            try:
                import_pipeline()
                carry_out(self._flush_later, until, timeout, callback)
            except Interrupted:  # a handler has interrupted the first call: nothing is accepted yet
                call_soon(self._run_callback, callback, None, FlushResult())
            return None
        with contextlib.suppress(Interrupted):
            import_pipeline()
            return self._await_flush(until, timeout)
        return FlushResult()  # a handler has interrupted the first call: nothing is accepted yet

    def _await_flush(self, until: str, timeout: float | None) -> FlushResult:
        waiter = carry_out(self._open_flush, until)
        try:
            if not waits_in_vain():
                waiter.wait(timeout)
        finally:  # also when Ctrl-C ends the wait
            result = carry_out(self._close_flush, waiter)
        return result

    def _open_flush(self, until: str) -> Waiter:
        return self._flushed_pipe().flushes.open(until)

    def _close_flush(self, waiter: Waiter) -> FlushResult:
        return self._pipe().flushes.close(waiter)

    def _flush_later(
        self,
        until: str,
        timeout: float | None,
        callback: Callable[[Exception | None, FlushResult], object],
    ) -> None:
        self._flushed_pipe().flushes.call_back(until, timeout, callback)

    def _flushed_pipe(self) -> Pipeline:
        if self._beginning.queue_opts is not None and self._opts.enable and not self._beginning.is_closed:
            with contextlib.suppress(NoThread):  # none is to be had: no event was accepted either
                return self._beginning.start()
        return self._pipe()

    def close(self, timeout: float = 5.0) -> None:
        """
        Refuse new events, store the buffer, deliver until *timeout* (seconds), give unfinished leases back.

        Storing is tried for a second even where *timeout* is shorter. Safe to call twice. Without persistence, what is left at
        the deadline is reported as lost, by count. What interrupts the call, such as Ctrl-C, does not interrupt the close.
        """
        if (
            is_ours()
        ):  # the collector runs a destructor on a thread that moves events: it must not wait for itself
            self.end()
            with contextlib.suppress(NoThread):  # then the exit closes it
                start_apart(self._close, timeout)
            return
        closing = self.end()
        # A callback that closes the client must not wait for itself.
        calls_back = closing is None or not closing.callbacks.is_current
        try:
            carry_out(self._close, timeout, calls_back=calls_back)
        except BaseException:
            if closing is not None:
                closing.leave_unattended()
            raise

    def end(self) -> Closing | None:
        """Take no more events. Return what is left to do, ``None`` where nothing is."""
        if not here[0]:
            begin_in_child()
        self._beginning.is_closed = True
        return self._beginning.closing

    def _close(self, timeout: float, *, calls_back: bool = True) -> None:
        closing = self.end()
        if closing is not None:
            closing.run(time.monotonic() + min(timeout, threading.TIMEOUT_MAX), calls_back=calls_back)
            callbacks = closing.callbacks
            if callbacks.backlog:  # they are owed to the host: the exit waits for them, too
                callbacks.submit(release, self)
                return
        release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stats(self) -> ClientStats:
        """Return what became of this client's events in this process."""
        if not here[0]:
            begin_in_child()
        pipeline = self._beginning.pipeline
        if pipeline is None:  # it has accepted nothing so far
            return ClientStats(
                refused=self._refused.counts(),
                dropped=self._dropped.counts().get("dropped", 0),
                discarded=self._discarded.counts().get("discarded", 0),
                unconfirmed=self._unconfirmed.counts().get("unconfirmed", 0),
            )
        return carry_out(self._count, pipeline)

    def _count(self, pipeline: Pipeline) -> ClientStats:
        processor = pipeline.processor
        counts = pipeline.ledger.counts()
        taken = pipeline.buffer.accepted  # read last, so that it covers whatever was settled
        persisted = counts.stored if pipeline.backend.durable else 0
        return ClientStats(
            accepted=taken,
            refused=self._refused.counts(),
            dropped=self._dropped.counts().get("dropped", 0),
            buffered=taken - counts.delivered - counts.failed - counts.lost - persisted,
            persisted=persisted,
            spilled=counts.spilled,
            unfollowed=counts.unfollowed,
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
            pause_reason=processor.pause_reason if processor else "",
        )

    # -- process ------------------------------------------------------------------------------------------------------------

    def _pipe(self) -> Pipeline:
        """Return this process's pipeline; make it where it is not there yet."""
        return self._beginning.pipe()

    def begin_unasked(self) -> None:
        """Deliver what the queue holds, though the program has not tracked yet. Not where the making was interrupted."""
        if self._is_made:
            self._beginning.begin_unasked()

    def stand_down(self) -> None:
        """In the parent of a fork: leave what the program has not asked for to the children."""
        self._beginning.stand_down()

    def _observe(self, observer: Observer | None) -> None:
        """Have *observer* (an instrumentation, or none) told of events and deliveries from now on."""
        if not here[0]:
            begin_in_child()
        self._beginning.observe(observer)

    def begin_in_child(self) -> None:
        """In a forked child: leave the parent's events, threads and connections to the parent."""
        # First of all, and in one step: a signal handler may interrupt this and track, and makes a pipeline that must stay.
        beginning = self._beginning
        pipeline, beginning.pipeline, beginning.ready, self._put = beginning.pipeline, None, None, None
        beginning.closing = None
        release(self)
        self._reporter.begin_in_child()
        self._begin()
        beginning.begin()
        if pipeline is not None:
            _inherited.append(pipeline)
            pipeline.abandon()


def _check_before_send(before_send: object) -> None:
    if before_send is not None and not callable(before_send):
        raise ConfigError("before_send must be callable")
    if iscoroutinefunction(before_send):
        raise ConfigError(
            "before_send must be a plain function: the caller's thread waits for what it returns"
        )


def _tell_of_strays() -> None:
    """Log, once in each process, which variables of the environment begin like ours and mean nothing."""
    global _are_strays_told  # noqa: PLW0603 - once per process
    if not _are_strays_told:
        _are_strays_told = True
        for stray in find_strays(os.environ):
            _log.warning("%s", stray.sentence)


def _import_drivers(opts: ClientOpts, queue_opts: QueueOpts | None) -> None:
    opts.require_replicas(queue_opts)
    spill = opts.spill_beside(queue_opts)
    if queue_opts is not None and opts.enable:
        with importing:
            import_driver(queue_opts)
            if spill is not None:
                import_driver(spill)
