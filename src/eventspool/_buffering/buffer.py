"""
The bounded buffer between the callers' threads and the flusher. An event is here first, and without a durable queue nowhere
else.

``put`` takes no lock. It relies on ``deque.append`` and ``len`` being atomic, as they are with and without the
GIL, and on the order of its steps: first the event, then the question whether to wake the flusher. So callers
never wait for each other or for the flusher, and ``track()`` may be called from a signal handler that
interrupts ``track()``. A wake-up is raised once per flush, not once per event.

What the flusher *draws* stays in here until it has become a job (``forget``). So wherever an exception cuts the flusher off,
an event is here or in a job, and has the same number.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from eventspool._buffering.batch import count_fitting

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Buffer", "Drawn"]

_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the flusher is to make a job of: *events* in order, the first of which was the *first*-th event ever accepted."""

    first: int
    events: list[bytes] = field(repr=False)


class Buffer:
    """
    Events that were accepted and are not in the queue yet.

    Args:
        capacity: Events held in memory at most, in here or on their way into the queue. Threads that put at the same
            instant may each exceed it by one event.
        count_outside: Returns how many events that have left are still held by memory alone.
    """

    def __init__(self, capacity: int, count_outside: Callable[[], int] = lambda: 0) -> None:
        self._capacity = capacity
        self._room = capacity
        self._events: deque[bytes] = deque()
        self._cuts: deque[int] = (
            deque()
        )  # numbers of events where a flush ends, of those that are not drawn yet
        self._drawn = Drawn(0, [])
        self._wake_at = 1  # the first event starts the clock
        self._wakeups: queue.SimpleQueue[None] = queue.SimpleQueue()  # its put() may interrupt itself
        self._ended = False
        self._lock = threading.RLock()  # taken by threads of ours only; a destructor may interrupt its holder
        self._expected = 0  # fewest events of the next batch: events of one program differ little in size
        self._count_outside = count_outside

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
        self._wakeups.put(None)  # an exception may prevent it: so the flusher also looks every few seconds
        return True

    def _take_back(self, event: bytes) -> bool:
        """Remove an event that was put after the end. Return whether it was still there."""
        while True:
            try:
                self._events.remove(event)
            except ValueError:
                return False
            except IndexError:  # another thread changed the deque meanwhile
                continue
            return True

    def draw(self, max_batch_bytes: int) -> Drawn:
        """Return the events of one batch, the same until they are forgotten. They count against the capacity."""
        with self._lock:
            if not self._drawn.events:
                while self._cuts and self._cuts[0] <= self._drawn.first:
                    self._cuts.popleft()
                count = count_fitting(self._events, max_batch_bytes, self._expected)
                self._expected = count - count // 32
                self._draw(count)
            return self._drawn

    def draw_run(self, most: int) -> tuple[Drawn, int]:
        """
        Return up to *most* events, whose order the caller may change, and how many of these events it may mix.

        A run ends where a flush does, so every event with a number below the flush's was accepted before it, in whatever order
        those of a run are numbered. They are the same until all of them are forgotten, and count against the capacity.
        """
        with self._lock:
            first = self._drawn.first
            while self._cuts and self._cuts[0] <= first:
                self._cuts.popleft()
            until = self._cuts[0] - first if self._cuts else most
            if not self._drawn.events:
                self._draw(min(len(self._events), most, until))
            return self._drawn, min(len(self._drawn.events), until)

    def arrange(self, drawn: Drawn, events: list[bytes]) -> Drawn:
        """Have the events of *drawn* be in this order from now on."""
        with self._lock:
            if self._drawn is drawn:
                self._drawn = Drawn(drawn.first, events)
            return self._drawn

    def mark(self) -> int:
        """Return how many events were ever accepted, as for a flush: it waits for these, and no run goes beyond them."""
        with self._lock:
            accepted = self.accepted
            is_drawn = accepted == self._drawn.first + len(self._drawn.events)
            if not is_drawn and not (self._cuts and self._cuts[-1] == accepted):
                self._cuts.append(accepted)
            return accepted

    def end(self) -> Drawn:
        """Return everything that is left, and refuse even events whose ``put`` is under way."""
        with self._lock:
            self._capacity, self._ended, self._wake_at = -1, True, 0
            self._draw(len(self._events))
            return self._drawn

    def _draw(self, events: int) -> None:
        # First the room, so that no caller sees room that is not there.
        self._room = self._capacity - self._outside - events
        # One call of C moves them, so that no exception comes in between.
        with contextlib.suppress(IndexError):  # a `put` that came too late has taken its event back
            self._drawn.events.extend(islice(iter(self._events.popleft, None), events))

    def forget(self, drawn: Drawn) -> None:
        """
        Note that *drawn*, or the first of what was drawn, is a job now. May be repeated.

        Its events count against the capacity for as long as memory alone holds the job.
        """
        with self._lock:
            if self._drawn.first == drawn.first:
                count = len(drawn.events)
                self._drawn = Drawn(drawn.first + count, self._drawn.events[count:])

    @property
    def _outside(self) -> int:
        return len(self._drawn.events) + self._count_outside()

    def refresh(self) -> None:
        """Count anew what memory holds: something was stored, or settled."""
        with self._lock:
            self._room = self._capacity - self._outside

    def await_trigger(self, timeout: float | None) -> bool:
        """Wait at most *timeout* seconds for a wake-up, by ``put`` or ``alarm``. Return whether it came."""
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
        # An event that was appended before this instant is counted here; a later `put` sees the new mark.
        with self._lock:
            return len(self._events) >= events

    def alarm(self) -> None:
        """Wake the flusher now."""
        self._wakeups.put(None)

    def close(self) -> None:
        """Refuse new events from now on."""
        with self._lock:  # a thread that counts the room meanwhile would open it again
            self._capacity = -1
            self._room = -1

    @property
    def taken(self) -> int:
        """Events that are, or were, in a job; the number of the next one to be."""
        return self._drawn.first

    @property
    def accepted(self) -> int:
        """Events ever accepted; the number of the next one."""
        with self._lock:
            return self._drawn.first + len(self._drawn.events) + len(self._events)

    @property
    def waiting(self) -> int:
        """Events that are in no job."""
        return len(self._drawn.events) + len(self._events)

    @property
    def held(self) -> int:
        """Events that only memory holds."""
        with self._lock:
            return self._outside + len(self._events)
