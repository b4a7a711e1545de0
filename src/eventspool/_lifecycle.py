"""What happens to a process happens to all of its clients: fork, exit, SIGTERM."""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
import weakref
from typing import TYPE_CHECKING, Protocol

from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["close_on_sigterm", "register"]


class _Closable(Protocol):
    @property
    def is_open(self) -> bool:
        """Whether there is anything to close."""

    def close(self, timeout: float) -> None:
        """Close within *timeout* seconds."""

    def begin_in_child(self) -> None:
        """Start afresh in a forked child."""


_clients: weakref.WeakSet[_Closable] = weakref.WeakSet()


def register(client: _Closable) -> None:
    """Have *client* begin afresh in forked children, and be closed when the process exits."""
    _clients.add(client)


def _after_fork_in_child() -> None:
    for client in list(_clients):
        client.begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


@atexit.register
def _close_all(budget: float = 5.0) -> None:
    """Close every client that was left open; together they take no more than *budget* seconds."""
    deadline = time.monotonic() + budget
    for client in list(_clients):
        if client.is_open:
            client.close(max(deadline - time.monotonic(), 0.1))


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

    def on_sigterm(signum: int, frame: FrameType | None) -> None:
        # On a thread of its own: the main thread may hold a lock that closing needs.
        closer = threading.Thread(target=_close_all, name="eventspool-sigterm", daemon=True)
        closer.start()
        closer.join(6.0)
        if callable(previous):
            previous(signum, frame)
        elif previous is not signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)

    on_sigterm.is_eventspool = True  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, on_sigterm)
