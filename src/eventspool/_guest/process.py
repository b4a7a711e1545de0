"""
The process that we are in: whether it is still the one that we began in, and what a fork means to us.

A forked child has a copy of everything, and only one of the threads. It has to begin afresh before it uses anything of
ours: ``begin_in_child``. Where Python forks, Python calls that. A server that forks in C (uWSGI does) calls none of
Python's hooks, so each of our functions that a host calls looks first whether this process has begun: ``here[0]``.

Every event pays for that look, so it must cost next to nothing. It reads one byte, in a page of memory that the kernel
gives to each child filled with zeros (``MADV_WIPEONFORK``), however it was forked. That costs a fifth of what it costs to
ask for the process id, which is done where the kernel has no such page (before Linux 4.14, macOS).

No thread of ours holds a lock over a fork. Between our hook and the fork, Python waits for the locks of other libraries, that
of ``logging`` among them, and the holder of such a lock may be calling us. Instead the fork is announced, and a thread that
must not be amid something while the process forks waits for it to pass, for a bounded time.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FORK_PATIENCE",
    "await_forks",
    "before_fork",
    "begin_in_child",
    "here",
    "in_child",
    "is_beginning",
    "is_forking",
    "register",
    "was_forked_past_python",
]

FORK_PATIENCE = 1.0
"""Seconds for which a fork is waited for. One that takes longer waits itself, perhaps for the thread that waits for it."""
_HOOKS_PATIENCE = 30.0
"""Seconds that all calls before a fork together may hold it up. Nothing takes as long but imports that get on slowly."""
_WIPE_ON_FORK = 18
_POLL = 0.001


class _Mark(Protocol):
    def __getitem__(self, at: int, /) -> int:
        """Return 0 in a process that has not begun."""

    def __setitem__(self, at: int, value: int, /) -> None:
        """Note that this process has begun."""


class _ProcessId:
    """The mark for a kernel that wipes no page."""

    def __init__(self) -> None:
        self._begun_in = 0

    def __getitem__(self, at: int) -> int:
        return self._begun_in == os.getpid()

    def __setitem__(self, at: int, value: int) -> None:
        self._begun_in = os.getpid()


def make_mark() -> _Mark:
    """Return a mark that reads 0 in each process in which it was not set."""
    if hasattr(mmap, "MAP_PRIVATE") and hasattr(mmap.mmap, "madvise"):
        with contextlib.suppress(OSError, ValueError):
            page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            page.madvise(_WIPE_ON_FORK)
            return page
    return _ProcessId()


here = make_mark()
"""``here[0]`` is 0 in a forked child that has not begun afresh: then ``begin_in_child`` is to be called."""
here[0] = 1


class _Inheritor(Protocol):
    def begin_in_child(self) -> None:
        """Leave what is the parent's to the parent."""


_inheritors: weakref.WeakValueDictionary[int, _Inheritor] = weakref.WeakValueDictionary()
_calls: list[Callable[[], object]] = []


def register(inheritor: _Inheritor) -> None:
    """Have *inheritor* begin afresh in every child, for as long as *inheritor* lives."""
    _inheritors[id(inheritor)] = inheritor


def in_child(call: Callable[[], object]) -> None:
    """Have *call* called in every child, before the registered inheritors begin afresh."""
    _calls.append(call)


class _Beginning:
    """What is left to do in one child. Each step is done once, whichever thread comes first, and whatever interrupts it."""

    def __init__(self) -> None:
        # A list of references is taken in one step, so that no other thread changes the dictionary meanwhile.
        inheritors = [inheritor for ref in _inheritors.valuerefs() if (inheritor := ref()) is not None]
        self._left: deque[Callable[[], object]] = deque(
            [*_calls, *(inheritor.begin_in_child for inheritor in inheritors)]
        )
        self._lock = threading.RLock()  # a signal handler may interrupt its holder, and then does the rest

    def finish(self) -> None:
        with self._lock:
            me = threading.get_ident()
            try:
                _beginning.add(me)
                self._finish()
            finally:
                _beginning.discard(me)

    def _finish(self) -> None:
        while not here[0]:
            try:
                call = self._left.popleft()
            except IndexError:
                here[0] = 1
                return
            try:
                call()
            except BaseException:  # such as a time limit of the host's: the next caller does this step
                self._left.appendleft(call)
                raise


_beginning: set[int] = set()
"""The threads that are amid a beginning: what they call for it must not begin once more."""
_beginnings: dict[int, _Beginning] = {}
"""By process id. One lock for all would not do: a child may inherit it, locked by a thread that the child lacks."""
_past_python = False


def begin_in_child(*, told: bool = False) -> None:
    """Leave events, threads and connections to the parent. *told*: Python calls this, and has run its own hooks."""
    global _past_python  # noqa: PLW0603 - there is one process
    if not told:
        _past_python = True
    _beginnings.setdefault(os.getpid(), _Beginning()).finish()
    _beginnings.clear()  # the system gives process ids out again


def is_beginning() -> bool:
    """Whether this thread is amid the beginning of a child."""
    return threading.get_ident() in _beginning


def was_forked_past_python() -> bool:
    """Whether this process, or an ancestor, was forked without Python's hooks, on which libraries rely."""
    return _past_python


# -- the fork itself -----------------------------------------------------------------------------------------------------

_forking: dict[int, float] = {}
"""The threads that fork, and the moment until which each is waited for."""
_before: list[Callable[[float], object]] = []


def before_fork(call: Callable[[float], object], *, first: bool = False) -> None:
    """
    Have ``call(deadline)`` called before each fork. It must return by then (``time.monotonic``), and hold no lock after.

    *first*: Before all others. Imports are waited for like that, since a thread that is to end may be amid one.
    """
    _before.insert(0 if first else len(_before), call)


def is_forking() -> bool:
    """Whether another thread forks, and is worth waiting for. What was begun before this is called is seen by that thread."""
    me, now = threading.get_ident(), time.monotonic()
    return any(thread != me and now < until for thread, until in list(_forking.items()))


def await_forks() -> bool:
    """Wait until no other thread forks. Return False where forks follow each other without a pause."""
    deadline = time.monotonic() + _HOOKS_PATIENCE + FORK_PATIENCE
    while is_forking():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL)
    return True


def _await_logging() -> None:
    """
    Wait until no other thread holds the lock of ``logging``, as Python itself will.

    Its holder may be making a handler that uses a client. The fork is not announced yet, so the holder does not wait for it.
    """
    lock = getattr(logging, "_lock", None)
    if lock is not None:
        with lock:
            pass


def _before_fork() -> None:
    _await_logging()
    me, deadline = threading.get_ident(), time.monotonic() + _HOOKS_PATIENCE
    _forking[me] = deadline + FORK_PATIENCE  # first: a thread that begins something from now on sees the fork
    for call in _before:
        call(deadline)
    _forking[me] = time.monotonic() + FORK_PATIENCE


def _after_fork() -> None:
    _forking.pop(threading.get_ident(), None)


in_child(_forking.clear)
# Registered at import, long before there is anything to protect: a hook that is added while a fork begins is not called.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=lambda: begin_in_child(told=True)
    )
