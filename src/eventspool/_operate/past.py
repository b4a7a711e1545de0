"""What a queue has noted of itself: the minutes of a day, read once and then only what is new."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from eventspool._exceptions import QueueError
from eventspool._history import JOURNAL, KEPT, Minute, read_minute

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._backends.journals import JournalEntry
    from eventspool._operate.queue import Queue

__all__ = ["Past"]

_EVERY_SECONDS = 10.0
_NEW = 5
"""Entries that are read where only the newest are missing. Where there are more of them, all are read."""


class Past:
    """
    The history of one queue. Safe between threads.

    Args:
        queue: The queue.
        most: How many minutes are read, at most.
        clock: Monotonic seconds.
    """

    def __init__(self, queue: Queue, most: int = KEPT, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._clock = clock
        self._most = most
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._position = 0
        self._minutes: deque[tuple[float, Minute]] = deque(maxlen=most)

    def minutes(self) -> list[tuple[float, Minute]]:
        """
        Return when each minute was noted (seconds since the epoch), and what, the newest first.

        Of a queue that keeps none, or that cannot be read now, it is what was known before.
        """
        with self._lock:
            now = self._clock()
            if now - self._read_at >= _EVERY_SECONDS:
                self._read_at = now
                with contextlib.suppress(
                    QueueError
                ):  # the figures, which are read at the same time, say that
                    self._read_new()
            return list(self._minutes)

    def _read_new(self) -> None:
        found = self._notes(_NEW if self._position else self._most)
        if self._position and found and found[-1].position > self._position + 1:
            found = self._notes(self._most)
        new = [entry for entry in found if entry.position > self._position]
        if found and found[0].position < self._position:  # another queue: this one was emptied or moved
            self._minutes.clear()
            new = found
        for entry in reversed(new):
            self._position = entry.position
            if (minute := read_minute(entry.body)) is not None:
                self._minutes.appendleft((entry.at, minute))

    def _notes(self, limit: int) -> list[JournalEntry]:
        return self._queue._notes(JOURNAL, limit)  # noqa: SLF001 - no part of what programs call
