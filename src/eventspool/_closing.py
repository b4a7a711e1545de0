"""
How a pipeline ends, or all of a process together: first everybody's events are stored, then they are delivered for as long as
there is time, then leases are given back and what is lost is counted.

Storing comes first since it is what a process owes to every event that it accepted, and is quick; delivering is what another
process can do as well. So a data plane that hangs takes no time from a client that has not stored yet.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from typing import TYPE_CHECKING

from eventspool._exceptions import DeliveryError, QueueError
from eventspool._guest.executor import start_apart
from eventspool._guest.log import Log, drain_log
from eventspool._guest.thread import NoThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eventspool._guest.calls import CallQueue
    from eventspool._pipeline import Pipeline
    from eventspool._settling.waiter import Waiter

__all__ = ["Closing"]

_log = Log("eventspool")

_LEAVE_BUDGET = 0.3
"""Seconds of a close that are kept for giving leases back, and that this may take beyond a deadline that is past."""
_STORE_BUDGET = 1.0
"""Seconds that a close may spend on storing, however short its timeout, unless the queue has refused meanwhile."""
_RESCUE_AFTER = 2.0
"""Seconds of a close, at most half of it, after which a commit that hangs is no longer waited for."""
_LOG_BUDGET = 2.0
"""Longest wait, in seconds, for the lines that say what was lost."""
_LATE_BUDGET = 2.0
"""
Longest wait, in seconds, for another thread's close that is late. It stores until its deadline and then says what is lost, so
an exit that waited until that moment only would end the process before.
"""
_POLL = 0.05
"""Seconds after which a close that waits looks whether it is to be quicker."""


class Closing:
    """
    The end of one pipeline, in steps that bear repeating.

    Args:
        pipeline: What ends.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._lock = threading.Lock()
        self._under_way: threading.Event | None = None
        self._began_at = 0.0
        self._deadline = 0.0
        self._refusals = 0
        self._accepted = 0
        self._waiter: Waiter | None = None
        self._is_unattended = False
        self._others = 0.0  # the latest deadline of the calls that only wait for it
        self.is_over = False
        self.lost = 0
        """Events that were lost by it."""

    def run(self, deadline: float, others: Sequence[Closing] = (), *, calls_back: bool = True) -> None:
        """
        Do it all until *deadline* (of the monotonic clock), or wait for the thread that does it already.

        Args:
            deadline: Storing may take a little longer.
            others: What ends at the same time: none delivers before all have stored.
            calls_back: Wait for the callbacks, too. ``False`` where one of them waits for this.
        """
        _close_together([self, *others], deadline, calls_back=calls_back)

    @property
    def callbacks(self) -> CallQueue:
        """The host's callbacks."""
        return self._pipeline.callbacks

    def take(self, deadline: float) -> bool:
        """Return whether the caller has to do it; otherwise another thread does, or has done it."""
        with self._lock:
            if self.is_over:
                return False
            if self._under_way is not None:
                self._others = max(self._others, deadline)
                if self._is_unattended:
                    self._hurry(deadline)
                return False
            self._under_way = threading.Event()
            self._began_at = time.monotonic()
            self._deadline = deadline
            self._is_unattended = False
            return True

    def let_go(self) -> None:
        """Say that the caller has done it, or was cut off: then the next one has it all before it."""
        with self._lock:
            under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.set()

    def leave_unattended(self) -> None:
        """
        Note that the call that began it waits no more, such as after Ctrl-C: another call may shorten it from now on.

        For any thread.
        """
        self._is_unattended = True
        if self._others:
            self._hurry(self._others)

    def _hurry(self, deadline: float) -> None:
        self._deadline = min(self._deadline, deadline)
        if self._waiter is not None:
            self._waiter.cut_short()

    def await_end(self, deadline: float) -> None:
        """Wait for the thread that does it: until *deadline*, and a little beyond where it was to be over by then, too."""
        under_way = self._under_way
        if under_way is None or under_way.wait(max(deadline - time.monotonic(), 0.0)):
            return
        if self._deadline <= deadline:
            under_way.wait(_LATE_BUDGET)

    def _left(self, kept: float = 0.0) -> float:
        return max(self._deadline - time.monotonic() - kept, 0.0)

    # -- the steps -----------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Take no more events, and have those in memory move on. Waits for nothing."""
        pipeline = self._pipeline
        pipeline.buffer.close()
        if not pipeline.is_flushing:
            return
        with contextlib.suppress(NoThread):
            pipeline.start()  # what could not be started before
        if pipeline.handover is not None:
            pipeline.handover.hurry(time.monotonic() + self._left() / 2)
        self._refusals = pipeline.flusher.refusals
        self._accepted = pipeline.buffer.mark()
        pipeline.flusher.leave()
        self._waiter = pipeline.ledger.open_waiter(self._accepted)
        pipeline.hasten(self._accepted)

    def store(self) -> None:
        """Wait until everything is stored: until the deadline, and a little beyond it where the queue has not refused yet."""
        pipeline = self._pipeline
        if self._waiter is None:
            return
        rescued_at = math.inf
        while True:
            now, until = time.monotonic(), self._store_until()
            # Short waits: another call of close() may shorten it, and a put that was under way may have come since.
            is_stored = pipeline.ledger.await_stored(self._accepted, min(max(until - now, 0.0), _POLL))
            if is_stored and not self._take_late_events():
                return
            now = time.monotonic()
            is_refused = pipeline.flusher.refusals > self._refusals and not self._left(0.05)
            if pipeline.engine.spill is None:
                if is_refused or now >= until:
                    return
            elif rescued_at == math.inf:
                half = (until - self._began_at) / 2
                if is_refused or now >= self._began_at + min(half, _RESCUE_AFTER):
                    rescued_at = now
                    self._rescue()
            elif now >= max(until, rescued_at + _STORE_BUDGET / 2):
                return

    def _store_until(self) -> float:
        return max(self._deadline - 0.05, self._began_at + _STORE_BUDGET)

    def _take_late_events(self) -> bool:
        """Count in what was being put when the buffer was closed. Return whether there was such."""
        pipeline = self._pipeline
        accepted = pipeline.buffer.mark()
        if accepted == self._accepted or self._waiter is None:
            return False
        pipeline.ledger.close_waiter(self._waiter)
        self._accepted = accepted
        self._waiter = pipeline.ledger.open_waiter(accepted)
        pipeline.hasten(accepted)
        return True

    def _rescue(self) -> None:
        """The queue keeps the flusher waiting: have another thread put everything into the spill file."""
        rescue = self._pipeline.flusher.rescue
        try:
            start_apart(rescue)
        except NoThread:
            rescue()

    def deliver(self) -> None:
        """Wait until everything is delivered, for as long as there is time."""
        waiter = self._waiter
        if waiter is None:
            return
        if self._pipeline.engine.processor is not None:
            while not waiter.wait(self._left(_LEAVE_BUDGET)) and self._left(_LEAVE_BUDGET):
                pass
        self._pipeline.ledger.close_waiter(waiter)

    def leave(self) -> None:
        """Have the threads end after what they do now."""
        pipeline = self._pipeline
        pipeline.is_leaving = True
        pipeline.flusher.stop()
        if pipeline.engine.spill is not None:
            pipeline.engine.spill.stop(0.0)
        if pipeline.engine.processor is not None:
            pipeline.engine.processor.stop(0.0)

    def give_back(self) -> None:
        """Wait for requests under way, then give the leases back in spite of them."""
        pipeline = self._pipeline
        processor = pipeline.engine.processor
        if not pipeline.is_flushing:
            return
        if pipeline.engine.spill is not None:
            pipeline.engine.spill.stop(min(self._left(), _LEAVE_BUDGET / 3))
        if processor is not None:
            processor.stop(self._left(_LEAVE_BUDGET / 2))
            if processor.in_flight:
                processor.stop(max(self._left(), _LEAVE_BUDGET / 2), at_once=True)

    def account(self) -> None:
        """Say what is lost: to callbacks, to ``on_error`` and to the log."""
        pipeline = self._pipeline
        pipeline.flusher.abandon_buffer()
        self.lost += pipeline.ledger.lose(
            stored_too=not pipeline.engine.backend.durable,
            error=DeliveryError("the process closed before this event was stored or delivered", "lost"),
        )
        pipeline.ledger.release_waiters()
        if self.lost:
            _log.warning(
                "%d events are lost: the client closed before they were stored or delivered", self.lost
            )
            pipeline.settler.tell_lost(self.lost)
        self.is_over = True
        try:
            start_apart(self._release, pipeline.opts.timeout + 1.0)
        except (
            NoThread
        ):  # the interpreter is going down; a thread that is late keeps its connection until then
            self._release(min(self._left(), _LEAVE_BUDGET))

    def _release(self, patience: float) -> None:
        """Close what the threads used, once they have ended: one that is late would connect to the queue anew."""
        pipeline = self._pipeline
        have_ended = pipeline.join(patience)
        pipeline.transport.close()
        if not have_ended:
            return
        with contextlib.suppress(QueueError):
            pipeline.engine.backend.close()
        if pipeline.engine.spill is not None:
            pipeline.engine.spill.close()


def _close_together(closings: Sequence[Closing], deadline: float, *, calls_back: bool) -> None:
    ours = [closing for closing in closings if closing.take(deadline)]
    try:
        for step in (
            Closing.begin,
            Closing.store,
            Closing.deliver,
            Closing.leave,
            Closing.give_back,
            Closing.account,
        ):
            for closing in ours:
                _do(step, closing)
    finally:
        for closing in ours:
            closing.let_go()
    for closing in closings:
        if calls_back:
            closing.await_end(deadline)
            closing.callbacks.drain(max(deadline - time.monotonic(), 0.0))
        closing.callbacks.retire()
    drain_log(_LOG_BUDGET)


def _do(step: Callable[[Closing], None], closing: Closing) -> None:
    try:
        step(closing)
    except Exception as error:  # noqa: BLE001 - the others are to be closed all the same
        _log.error("closing a client met %s", type(error).__name__)
