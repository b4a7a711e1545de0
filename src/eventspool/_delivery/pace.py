"""How many parcels one dispatcher holds at a time. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Pace"]

_QUICK = 0.1
"""Longest a request may take, in seconds, for the next batches to be fetched ahead. They wait in this process for their turn:
should it be killed meanwhile, that costs them an attempt although they were not sent."""
_SILENCE = 2.0
"""Seconds without an outcome after which nothing is fetched ahead any more."""


class Pace:
    """
    Lets parcels be fetched ahead while the data plane answers quickly.

    Otherwise a process that is killed again and again would take batches into the failed queue that it never sent.

    Args:
        concurrency: Most requests under way at a time.
        fetches_ahead: Whether parcels may be fetched ahead at all.
    """

    def __init__(self, concurrency: int, *, fetches_ahead: bool) -> None:
        self._concurrency = concurrency
        self._fetches_ahead = fetches_ahead
        self._quick = 0  # answers in a row that came quickly
        self._heard_at = 0.0

    @property
    def spare(self) -> int:
        """How many parcels beyond its capacity it may hold. To send one more costs less than to give its jobs back."""
        return 1 if self._fetches_ahead else 0

    @property
    def capacity(self) -> int:
        """Most parcels to hold: those that are sent, and while answers come quickly as many again."""
        ahead = self._fetches_ahead and self._quick >= self._concurrency
        return 2 * self._concurrency if ahead else self._concurrency

    def note(self, requests: Sequence[tuple[str, float]], now: float) -> None:
        """Note how each request of an attempt ended, and how many seconds it took."""
        self._heard_at = now
        if requests:
            self._quick = self._quick + 1 if max(seconds for _, seconds in requests) <= _QUICK else 0

    def has_stalled(self, now: float) -> bool:
        """Return whether the data plane has just ceased to answer quickly: what waits here is to be given back."""
        if self._quick and now - self._heard_at > _SILENCE:
            self._quick = 0
            return True
        return False
