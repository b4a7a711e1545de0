"""A wait for the end of events: that of a flush, or of a close."""

from __future__ import annotations

import queue
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["FlushResult", "Seen", "Waiter"]


@dataclass(frozen=True, slots=True)
class FlushResult:
    """
    What became of the events that a flush waited for.

    Args:
        delivered: The data plane took them, from this process or from another one.
        failed: They were given up.
        pending: Neither yet: the timeout passed first.
        reason: Why something is pending or failed, in one sentence; "" where all is well. Not compared.
    """

    delivered: int = 0
    failed: int = 0
    pending: int = 0
    reason: str = field(default="", compare=False)


class Seen(NamedTuple):
    """What a waiter has counted so far."""

    remaining: int
    delivered: int = 0
    failed: int = 0


class Waiter:
    """
    One flush call: counts the events below *cut* down to nothing.

    Args:
        cut: Events with a lower number are waited for.
        remaining: How many of them are not settled.
        until_stored: The call waits for storage alone.
    """

    def __init__(self, cut: int, remaining: int, *, until_stored: bool = False) -> None:
        self.cut = cut
        self.until_stored = until_stored
        self.on_end: Callable[[], object] | None = None
        """Called, once or more, where there is nothing to wait for any more."""
        self.seen = Seen(remaining)
        self.is_over = False
        # No lock: an exception of the host's may end the wait at any line, and must leave nothing held.
        self._gate: queue.SimpleQueue[None] = queue.SimpleQueue()

    @property
    def remaining(self) -> int:
        """Events that are not settled."""
        return self.seen.remaining

    def after(self, first: int, events: int, failed: Iterable[int]) -> Seen:
        """
        Return what it will have counted when a job has ended.

        Args:
            first: The number of the job's first event.
            events: How many events the job holds.
            failed: The positions in it of the events that were not delivered.
        """
        covered = min(first + events, self.cut) - first
        if covered <= 0:
            return self.seen
        lost = sum(1 for i in failed if i < covered)
        remaining, delivered, bad = self.seen
        return Seen(remaining - covered, delivered + covered - lost, bad + lost)

    def take_in(self, first: int, events: int) -> None:
        """
        Wait for all events of an open job, numbered from *first* on, where some of them are waited for.

        The job is to be cut into others, and its events get other numbers: a cut amid them would then part other events.
        """
        last = first + events
        if first < self.cut < last:
            added, self.cut = last - self.cut, last
            self.seen = self.seen._replace(remaining=self.seen.remaining + added)

    def end(self) -> None:
        """Let the call go."""
        self.is_over = True
        self._gate.put(None)
        if self.on_end is not None:
            self.on_end()

    def wait(self, timeout: float | None) -> bool:
        """Wait until it is over, at most *timeout* seconds. Return whether it is."""
        if self.is_over or (timeout is not None and timeout <= 0):
            return self.is_over
        try:
            self._gate.get(timeout=timeout)
        except queue.Empty:
            return False
        return self.is_over

    def cut_short(self) -> None:
        """End the wait that is under way, though nothing has come of it."""
        self._gate.put(None)

    def result(self) -> FlushResult:
        """Return what was counted."""
        remaining, delivered, failed = self.seen
        return FlushResult(delivered, failed, remaining)
