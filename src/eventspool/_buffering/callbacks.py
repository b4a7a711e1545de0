"""
The thread that runs the host's callbacks.

Callbacks are foreign code: they may be slow, raise, or call us again. So they run neither on the caller's
thread nor on one that delivers. The thread starts with the first callback; a client without callbacks never
has it.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CallbackThread"]

_log = logging.getLogger("eventspool")


class CallbackThread:
    """Runs submitted calls one after another, in order. A call that raises is logged by its type and harms nothing."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]]] = queue.SimpleQueue()
        self._lock = threading.RLock()  # a signal handler may interrupt its holder
        self._thread: threading.Thread | None = None

    def submit(self, call: Callable[..., Any], *args: Any) -> None:
        """Run ``call(*args)`` soon."""
        self._calls.put((call, args))
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._start()

    def _start(self) -> None:
        # Known before it runs: a call, or a signal handler that interrupts us, may look for it.
        self._thread = threading.Thread(target=self._run, name="eventspool-callbacks", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is going down: `drain` runs the calls where it stands
            self._thread = None

    @property
    def backlog(self) -> int:
        """Calls that wait."""
        return self._calls.qsize()

    @property
    def is_current(self) -> bool:
        """Whether this is the thread that runs the calls."""
        return self._thread is threading.current_thread()

    def drain(self, timeout: float) -> None:
        """Wait until everything submitted before has run, at most *timeout* seconds."""
        if self._thread is None:
            while not self._calls.empty():
                self._call(self._calls.get_nowait())
            return
        if self.is_current:
            return
        drained = threading.Event()
        self._calls.put((drained.set, ()))
        drained.wait(max(timeout, 0.0))

    def _run(self) -> None:
        while True:
            self._call(self._calls.get())

    @staticmethod
    def _call(entry: tuple[Callable[..., Any], tuple[Any, ...]]) -> None:
        call, args = entry
        try:
            call(*args)
        except BaseException as error:  # noqa: BLE001 - sys.exit() and a cancellation, too, must not end the thread
            # By its type alone: the text may hold a payload.
            _log.warning("a callback raised %s", type(error).__name__)
