"""
The bounded buffer between the caller's thread and the flusher: the first, and in memory the only, home of an
event.

The caller pays for one short lock, an append and a comparison. The flusher takes the whole list by swapping
it, so the lock is never held longer than that. A wake-up is raised once per flush, not once per event.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

__all__ = ["Buffer", "Taken"]

_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Taken:
    """What the flusher took: *events* in order, the first of which was the *first*-th event ever accepted."""

    first: int
    events: list[bytes]


class Buffer:
    """
    Events that were accepted and are not in the queue yet.

    Args:
        capacity: Events held in memory at most, in here or on their way into the queue.
        flush_at: Events that trigger a flush. No cap: a flush takes what there is.
        flush_bytes: Bytes that trigger one.
    """

    def __init__(self, *, capacity: int, flush_at: int, flush_bytes: int) -> None:
        self._capacity = capacity
        self._flush_at = min(flush_at, capacity)
        self._flush_bytes = flush_bytes
        self._lock = threading.Lock()
        self._events: list[bytes] = []
        self._bytes = 0
        self._outside = 0  # taken, but still only in memory
        self._wake_count = 1  # the first event starts the clock
        self._wake_bytes = flush_bytes
        self._wake = threading.Event()
        self.accepted = 0
        """Events ever accepted; the number of the next one."""

    def put(self, event: bytes) -> int:
        """Append *event*. Return its number, or -1 when the buffer is full or closed."""
        with self._lock:
            events = self._events
            count = len(events)
            if count + self._outside >= self._capacity:
                return -1
            events.append(event)
            size = self._bytes = self._bytes + len(event)
            number = self.accepted
            self.accepted = number + 1
            if count + 1 < self._wake_count and size < self._wake_bytes:
                return number
            self._wake_count = self._wake_bytes = _NEVER
        self._wake.set()
        return number

    def take(self) -> Taken:
        """Take everything. What was taken counts against the capacity until it is released."""
        with self._lock:
            events, self._events = self._events, []
            self._bytes = 0
            self._outside += len(events)
            self._wake_count, self._wake_bytes = 1, self._flush_bytes
            return Taken(self.accepted - len(events), events)

    def release(self, events: int) -> None:
        """Give back room for *events* that were taken: they are stored or settled."""
        with self._lock:
            self._outside -= events

    def await_trigger(self, timeout: float | None) -> bool:
        """Wait until a flush is due or somebody raises the alarm. Return whether the alarm went."""
        went = self._wake.wait(timeout)
        self._wake.clear()
        return went

    def arm(self, *, immediate: bool = False) -> bool:
        """
        Set when to wake next: at ``flush_at`` events, or, with *immediate* or an empty buffer, at the next
        one.

        Return whether that is reached already.
        """
        with self._lock:
            self._wake_count = 1 if immediate or not self._events else self._flush_at
            self._wake_bytes = self._flush_bytes
            return bool(self._events) and (
                len(self._events) >= self._wake_count or self._bytes >= self._wake_bytes
            )

    def alarm(self) -> None:
        """Wake the flusher now."""
        self._wake.set()

    def close(self) -> None:
        """Refuse everything from now on."""
        with self._lock:
            self._capacity = -1

    @property
    def waiting(self) -> int:
        """Events in the buffer itself."""
        return len(self._events)

    @property
    def held(self) -> int:
        """Events that only memory holds."""
        return len(self._events) + self._outside
