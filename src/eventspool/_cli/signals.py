"""Signals, as a command that runs until it is told to stop sees them."""

from __future__ import annotations

import contextlib
import signal
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Stop"]


class Stop:
    """
    The first signal asks a command to stop, the second makes it.

    Not an Event: its ``set()`` needs the lock that ``wait()`` holds now and then, also when the signal interrupts it.
    """

    def __init__(self) -> None:
        self.asked = False
        self.at_once = False
        self.signal = 0
        self._came: SimpleQueue[None] = SimpleQueue()

    def wait(self, seconds: float) -> bool:
        """Block until the first signal (True) or for so many *seconds* (False)."""
        if not self.asked:
            with contextlib.suppress(Empty):
                self._came.get(timeout=seconds)
        return self.asked

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM while this lasts."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:  # noqa: ARG002
        self.at_once = self.asked
        self.signal = number
        self.asked = True
        self._came.put(None)
