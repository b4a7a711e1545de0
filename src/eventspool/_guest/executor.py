"""
Threads of ours that do what a thread of the host's asks for, while that one waits in a single call of C.

They are as many as there are calls at once, and end some seconds after the last call. ``concurrent.futures`` would not do: the
exit of the interpreter waits for its threads, and none of them is there after a fork.
"""

from __future__ import annotations

import _thread
import contextlib
import queue
import sys
import time
import weakref
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from eventspool._guest.process import before_fork, begin_in_child, here, in_child, is_beginning
from eventspool._guest.thread import NoThread, do_as_ours, is_ours, make_thread, start_thread

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

__all__ = ["carry_out", "start_apart"]

P = ParamSpec("P")
T = TypeVar("T")

_IDLE = 2.0
"""Seconds without work after which a thread ends."""
_FORK_BUDGET = 0.1
"""Longest, in seconds, that a fork waits for threads that have nothing to do."""
_CHECK = 1.0
"""Seconds after which a thread that waits for a reply looks whether another thread works on it."""
_PICK_UP = 0.02
"""Seconds that an idle thread may take to begin a call before another one is started."""


class _Call(Generic[T]):
    """Work for which a thread of the host's waits."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._reply: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
        self._open: deque[None] = deque([None])  # the thread that takes this out does the work
        self.is_declined = False

    @property
    def is_open(self) -> bool:
        """No thread has begun it."""
        return bool(self._open)

    def take(self) -> bool:
        """Return whether the work is the caller's to do: no thread has begun it, and no other one will."""
        with contextlib.suppress(IndexError):
            self._open.pop()
            return True
        return False

    def run(self) -> None:
        if self.take():
            self._reply.put((self._work(), None))

    def fail(self, error: BaseException) -> None:
        self._reply.put((None, error))

    def decline(self) -> None:
        """Leave the work to the thread that waits for it, where no other one has begun it."""
        if self.take():
            self.is_declined = True
            self._reply.put((None, None))

    def await_reply(self, timeout: float) -> tuple[T | None, BaseException | None] | None:
        """Return what the work returned and what it raised; ``None`` where that is not known after *timeout* seconds."""
        with contextlib.suppress(queue.Empty):
            return self._reply.get(timeout=timeout)
        return None


class _Executor:
    """
    The threads of one process that run calls.

    How many of them are idle is only a guess: a call that no thread has begun after a moment gets a thread of its own.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Call[Any] | None] = queue.SimpleQueue()
        self.kind = queue.SimpleQueue
        self.is_the_parents = False
        self._idle: deque[None] = deque()  # one entry for each thread that waits for a call
        self._threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()

    def submit(self, call: _Call[Any]) -> float:
        """Offer *call* to the idle threads. Return how many seconds one of them may take to begin it."""
        self._calls.put(call)
        return _PICK_UP if self._calls.qsize() <= len(self._idle) else 0.0

    def attend(self, call: _Call[Any]) -> bool:
        """
        See to it that a thread works on *call*: perhaps none was idle, or the idle one has ended.

        Starting a thread takes Python many steps, and an exception of the host's must not come amid them. So a bare thread
        starts it: a bare one is there after one call of C.

        Returns:
            ``False`` where the work is the caller's to do: no thread is to be had, or this is a child, forked by a signal
            handler while the caller waited, and the parent has the thread.
        """
        if self.is_the_parents:
            return False
        if not call.is_open:
            return True
        if sys.is_finalizing():  # no thread but this one runs any more
            return not call.take()
        try:
            _thread.start_new_thread(self._start_worker, (call,))
        except RuntimeError:
            return not call.take()
        return True

    def _start_worker(self, call: _Call[Any]) -> None:
        try:
            self._start(make_thread(partial(self._work, call), "executor"))
        except BaseException:  # noqa: BLE001 - whatever it is, the caller must not wait for ever
            call.decline()

    def start_apart(self, work: Callable[[], object]) -> None:
        """Have *work* done by a thread of its own. Raises ``NoThread``."""

        def do_quietly() -> None:
            with contextlib.suppress(BaseException):  # no caller waits who could be told
                work()

        thread = make_thread(do_quietly, "executor")
        if is_ours() or sys.is_finalizing():
            self._start(thread)
            return
        try:
            _thread.start_new_thread(self._start_or_do, (thread, do_quietly))
        except RuntimeError:
            raise NoThread from None

    def _start_or_do(self, thread: threading.Thread, work: Callable[[], object]) -> None:
        try:
            self._start(thread)
        except BaseException:  # noqa: BLE001 - then this bare thread does the work
            do_as_ours(work)

    def _start(self, thread: threading.Thread) -> None:
        self._threads.add(thread)
        start_thread(thread)

    def end_idle(self, deadline: float) -> None:
        """End the threads that wait for a call, and wait until *deadline* for their end."""
        idle = len(self._idle)
        most = self._count_alive() - idle
        for _ in range(idle):
            self._calls.put(None)
        while self._count_alive() > most and time.monotonic() < deadline:
            time.sleep(0.001)

    def _count_alive(self) -> int:
        return sum(thread.is_alive() for thread in list(self._threads))

    def _work(self, call: _Call[Any] | None) -> None:
        """Run *call*, for which this thread was started, unless another one has begun it; then those that come."""
        while call is not None:
            try:
                call.run()
            except BaseException as error:  # noqa: BLE001 - it belongs to the thread that waits
                call.fail(error)
                del error
            call = self._next_call()

    def _next_call(self) -> _Call[Any] | None:
        """Return the next call; ``None`` where this thread is to end."""
        self._idle.append(None)
        try:
            return self._calls.get(timeout=_IDLE)
        except queue.Empty:
            return None
        finally:
            self._idle.pop()


_executor = _Executor()


def _current_executor() -> _Executor:
    """Return this process's executor: a new one once gevent has replaced threads, which a wait in the old one halts."""
    global _executor  # noqa: PLW0603 - one per process
    if not here[0] and not is_beginning():
        begin_in_child()
    if _executor.kind is not queue.SimpleQueue:
        _executor = _Executor()
    return _executor


def _forget_threads() -> None:
    """In a forked child, whose parent has the threads: begin with none."""
    global _executor  # noqa: PLW0603 - one per process
    _executor.is_the_parents = True
    _executor = _Executor()


def _end_idle_threads(deadline: float) -> None:
    """Before a fork, end the idle threads: green ones (gevent's) would go on in the child."""
    _executor.end_idle(min(deadline, time.monotonic() + _FORK_BUDGET))


in_child(_forget_threads)
before_fork(_end_idle_threads)


def carry_out(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Return ``work(*args)``, done by a thread of ours; what it raises is raised here.

    This very thread does it where it is ours, or where no other thread is to be had.
    """
    if is_ours():
        return work(*args, **kwargs)
    call, executor = _Call(partial(work, *args, **kwargs)), _current_executor()
    patience = executor.submit(call)
    while True:
        reply = call.await_reply(patience) if patience else None
        if call.is_declined:
            break
        if reply is not None:
            result, error = reply
            if error is not None:
                raise error
            return result  # type: ignore[return-value]
        if not executor.attend(call):
            break
        patience = _CHECK
    return do_as_ours(partial(work, *args, **kwargs))


def start_apart(work: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """
    Have ``work(*args)`` done by a thread of ours, and do not wait.

    Raises:
        NoThread: No thread is to be had.
    """
    _current_executor().start_apart(partial(work, *args, **kwargs))
