"""
How a client begins: its pipeline is made and started when it is first needed, once in each process.

The first call may come on any thread of the host's, and a signal handler or a destructor may interrupt it and call the
client again; the process may fork amid it, or be exiting. So a thread of ours does the work, and a call that has interrupted
another one on the same thread is told so (``Interrupted``) instead of waiting for itself.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

from eventspool._exceptions import QueueError, QueueUnavailable
from eventspool._guest.executor import carry_out, start_apart
from eventspool._guest.importing import importing
from eventspool._guest.lifecycle import begin_later, is_exiting, keep
from eventspool._guest.log import Log
from eventspool._guest.process import begin_in_child, here
from eventspool._guest.thread import NoThread, is_ours

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._closing import Closing
    from eventspool._config import ClientOpts, JobOpts, QueueOpts
    from eventspool._delivery.observation import Observer
    from eventspool._guest.lifecycle import Guest
    from eventspool._pipeline import Pipeline
    from eventspool._settling.reporting import Reporter

__all__ = ["Beginning", "Interrupted", "import_pipeline"]

_log = Log("eventspool")

_making: set[int] = set()
"""The threads that are making a pipeline."""
_importers: set[int] = set()
"""The threads that are importing what pipelines are made of."""
_is_imported = False


class Interrupted(Exception):  # noqa: N818 - it says what is the case
    """A call came, on the same thread, in the midst of another one that sets the client up."""


class Beginning:
    """
    Makes and starts the pipeline of one client in this process.

    Args:
        client: The client. It is held weakly here: one that the program drops before it was used goes at once, and begins
            nothing. From its first event on the process keeps it.
        opts: Its options.
        queue_opts: Its queue, where it has one from the first.
        reporter: Tells the host's ``on_error``.
        on_ready: A method of the client, called with the pipeline when events may go into it, and with ``None`` where they
            have to wait for that again.
    """

    def __init__(
        self,
        client: Guest,
        opts: ClientOpts,
        queue_opts: QueueOpts | None,
        reporter: Reporter,
        on_ready: Callable[[Pipeline | None], None],
    ) -> None:
        self._client = weakref.ref(client)
        self._opts = opts
        self.queue_opts = queue_opts
        self._reporter = reporter
        self._on_ready = weakref.WeakMethod(on_ready)
        self.pipeline: Pipeline | None = None
        """This process's pipeline; ``None`` until something needs it."""
        self.ready: Pipeline | None = None
        """The same, once its threads run."""
        self.closing: Closing | None = None
        """The pipeline's end."""
        self.observer: Observer | None = None
        """An instrumentation."""
        self.memory_jobs: JobOpts | None = None
        """How patiently jobs are tried without a durable queue, where the options of another SDK say so."""
        self.is_closed = is_exiting()
        self.begin()

    def begin(self) -> None:
        """Set up what belongs to one process: the first one, or a forked child."""
        self._lock = threading.RLock()  # of our threads only; a destructor may interrupt its holder
        self._is_asked = False
        self._may_begin = True
        client = self._client()
        has_work = self.queue_opts is not None and self._opts.process and self._opts.enable
        if client is not None and has_work and not self.is_closed:
            begin_later(client)

    # -- on any thread -------------------------------------------------------------------------------------------------

    def pipe(self) -> Pipeline:
        """
        Return this process's pipeline; make it where it is not there yet.

        Raises:
            Interrupted: This call has interrupted the one that makes it.
        """
        if not here[0]:
            begin_in_child()
        if self.pipeline is None:
            import_pipeline()
        return self.pipeline or carry_out(self._make)

    def start(self) -> Pipeline:
        """
        Return this process's pipeline at work.

        Raises:
            Interrupted: This call has interrupted the one that makes it.
            NoThread: It cannot work: no thread is to be had.
        """
        self._is_asked = True
        import_pipeline()
        return carry_out(self._start, self._client())

    def begin_unasked(self) -> None:
        """Deliver what the queue holds, though the program has not tracked yet."""
        if self._may_begin and not self.is_closed:
            with contextlib.suppress(NoThread, Interrupted):  # the first event begins
                carry_out(self._start_unasked, self._client())

    def stand_down(self) -> None:
        """In the parent of a fork, the children's master as long as it has not tracked: leave the queue to them."""
        self._may_begin = False
        if self.pipeline is not None and self.pipeline.is_started and not self._is_asked:
            with contextlib.suppress(NoThread):
                start_apart(self._stand_down)

    def observe(self, observer: Observer | None) -> None:
        """Have *observer* (an instrumentation, or none) told of events and deliveries from now on."""
        self.observer = observer
        carry_out(self._observe)

    def adopt(self, opts: QueueOpts) -> bool:
        """Have *opts* be the queue. Return whether there was one, which stays."""
        with self._lock:
            again = self.queue_opts is not None
            if not again:
                self.queue_opts = opts
        if again:
            _log.warning("create_persistence_queue was called again; the queue that is there stays")
        return again

    def create_queue(self, opts: QueueOpts) -> QueueError | None:
        """Put a durable queue in the place of memory. Return what is in the way: the client goes on trying."""
        try:
            import_pipeline()
            return carry_out(self._create_queue, opts, self._client())
        except Interrupted as interrupted:
            carry_out(self.adopt, opts)
            return QueueUnavailable(f"{interrupted}: it uses the queue from the next event on")

    # -- on a thread of ours -------------------------------------------------------------------------------------------

    def _make(self) -> Pipeline:
        if self.pipeline is not None:
            return self.pipeline
        if sys.is_finalizing():  # nothing can be imported any more, nor any thread be started
            raise Interrupted("the interpreter is exiting")
        me = threading.get_ident()
        if me in _making:  # a destructor has interrupted it
            raise Interrupted("the client is just starting, and this call has interrupted that")
        with importing:
            _making.add(me)
            try:
                from eventspool._closing import Closing
                from eventspool._pipeline import Pipeline

                with self._lock:
                    if self.pipeline is None:
                        queue_opts = self.queue_opts if self._opts.enable else None
                        pipeline = Pipeline(
                            self._opts, queue_opts, self._reporter, self.observer, self.memory_jobs
                        )
                        if self.is_closed:
                            pipeline.buffer.close()
                        self.closing, self.pipeline = Closing(pipeline), pipeline
                    return self.pipeline
            finally:
                _making.discard(me)

    # Each takes the client along: what interrupts the caller's wait may drop the client, which must be kept all the same.

    def _start(self, client: Guest | None) -> Pipeline:
        with self._lock:
            pipeline = self._start_unasked(client)
            if not self.is_closed:
                self._make_ready(pipeline)
            return pipeline

    def _start_unasked(self, client: Guest | None) -> Pipeline:
        """Start the threads, and make nothing ready for events: the first one notes that the client was asked to work."""
        with self._lock:
            pipeline = self._make()
            if not self.is_closed:
                if client is not None:
                    keep(client)
                pipeline.start()
            return pipeline

    def _make_ready(self, pipeline: Pipeline | None) -> None:
        on_ready = self._on_ready()
        if on_ready is not None:
            on_ready(pipeline)
        self.ready = pipeline

    def _stand_down(self) -> None:
        with self._lock:
            closing = self.closing
            if closing is None or self._is_asked:  # it has tracked meanwhile
                return
            self.pipeline = self.closing = None
        closing.run(time.monotonic())

    def _observe(self) -> None:
        with self._lock:
            if self.pipeline is not None:
                self.pipeline.observe(self.observer)
                if self.ready is not None:
                    self._make_ready(self.ready)

    def _create_queue(self, opts: QueueOpts, client: Guest | None) -> QueueError | None:
        try:
            with self._lock:
                pipeline = self._make()
                again = self.adopt(opts)
                self._is_asked = True
                if client is not None:
                    keep(client)
                self._make_ready(None)
                if again or (not pipeline.is_started and pipeline.backend.durable):
                    pipeline.start()
                else:
                    pipeline.attach(opts)
            pipeline.backend.open()  # events go on meanwhile: a server that does not answer takes seconds
        except QueueError as problem:
            return problem
        except NoThread as problem:
            return QueueUnavailable(f"{problem}: the next event tries again")
        return None


def import_pipeline() -> None:
    """
    Import the pipeline on the thread that asks.

    A child that this thread forks is then never forked amid the import, whose lock it could not open. And a signal handler
    that tracks amid the import must not wait for another thread, which would wait for the lock.

    Raises:
        Interrupted: This call has interrupted the import, or the interpreter is exiting.
    """
    global _is_imported  # noqa: PLW0603 - once per process
    if _is_imported or is_ours():
        return
    if sys.is_finalizing():
        raise Interrupted("the interpreter is exiting")
    me = threading.get_ident()
    if me in _importers:
        raise Interrupted("the client is just starting, and this call has interrupted that")
    _importers.add(me)
    try:
        with importing:
            import eventspool._closing
            import eventspool._pipeline  # noqa: F401
        _is_imported = True
    finally:
        _importers.discard(me)
