"""
The bounded buffer between the callers' threads and the flusher: the first, and in memory the only, home of an
event.

``put`` takes no lock. It relies on ``deque.append`` and ``len`` being atomic, as they are with and without the
GIL, and on the order of its steps: first the event, then the question whether to wake the flusher. So callers
never wait for each other or for the flusher, and ``track()`` may be called from a signal handler that
interrupts ``track()``. A wake-up is raised once per flush, not once per event.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from dataclasses import dataclass, field

from eventspool._buffering.batch import count_fitting

__all__ = ["Buffer", "Taken"]

_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Taken:
    """What the flusher took: *events* in order, the first of which was the *first*-th event ever accepted."""

    first: int
    events: list[bytes] = field(repr=False)


class Buffer:
    """
    Events that were accepted and are not in the queue yet.

    Args:
        capacity: Events held in memory at most, in here or on their way into the queue. Threads that put at the same
            instant may each exceed it by one event.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._room = capacity
        self._events: deque[bytes] = deque()
        self._wake_at = 1  # the first event starts the clock
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()  # its put() may interrupt itself
        self._ended = False
        self._lock = threading.RLock()  # never of those who put; the others may interrupt themselves
        self._taken = 0
        self._expected = 0  # in the next batch, at least: events of one program differ little in size
        self._outside = 0  # taken, but still only in memory

    def put(self, event: bytes) -> bool:
        """Append *event*. Return False when the buffer is full or closed."""
        events = self._events
        if len(events) >= self._room:
            return False
        events.append(event)
        return len(events) < self._wake_at or self._wake(event)

    def _wake(self, event: bytes) -> bool:
        if self._ended:
            return not self._take_back(event)
        self._wake_at = _NEVER
        self._wakeups.put(None)
        return True

    def _take_back(self, event: bytes) -> bool:
        """Remove an event that slipped in after the end. Return whether it was still there."""
        while True:
            try:
                self._events.remove(event)
            except ValueError:
                return False
            except IndexError:  # another thread changed the deque meanwhile
                continue
            return True

    def take(self, max_batch_bytes: int) -> Taken:
        """Take one batch. What was taken counts against the capacity until it is released."""
        with self._lock:
            count = count_fitting(self._events, max_batch_bytes, self._expected)
            self._expected = count - count // 32
            return self._take(count)

    def end(self) -> Taken:
        """Take everything that is left, and refuse even events whose ``put`` is under way."""
        with self._lock:
            self._capacity, self._ended, self._wake_at = -1, True, 0
            return self._take(len(self._events))

    def _take(self, events: int) -> Taken:
        first = self._taken
        self._taken += events
        self._move(events)  # before they leave the deque, so that nobody sees room that is not there
        pop = self._events.popleft
        return Taken(first, [pop() for _ in range(events)])

    def _move(self, events: int) -> None:
        self._outside += events
        self._room = self._capacity - self._outside

    def release(self, events: int) -> None:
        """Give back room for *events* that were taken: they are stored or settled."""
        with self._lock:
            self._move(-events)

    def await_trigger(self, timeout: float | None) -> bool:
        """Wait until a flush is due or somebody raises the alarm. Return whether the alarm went."""
        try:
            self._wakeups.get(timeout=timeout)
        except queue.Empty:
            return False
        with contextlib.suppress(queue.Empty):
            while True:
                self._wakeups.get_nowait()
        return True

    def arm(self, events: int) -> bool:
        """Raise the next wake-up when there are this many *events*. Return whether there are already."""
        self._wake_at = events
        with (
            self._lock
        ):  # whoever appended before this instant is seen here; whoever does later sees the new mark
            return len(self._events) >= events

    def alarm(self) -> None:
        """Wake the flusher now."""
        self._wakeups.put(None)

    def close(self) -> None:
        """Refuse new events from now on."""
        with self._lock:
            self._capacity = -1
            self._move(0)

    @property
    def taken(self) -> int:
        """Events ever taken; the number of the next one to be."""
        return self._taken

    @property
    def accepted(self) -> int:
        """Events ever accepted; the number of the next one."""
        with self._lock:
            return self._taken + len(self._events)

    @property
    def waiting(self) -> int:
        """Events in the buffer itself."""
        return len(self._events)

    @property
    def held(self) -> int:
        """Events that only memory holds."""
        with self._lock:
            return len(self._events) + self._outside
