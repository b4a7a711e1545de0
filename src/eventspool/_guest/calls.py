"""
Calls of the host's (callbacks, log handlers), which run on a thread of their own.

They are foreign code: slow, raising, or calling us again. So they run neither on the caller's thread nor on one that moves
events.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import operator
import queue
import threading
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from eventspool._guest.executor import carry_out
from eventspool._guest.loop import Loop
from eventspool._guest.thread import NoThread, is_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["CallQueue"]

_IDLE = 2.0
"""Seconds without a call after which the thread ends."""
_CHECK = 1.0
"""Longest wait, in seconds, for a call that is to run later."""


@dataclass(order=True, slots=True)
class _Timed:
    moment: float
    number: int
    call: Callable[[], object] = field(compare=False)
    is_cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.is_cancelled = True


class CallQueue:
    """
    Runs calls one after another, in order, each once. Its thread is there while there are calls, and some seconds longer.

    Args:
        name: Of the thread.
        on_failure: Told of what a call raises.
        on_result: Told of what a call returns.
    """

    def __init__(
        self,
        name: str,
        on_failure: Callable[[BaseException], object],
        on_result: Callable[[object], object] = lambda _: None,
    ) -> None:
        self._name = name
        self._on_failure = on_failure
        self._on_result = on_result
        self._calls: queue.SimpleQueue[Iterable[Callable[[], object]]] = queue.SimpleQueue()
        self._kind = queue.SimpleQueue
        self.put = self._calls.put
        """Have these calls run soon: all of them or, should an exception come before, none. ``tend`` starts the thread."""
        self._current: deque[Callable[[], object]] = deque()
        self._later: list[_Timed] = []
        self._numbers = itertools.count()
        self._idle = _IDLE
        self._lock = threading.RLock()  # a destructor may interrupt its holder
        self._loop: Loop | None = None
        self._is_beginning = False

    def submit(self, call: Callable[..., object], *args: Any) -> None:
        """Run ``call(*args)`` soon."""
        self.put((partial(operator.call, call, *args),))  # `call` may be no function
        self.tend()

    def submit_at(self, moment: float, call: Callable[..., object], *args: Any) -> Callable[[], None]:
        """Run ``call(*args)`` at *moment* (of the monotonic clock), or soon after. Return what cancels that."""
        timed = _Timed(moment, next(self._numbers), partial(operator.call, call, *args))
        self.submit(heapq.heappush, self._later, timed)
        return timed.cancel

    def tend(self) -> None:
        """Have a thread run the calls that wait. Where no thread is to be had, ``drain`` runs them on its caller's."""
        loop = self._loop
        # Only a thread of ours looks whether it is alive: an exception of the host's amid that would end it for Python.
        if self.backlog and (loop is None or (is_ours() and not loop.is_alive)):
            with contextlib.suppress(NoThread):
                carry_out(self._begin)

    def _begin(self) -> None:
        with self._lock:
            loop = self._loop
            if self._is_beginning or not self.backlog or (loop is not None and loop.is_alive):
                return
            self._is_beginning = True  # a destructor may interrupt the start, and come here again
            try:
                self._loop = Loop(self._name, self, ours=False, on_failure=self._on_failure)
                self._loop.start()  # known before it runs: what it calls may ask whether this is its thread
            except BaseException:
                self._loop = None
                raise
            finally:
                self._is_beginning = False

    @property
    def is_outdated(self) -> bool:
        """Whether gevent has replaced threads since it was made: a green thread that waited here would halt all others."""
        return self._kind is not queue.SimpleQueue

    @property
    def backlog(self) -> int:
        """Calls that wait."""
        return self._calls.qsize() + len(self._current)

    @property
    def is_current(self) -> bool:
        """Whether this is the thread that runs the calls."""
        loop = self._loop
        return loop is not None and loop.is_current

    def drain(self, timeout: float) -> bool:
        """Wait until everything submitted before has run, at most *timeout* seconds. Return whether it has."""
        if self.is_current:
            return False
        self.tend()
        if self._loop is None:
            while self.backlog:
                self.wait(0.0)
                self._run_next()
            return True
        drained: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.submit(drained.put, None)
        try:
            drained.get(timeout=max(timeout, 0.001))
        except queue.Empty:
            return False
        return True

    def retire(self, patience: float = 0.0) -> None:
        """
        Let the thread end as soon as there is nothing to do, and forget what is to be done later.

        Args:
            patience: Longest wait for its end, in seconds.
        """
        self._idle = 0.0
        self._later.clear()
        loop = self._loop
        if loop is not None:
            self.submit(self.tend)
            loop.join(patience)

    # -- what its loop repeats -----------------------------------------------------------------------------------------

    def patience(self, now: float) -> float:
        """Return how many seconds the thread may wait for a call: it ends where none has come by then."""
        if self._current:
            return 0.0
        return min(max(self._later[0].moment - now, 0.0), _CHECK) if self._later else self._idle

    def wait(self, patience: float | None) -> None:
        """Wait for calls, and keep them for the turn."""
        if not self._current:
            with contextlib.suppress(queue.Empty):
                self._current.extend(
                    self._calls.get(timeout=patience) if patience else self._calls.get_nowait()
                )

    def turn(self, now: float) -> bool:
        """Run the next call. Return whether the thread is to go on."""
        while self._later and self._later[0].is_cancelled:
            heapq.heappop(self._later)
        if self._later and self._later[0].moment <= now:
            self._current.append(heapq.heappop(self._later).call)
        if self._current or self._later:
            self._run_next()
            return True
        # First the loop is forgotten, then the backlog is looked at: a thread that puts a call and still finds the loop is
        # seen here. The lock is not held in between: a destructor may put a call there, and has another thread started.
        with self._lock:
            loop, self._loop = self._loop, None
        if self.backlog:
            with self._lock:
                if self._loop is None:
                    self._loop = loop
                    return True
        return False

    def _run_next(self) -> None:
        if not self._current:
            return
        try:
            # One line, so that a call is either still there or has begun.
            self._on_result(self._current.popleft()())
        except BaseException as error:  # noqa: BLE001 - sys.exit() and a cancellation, too, must not end the thread
            self._on_failure(error)
