"""
Logs what a processor gives up: one line for each reason and minute, with how many events that were.

A batch that fails goes to the failed queue without a word otherwise, and an operator would hear of it from an alert alone. The
answer of the data plane is not in the line, for it may quote events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._guest.log import Log
from eventspool._reasons import FAILED, meaning_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["GivenUp"]

_log = Log("eventspool")
_FIRST = 0.5
"""Seconds that the first line waits for more of its kind."""
_INTERVAL = 60.0
"""Seconds between two lines about one reason."""
NEVER = float("inf")


class GivenUp:
    """
    Counts what was given up, and logs it. One thread's own.

    Args:
        write: Writes a line: a message, and its arguments.
    """

    def __init__(self, write: Callable[..., object] = _log.warning) -> None:
        self._write = write
        self._counts: dict[str, tuple[int, int]] = {}
        self._due: dict[str, float] = {}

    def add(self, reason: str, events: int, now: float) -> None:
        """Count a batch of so many *events* that was given up for *reason* at *now* (monotonic seconds)."""
        jobs, before = self._counts.get(reason, (0, 0))
        self._counts[reason] = jobs + 1, before + events
        self._due.setdefault(reason, now + _FIRST)

    @property
    def due_at(self) -> float:
        """When the next line is due, in monotonic seconds; infinity where none is."""
        return min((self._due[reason] for reason in self._counts), default=NEVER)

    def tell(self, now: float, *, all_of_it: bool = False) -> None:
        """Write the lines that are due *now*; at the end *all_of_it*."""
        for reason in [reason for reason in self._counts if all_of_it or self._due[reason] <= now]:
            jobs, events = self._counts.pop(reason)
            self._due[reason] = now + _INTERVAL
            known = FAILED.get(reason)
            self._write(
                "%s given up (%s), in %s: %s What to do: %s",
                f"{events:,} event{' was' if events == 1 else 's were'}",
                reason,
                f"{jobs:,} batch{'' if jobs == 1 else 'es'}",
                meaning_of(reason),
                known.advice if known is not None else "see `eventspool queue failed`",
            )
        for reason in [each for each, due in self._due.items() if due <= now and each not in self._counts]:
            del self._due[reason]
