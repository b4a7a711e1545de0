"""Signals, for a command that runs until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

__all__ = ["Stop", "handling"]


@contextlib.contextmanager
def handling(handler: Callable[[int, Any], None], *numbers: int) -> Iterator[None]:
    """Call *handler* for the signals *numbers* while this lasts."""
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


class Stop:
    """
    The first signal asks a command to stop, and the second one makes it stop at once.

    A ``threading.Event`` would not do: ``set()`` needs a lock that ``wait()`` holds at moments, and a signal may interrupt
    ``wait()`` just then.
    """

    def __init__(self) -> None:
        self.asked = False
        self.at_once = False
        self.signal = 0
        self._came: SimpleQueue[None] = SimpleQueue()

    def wait(self, seconds: float) -> bool:
        """Block until the first signal comes (True) or *seconds* have passed (False)."""
        if not self.asked:
            with contextlib.suppress(Empty):
                self._came.get(timeout=seconds)
        return self.asked

    def listening(self) -> AbstractContextManager[None]:
        """Take SIGINT and SIGTERM while this lasts."""
        return handling(self._note, signal.SIGINT, signal.SIGTERM)

    def _note(self, number: int, frame: object) -> None:  # noqa: ARG002
        self.at_once = self.asked
        self.signal = number
        self.asked = True
        self._came.put(None)
