"""What becomes of the call of an event method: accepted, refused or discarded, and counted once."""

from __future__ import annotations

import contextlib
import queue
import sys
import time
from typing import TYPE_CHECKING, Any, final

from eventspool._beginning import Beginning, Interrupted
from eventspool._events import methods
from eventspool._events.event import EventEncoder
from eventspool._events.kinds import COMMON, KINDS
from eventspool._events.methods import EventMethods
from eventspool._exceptions import EventError, EventSpoolError, RefusedError
from eventspool._guest.importing import importing
from eventspool._guest.lifecycle import call_soon, is_exiting
from eventspool._guest.log import Log
from eventspool._guest.thread import NoThread, is_ours
from eventspool._guest.throttle import Throttle
from eventspool._settling.stats import Tally
from eventspool._settling.watched import mark

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._config import ClientOpts
    from eventspool._events.methods import Callback
    from eventspool._pipeline import Pipeline
    from eventspool._settling.reporting import Reporter

    BeforeSend = Callable[[dict[str, Any]], dict[str, Any] | None]

__all__ = ["ALARM_INTERVAL", "Awaited", "Reception", "waits_in_vain"]

_log = Log("eventspool")

_MAX_PENDING_REPORTS = 1000
_BESIDE_REPLICATION = 0.25
"""Seconds that a call may take besides the wait for replicas, before it is refused."""
ALARM_INTERVAL = 0.5
"""Seconds after which a durable call wakes the flusher once more: an exception may have cut another caller's wake-up off."""


@final
class Awaited:
    """
    Stands in the place of the callback of a call whose event is awaited, without a thread that waits, until it is stored.

    Args:
        tell: Called, on another thread, with whether the event was stored.
        callback: The call's own callback, if it has one.
    """

    def __init__(self, tell: Callable[[bool], object], callback: Callback | None) -> None:
        self._tell = tell
        self.callback = callback
        self.pipeline: Pipeline | None = None
        """Where the event is on its way; ``None`` where it was refused or discarded."""

    def await_in(self, pipeline: Pipeline) -> Callable[[bool], object]:
        """Note which *pipeline* stores the event. Return what to tell when it has."""
        self.pipeline = pipeline
        return self._tell


