"""
A thread of ours in a process that belongs to the host. The rules of a guest, stated once:

- An exception of the host's (a time limit, Ctrl-C) may come at any line of a thread of the host's. So such a thread runs no
  critical section of ours: it hands the work to a thread of ours (``executor.carry_out``) and waits. The exception ends the
  wait, and the work is done all the same.
- A thread of ours survives whatever a turn raises, such as a ``MemoryError``: it takes the turn again. Should the thread end
  all the same, another thread of ours starts it again (``loop.Loop.start``).
- The operating system, the end of the interpreter or a subinterpreter may refuse a thread (``NoThread``). Then the thread that
  asked does the work itself, or tries again later.
- No thread of ours waits for itself: work that it hands over runs on it at once.
- A forked child has none of its parent's threads: it makes its own.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from eventspool._guest.process import in_child

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NoThread", "do_as_ours", "is_ending", "is_ours", "make_thread", "start_thread"]

T = TypeVar("T")


class NoThread(Exception):  # noqa: N818 - it says what is the case
    """No thread can be started now, or ever again."""

    def __init__(self) -> None:
        super().__init__(
            "no thread can be started" + (": the interpreter is exiting" if is_ending() else " now")
        )


_ours: set[int] = set()
"""
The numbers of the threads that move events. Something that belongs to a thread would not do: gevent may replace threads by
green ones after we were imported, and all green threads would share it.
"""
_process = [object()]
"""Stands for this process. A child that is forked past Python keeps the parent's threads in ``threading``'s list."""


class _OurThread(threading.Thread):
    """A thread that moves events: known as such before it has put its number into ``_ours``."""

    def __init__(self, run: Callable[[], object], name: str) -> None:
        super().__init__(target=run, name=name, daemon=True)
        self.process = _process[0]


def _forget_threads() -> None:
    """In a forked child: no thread is ours yet, not even the one that forked."""
    _process[0] = object()
    _ours.clear()


in_child(_forget_threads)


def is_ours() -> bool:
    """Whether this thread moves events: it must not wait for what it does itself."""
    if threading.get_ident() in _ours:
        return True
    thread = threading.current_thread()
    return type(thread) is _OurThread and thread.process is _process[0]


def is_ending() -> bool:
    """Whether the interpreter is exiting. From the end of its main thread on, Python 3.12 starts no thread."""
    return not threading.main_thread().is_alive()


def make_thread(
    run: Callable[[], object],
    name: str,
    *,
    ours: bool = True,
    is_over: Callable[[], bool] = lambda: True,
) -> threading.Thread:
    """
    Return a thread that calls *run*.

    Args:
        run: What the thread does. It is called again where it raised and *is_over* says no.
        name: Of the thread, behind ``eventspool-``.
        ours: Whether the thread moves events; ``False`` where it runs code of the host's.
        is_over: Whether the thread may end although *run* raised.

    Raises:
        NoThread: An isolated subinterpreter allows no daemon threads.
    """

    def run_as_such() -> None:
        me = threading.get_ident()
        if ours:
            _ours.add(me)
        try:
            while True:
                try:
                    run()
                except BaseException:
                    if is_over():
                        raise
                else:
                    break
        finally:
            _ours.discard(me)
        while (
            threading.get_ident() != me
        ):  # gevent has replaced threads: Python would complain if this one ended
            time.sleep(3600.0)

    try:
        if ours:
            return _OurThread(run_as_such, f"eventspool-{name}")
        return threading.Thread(target=run_as_such, name=f"eventspool-{name}", daemon=True)
    except RuntimeError:
        raise NoThread from None


def start_thread(thread: threading.Thread) -> None:
    """Start *thread*. Raises ``NoThread``."""
    if sys.is_finalizing():  # the thread would never run, and Python would wait for it to begin
        raise NoThread
    handled = sys.exception()
    try:
        thread.start()
    except (RuntimeError, KeyError) as error:
        if error.__context__ not in (None, handled):
            # A signal handler raised this context, and Python's own way of starting a thread has masked it.
            raise error.__context__ from None
        if isinstance(error, KeyError):
            raise
        raise NoThread from None


def do_as_ours(work: Callable[[], T]) -> T:
    """Return ``work()``, done on this very thread as on one of ours: what *work* hands over runs here as well."""
    me = threading.get_ident()
    try:
        _ours.add(me)
        return work()
    finally:
        _ours.discard(me)
