"""What happens to a process happens to all of its clients: a fork, the exit, SIGTERM, and that it goes on for a second."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Protocol, Self

from eventspool._exceptions import ConfigError
from eventspool._guest.calls import CallQueue
from eventspool._guest.executor import carry_out, start_apart
from eventspool._guest.log import Log
from eventspool._guest.process import before_fork, in_child
from eventspool._guest.process import register as register_in_process
from eventspool._guest.thread import NoThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

__all__ = [
    "Guest",
    "begin_later",
    "call_soon",
    "close_all",
    "close_on_sigterm",
    "is_exiting",
    "keep",
    "register",
    "release",
]

_log = Log("eventspool")

_FORK_BUDGET = 0.1
"""Longest, in seconds, that a fork waits for the thread that starts clients."""
_EXIT_BUDGET = 5.0
"""Seconds that all clients together have for their end."""
_BEGIN_AFTER = 1.0
"""Seconds after which a client that was only made delivers what its queue holds. A shorter command never does."""
_PATCH_PATIENCE = 10.0
"""Seconds for which a program that has imported gevent is expected to let it replace threads."""


class _Closing(Protocol):
    def run(self, deadline: float, others: Sequence[Self]) -> object:
        """Close until *deadline*, together with *others*."""

    def leave_unattended(self) -> None:
        """Note that the thread which began it waits no more."""


class Guest(Protocol):
    """A client, as far as what happens to its process concerns it."""

    def end(self) -> _Closing | None:
        """Take no more events. Return what is left to do; ``None`` where nothing is."""

    def begin_unasked(self) -> None:
        """Deliver what the queue holds, although no event was tracked yet."""

    def begin_in_child(self) -> None:
        """Start afresh in a forked child."""

    def stand_down(self) -> None:
        """In the parent of a fork: leave to the children what this process was not asked to do."""


_clients: weakref.WeakSet[Guest] = weakref.WeakSet()
_open: set[Guest] = set()
"""Clients that may hold events. They are kept here until they are closed, even if the host has dropped them."""
_exiting = False


def register(client: Guest) -> None:
    """Have *client* begin afresh in forked children, and be closed when the process exits."""
    register_in_process(client)
    _clients.add(client)


def keep(client: Guest) -> None:
    """Keep *client* alive, so that it is closed when the process exits even if the host has dropped it."""
    _open.add(client)
    _close_with_multiprocessing()


def release(client: Guest) -> None:
    """Note that *client* is closed."""
    _open.discard(client)


def is_exiting() -> bool:
    """Whether the process is past the point where a new client would still be closed."""
    return _exiting


def _starting_failed(error: BaseException) -> None:
    _log.error("starting a client met %s", type(error).__name__)


_starts = CallQueue("start", _starting_failed)


def call_soon(call: Callable[..., object], *args: object) -> None:
    """Have ``call(*args)`` called by a thread of ours, where there is no client yet whose thread could."""
    _starts.submit(call, *args)


def begin_later(client: Guest) -> None:
    """
    Have *client* deliver what its queue holds in a second, should the host still hold it then.

    A start amid which gevent replaces threads never ends: half of the client's threads would be green ones that wait for the
    other half without letting it go on, and with them every green thread of the host. So a program that has imported gevent is
    given time to replace threads, and where it has done so the first event begins.
    """
    made = weakref.ref(client)
    if _starts.is_outdated:
        _forget_starts()
    starts, latest = _starts, time.monotonic() + _PATCH_PATIENCE

    def begin() -> None:
        client = made()
        if client is None or _exiting or starts.is_outdated:
            return
        if "gevent" in sys.modules and time.monotonic() < latest:
            starts.submit_at(time.monotonic() + _BEGIN_AFTER, begin)
        else:
            client.begin_unasked()

    with contextlib.suppress(NoThread):  # the first event begins
        starts.submit_at(time.monotonic() + _BEGIN_AFTER, begin)


def _forget_starts() -> None:
    global _starts  # noqa: PLW0603 - the old one's thread is the parent's, or one from before gevent replaced threads
    _starts = CallQueue("start", _starting_failed)


def _after_fork_in_parent() -> None:
    for client in list(_clients):
        client.stand_down()


def _retire_starts(_: float) -> None:
    """Before a fork: a parent that has tracked nothing leaves the queue to its children."""
    _starts.retire(_FORK_BUDGET)
    _forget_starts()


in_child(_forget_starts)
before_fork(_retire_starts)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_parent=_after_fork_in_parent)


def close_all() -> None:
    """Close every client that was left open; together they take little more than five seconds."""
    deadline = time.monotonic() + _EXIT_BUDGET
    closings = [closing for client in list(_clients) if (closing := client.end()) is not None]
    if closings:
        for closing in closings:
            closing.leave_unattended()  # a close that is under way must not take longer than the process has
        carry_out(closings[0].run, deadline, closings[1:])


@atexit.register
def _exit() -> None:
    global _exiting  # noqa: PLW0603 - there is one process, and it exits once
    _exiting = True
    close_all()


_registered_in = 0


def _close_with_multiprocessing() -> None:
    """Register with ``multiprocessing`` in its children: before Python 3.13 a forked one runs no exit handlers."""
    global _registered_in  # noqa: PLW0603 - once per process
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is None or process is None or process.parent_process() is None or _registered_in == os.getpid():
        return
    _registered_in = os.getpid()
    util.Finalize(None, close_all, exitpriority=100)


def close_on_sigterm() -> None:
    """
    Close all clients on SIGTERM, then do what would have been done without us.

    Raises:
        ConfigError: Called off the main thread, where Python allows no signal handler.
    """
    if threading.current_thread() is not threading.main_thread():
        raise ConfigError("handle_sigterm needs the client to be made on the main thread")
    previous = signal.getsignal(signal.SIGTERM)
    if getattr(previous, "is_eventspool", False):
        return

    closing = closed = False

    def close_and_signal_again() -> None:
        nonlocal closed
        try:
            close_all()
        finally:
            closed = True
            os.kill(os.getpid(), signal.SIGTERM)

    def on_sigterm(signum: int, frame: FrameType | None) -> None:
        # This must not wait: the main thread, which it interrupts, may hold a lock that closing needs. So another thread
        # closes, and then sends the signal again, to have done what would have been done without us.
        nonlocal closing, closed
        if _exiting:
            return
        if not closing:
            closing = True
            try:
                start_apart(close_and_signal_again)
            except NoThread:
                closed = True
                os.kill(os.getpid(), signal.SIGTERM)
        elif not closed:
            return
        elif callable(previous):
            previous(signum, frame)
        elif previous is not signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    on_sigterm.is_eventspool = True  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, on_sigterm)