class Reception(EventMethods):
    """
    Takes events, or says why it does not. Never raises into the host, but for ``strict``.

    Args:
        opts: The client's options.
        reporter: Tells the host's ``on_error`` of refusals.
        before_send: The host's last word on each event, or ``None``.
    """

    _beginning: Beginning

    def __init__(
        self,
        opts: ClientOpts,
        reporter: Reporter,
        before_send: BeforeSend | None = None,
    ) -> None:
        self._opts = opts
        self._reporter = reporter
        self._encoder = _make_encoder(opts.max_event_bytes, before_send)
        self._put = None
        self._begin()

    def _begin(self) -> None:
        """Begin to count, in this process or in a forked child."""
        self._throttle = Throttle(_log)
        self._refused = Tally()
        self._unconfirmed = Tally()
        self._discarded = Tally()
        self._dropped = Tally()

    def _accept(self, encoded: bytes, message_id: str, callback: Callback | None) -> str | None:
        capture = methods.capture  # read once: the test may end meanwhile
        if capture is not None:
            capture.take(self, encoded)
            return self._discard(message_id, callback)
        put = self._put
        if put is None or callback is not None:
            return self._accept_slowly(encoded, message_id, callback)
        return message_id if put(encoded) else self._refuse_full(encoded)

    def _discard(self, message_id: str, callback: Callback | Awaited | None) -> str:
        self._discarded.add("discarded")
        if type(callback) is Awaited:  # nothing waits, and so nothing is started for it
            callback = callback.callback
        if callback is not None:
            self._call_back(callback, None, message_id)
        return message_id

    def _call_back(self, callback: Callable[..., object], *args: Any) -> None:
        """Have *callback* called soon, also where this call has interrupted the making of what calls back."""
        try:
            callbacks = self._beginning.pipe().callbacks
        except Interrupted:
            call_soon(self._run_callback, callback, *args)
        else:
            callbacks.submit(callback, *args)

    def _run_callback(self, callback: Callable[..., object], *args: Any) -> None:
        self._reporter.finish(callback(*args))

    def _accept_slowly(
        self, encoded: bytes, message_id: str, callback: Callback | Awaited | None
    ) -> str | None:
        """Accept the first event of a process, one with a callback, or one that must be stored before we return."""
        if not self._opts.enable:
            return self._discard(message_id, callback)
        try:
            pipeline = self._beginning.ready or self._beginning.start()
        except Interrupted as error:
            return self._refuse(RefusedError(str(error), "starting"), encoded)
        except NoThread as error:
            return self._refuse(RefusedError(str(error), "closed" if is_exiting() else "starting"), encoded)
        reply: queue.SimpleQueue[bool] | None = None
        tell: Callable[[bool], object] | None = None
        if type(callback) is Awaited:  # and not isinstance, which asks the host's object for its class
            tell = callback.await_in(pipeline)
            callback = callback.callback
        elif self._opts.calls_wait:
            reply = queue.SimpleQueue()
            tell = reply.put
        if tell is not None and not pipeline.backend.durable:
            level = "replicated" if self._opts.is_replicated else "persisted"
            message = f"durability='{level}' needs persistence=… or create_persistence_queue()"
            return self._refuse(RefusedError(message, "no_queue"), encoded)
        if callback is not None or tell is not None:
            encoded = pipeline.ledger.watch(encoded, callback, message_id, tell)
        if not self._choose_put(pipeline)(encoded):
            return self._refuse_full(encoded)
        if reply is None or self._await_stored(pipeline, reply):
            return message_id
        self.leave_unconfirmed()
        return None

    def leave_unconfirmed(self) -> None:
        """Count and tell a call that has waited as long as it may for its event to be stored."""
        self._unconfirmed.add("unconfirmed")
        self._throttle.warning(
            "storing events takes too long; calls return None, their events are kept in memory where they can be"
        )

    def _find_patience(self) -> float:
        """Return for how many seconds a call waits for its event to be stored."""
        queue, timeout = self._beginning.queue_opts, self._opts.timeout
        if queue is None or not (self._opts.is_replicated and queue.when_unreplicated == "refuse"):
            return timeout
        return min(timeout, queue.replication_timeout + _BESIDE_REPLICATION)

    def _await_stored(self, pipeline: Pipeline, reply: queue.SimpleQueue[bool]) -> bool:
        """Wait for the commit that stores one event. Return whether it came to that."""
        if waits_in_vain():
            return False
        deadline = time.monotonic() + self._find_patience()
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                return reply.get(timeout=min(left, ALARM_INTERVAL))
            pipeline.buffer.alarm()
        return False

    # -- refusals ----------------------------------------------------------------------------------------------------------

    def _refuse_invalid(self, error: EventError, kind: str, arguments: dict[str, Any]) -> str | None:
        # Before Python 3.13 the caller's frame holds this dictionary. With the error in it, whose traceback holds the frame,
        # all of it, the client too, would wait for the garbage collector.
        arguments.pop("error", None)
        if error.reason == "dropped":
            self._dropped.add("dropped")
            return None
        if self._opts.strict:
            raise error
        fields = {**KINDS[kind].fields, **COMMON}
        given = {field: arguments.get(name) for field, name in fields.items()}
        told = {field: value for field, value in given.items() if value is not None}
        return self._refuse(error, {"type": kind, **told})

    def _refuse_full(self, encoded: bytes) -> str | None:
        if self._beginning.is_closed:
            return self._refuse(RefusedError("the client is closed", "closed"), encoded)
        size = self._opts.max_internal_queue_size
        return self._refuse(RefusedError(f"{size} events wait in memory already", "buffer_full"), encoded)

    def _refuse(self, error: EventError | RefusedError, event: bytes | dict[str, Any]) -> str | None:
        """Count a refusal, log it, and tell the host. Never raises, returns ``None`` for the event method to return."""
        self._refused.add(error.reason)
        self._throttle.warning(f"refused an event ({error.reason}): %s", error)
        is_told = self._reporter.on_error is not None and not self._reporter.is_reporting
        if is_told and not sys.is_finalizing():
            with contextlib.suppress(Interrupted):
                callbacks = self._beginning.pipe().callbacks
                if callbacks.backlog < _MAX_PENDING_REPORTS:
                    callbacks.submit(_report_refusal, self._reporter, error, event)
        return None

    def _take_pipeline(self, pipeline: Pipeline | None) -> None:
        """Have events go straight into *pipeline*, unless their callers wait until each is stored."""
        if pipeline is None or self._opts.calls_wait:
            self._put = None
        else:
            self._put = self._choose_put(pipeline)

    def _choose_put(self, pipeline: Pipeline) -> Callable[[bytes], bool]:
        """Return what puts an event into the buffer. Without an observer an event pays nothing for there being such."""
        put, observer = pipeline.buffer.put, self._beginning.observer
        if observer is None:
            return put
        return lambda encoded: put(mark(encoded, observer.origin()))


def _make_encoder(max_event_bytes: int, before_send: BeforeSend | None) -> EventEncoder:
    if before_send is None:
        return EventEncoder(max_event_bytes=max_event_bytes)
    with importing:
        from eventspool._events.last_word import LastWordEncoder

    return LastWordEncoder(before_send, max_event_bytes=max_event_bytes)


def waits_in_vain() -> bool:
    """
    Whether nothing comes of waiting here for what our threads do.

    A destructor may have called us on one of them, which must not wait for itself, or while the interpreter is taken down,
    when no thread but the last one runs.
    """
    return is_ours() or sys.is_finalizing()


def _report_refusal(reporter: Reporter, error: EventSpoolError, event: bytes | dict[str, Any]) -> None:
    from eventspool._events.decoding import decode_event

    reporter.report(error, [decode_event(event) if isinstance(event, bytes) else event])
