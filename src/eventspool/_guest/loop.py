"""
What drives everything that repeats: one thread, which takes one turn after another.

What repeats is a plain object that knows no thread (``Repeated``). So a test or a simulation can have it take turns without
one, in a time of its own. ``Loop`` holds the rules of a guest (see ``thread``): its thread is known before it runs, may fail
to start and be started again, never waits for itself, and takes a turn again that has failed. A forked child makes its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Protocol

from eventspool._guest.thread import NoThread, make_thread, start_thread

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Loop", "Repeated"]

_PAUSE = 0.25
"""Seconds between a turn that failed and the next: a fault that stays must not take a whole processor."""


class Repeated(Protocol):
    """
    What a loop repeats: it asks for the patience, waits, and takes a turn.

    Each of the three must bear to be cut off at any line, and called again. Moments are those of ``time.monotonic``.
    """

    def patience(self, now: float) -> float | None:
        """Return how many seconds after *now* something is due; ``None`` where nothing is before a thread wakes it."""

    def wait(self, patience: float | None) -> object:
        """Wait at most *patience* seconds until it is woken. May take what it is woken with, and keep it for the turn."""

    def turn(self, now: float) -> bool:
        """Do what is due at *now*, without waiting for more. Return whether there is to be another turn."""


class Loop:
    """
    Has a thread of its own repeat something until a turn says that it was the last.

    Args:
        name: Of the thread, behind ``eventspool-``.
        repeated: What takes the turns.
        ours: Whether the thread moves events; ``False`` where it runs code of the host's.
        on_turn: Called on the thread before each wait.
        on_failure: Told, on the thread, of what a wait or a turn has raised.
    """

    def __init__(
        self,
        name: str,
        repeated: Repeated,
        *,
        ours: bool = True,
        on_turn: Callable[[], object] = lambda: None,
        on_failure: Callable[[BaseException], object] = lambda _: None,
    ) -> None:
        self._name = name
        self._repeated = repeated
        self._ours = ours
        self._on_turn = on_turn
        self._on_failure = on_failure
        self._lock = threading.RLock()  # a destructor may interrupt its holder
        self._thread: threading.Thread | None = None
        self._over = False

    def start(self) -> None:
        """
        Start the thread, or start it again where it has ended before its last turn.

        Raises:
            NoThread: No thread is to be had. May be called again.
        """
        if self._thread is not None and (self._over or self._thread.is_alive()):
            return
        with self._lock:
            if self._thread is not None and (self._over or self._thread.is_alive()):
                return
            thread = make_thread(self._run, self._name, ours=self._ours, is_over=lambda: self._over)
            before, self._thread = self._thread, thread  # known before it runs
            self._over = False
            try:
                start_thread(thread)
            except NoThread:
                self._thread = before
                raise

    @property
    def is_started(self) -> bool:
        """Its thread runs, or ran."""
        return self._thread is not None

    @property
    def is_alive(self) -> bool:
        """Its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_current(self) -> bool:
        """Whether this is its thread."""
        return self._thread is threading.current_thread()

    def join(self, timeout: float) -> None:
        """Wait at most *timeout* seconds until the thread has ended; not at all on that thread."""
        thread = self._thread
        if thread is not None and thread.ident is not None and thread is not threading.current_thread():
            thread.join(max(timeout, 0.0))

    def _run(self) -> None:
        repeated = self._repeated
        while not self._over:
            try:
                self._on_turn()
                repeated.wait(repeated.patience(time.monotonic()))
                self._over = not repeated.turn(time.monotonic())
            except BaseException as error:  # noqa: BLE001 - whatever it is, events must go on flowing
                with contextlib.suppress(BaseException):
                    self._on_failure(error)
                    time.sleep(_PAUSE)
