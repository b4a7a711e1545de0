"""What happens to a process happens to all of its clients: fork, exit, SIGTERM."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Protocol

from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from types import FrameType

__all__ = [
    "close_on_sigterm",
    "explain_no_thread",
    "importing",
    "is_ending",
    "is_exiting",
    "keep",
    "register",
    "release",
]

_log = logging.getLogger("eventspool")


class _Closable(Protocol):
    def close(self, timeout: float) -> None:
        """Close within *timeout* seconds."""

    def begin_in_child(self) -> None:
        """Start afresh in a forked child."""


_clients: weakref.WeakSet[_Closable] = weakref.WeakSet()
_open: set[_Closable] = set()
"""Clients that may hold events: they are kept until they are closed, whether or not the host still holds them."""
_exiting = False
importing = threading.RLock()
"""Held while we import on first use, and by every fork: a child forked in the midst of an import waits for ever for the
module's lock, whose holder it does not have."""


def register(client: _Closable) -> None:
    """Have *client* begin afresh in forked children, and be closed when the process exits."""
    _clients.add(client)


def keep(client: _Closable) -> None:
    """Keep *client* alive, so that it is closed when the process exits even if the host has dropped it."""
    _open.add(client)
    _close_with_multiprocessing()
    _close_with_celery()


def release(client: _Closable) -> None:
    """Take *client* as closed."""
    _open.discard(client)


def is_exiting() -> bool:
    """Whether the process is past the point where a new client would still be closed."""
    return _exiting


def is_ending() -> bool:
    """Whether the interpreter is exiting. Python 3.12 starts no thread from its main thread's end on."""
    return _exiting or not threading.main_thread().is_alive()


def explain_no_thread() -> str:
    """Say why a thread could not be started: for good, or for now."""
    return "no thread can be started" + (": the interpreter is exiting" if is_ending() else " now")


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client.begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
    os.register_at_fork(
        before=importing.acquire, after_in_parent=importing.release, after_in_child=importing.release
    )


def _close_all(budget: float = 5.0) -> None:
    """Close every client that was left open; together they take no more than *budget* seconds."""
    deadline = time.monotonic() + budget
    for client in list(_clients):
        try:
            client.close(max(deadline - time.monotonic(), 0.1))
        except Exception as error:  # noqa: BLE001 - the others are to be closed all the same
            _log.error("closing a client met %s", type(error).__name__)


@atexit.register
def _exit() -> None:
    global _exiting  # noqa: PLW0603 - there is one process, and it exits once
    _exiting = True
    _close_all()


_registered_in = 0


def _close_with_multiprocessing() -> None:
    """Register with ``multiprocessing`` in its children: before Python 3.13 a forked one runs no exit handlers."""
    global _registered_in  # noqa: PLW0603 - once per process
    util = sys.modules.get("multiprocessing.util")
    process = sys.modules.get("multiprocessing.process")
    if util is None or process is None or process.parent_process() is None or _registered_in == os.getpid():
        return
    _registered_in = os.getpid()
    util.Finalize(None, _close_all, exitpriority=100)


_known_to_celery = False


def _close_with_celery() -> None:
    """Have Celery tell us when a process of its prefork pool ends: no exit handler runs in there."""
    global _known_to_celery  # noqa: PLW0603 - once per program
    ended = getattr(sys.modules.get("celery.signals"), "worker_process_shutdown", None)
    if ended is not None and not _known_to_celery:
        _known_to_celery = True
        ended.connect(_on_celery_worker_end, weak=False, dispatch_uid="eventspool")


def _on_celery_worker_end(**_: object) -> None:
    _close_all()


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
            _close_all()
        finally:
            closed = True
            os.kill(os.getpid(), signal.SIGTERM)

    def on_sigterm(signum: int, frame: FrameType | None) -> None:
        # Never waits in here: the main thread may hold a lock that closing needs, and can let go of it only once we
        # have returned. So a thread closes, then sends the signal again for what would have been done without us.
        nonlocal closing
        if _exiting:
            return
        if not closing:
            closing = True
            threading.Thread(target=close_and_signal_again, name="eventspool-sigterm", daemon=True).start()
        elif not closed:
            return
        elif callable(previous):
            previous(signum, frame)
        elif previous is not signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    on_sigterm.is_eventspool = True  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, on_sigterm)
