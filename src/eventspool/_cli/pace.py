"""How fast ``eventspool send`` goes: no faster than the client takes events, and not on when nothing moves any more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventspool._client import Client

__all__ = ["BUFFER_EVENTS", "CHECK_EVERY", "Pace", "StalledError", "await_room", "settle"]

BUFFER_EVENTS = 20_000
CHECK_EVERY = 500
"""Lines between two looks at how full the buffer is. Room for this number of events is always left in it."""
_NOTE_EVERY = 2.0
"""Seconds between two notes of how far a file is sent; for each, what was accepted is waited for."""


class StalledError(Exception):
    """Nothing moved for too long."""


def await_room(client: Client, timeout: float) -> None:
    """Wait while the client holds as many events as it may."""
    patience = _Patience(timeout)
    while (stats := client.stats()).buffered > BUFFER_EVENTS - 2 * CHECK_EVERY:
        patience.check(stats.buffered)
        time.sleep(0.01)


def settle(client: Client, until: Any, timeout: float) -> None:
    patience = _Patience(timeout)
    while (result := client.flush(until=until, timeout=0.25)).pending:
        patience.check(result.pending)


class _Patience:
    """Raises ``StalledError`` once a count has stood still for *seconds*."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._count = -1
        self._since = time.monotonic()

    def check(self, count: int) -> None:
        now = time.monotonic()
        if count != self._count:
            self._count, self._since = count, now
        elif now - self._since > self._seconds:
            raise StalledError(
                f"nothing moved for {self._seconds:g} seconds; giving up. Is the data plane reachable?"
            )


class Pace:
    """
    Keeps to a rate, and says now and then that it is time to note how far the file is sent.

    Args:
        client: What sends.
        rate: Most events a second; ``None`` for no limit.
        until: When an event counts as taken care of.
        timeout: For how long nothing may move.
        notes: Whether the place is noted.
    """

    def __init__(
        self, client: Client, rate: float | None, until: Any, timeout: float, *, notes: bool
    ) -> None:
        self._client = client
        self._rate = rate
        self._until = until
        self.timeout = timeout
        self._notes = notes
        self._began = self._noted = time.monotonic()

    def wait(self, accepted: int) -> bool:
        """Wait as the rate asks for. Return whether all that was accepted is taken care of, and the place is to be noted."""
        now = time.monotonic()
        if self._rate is not None and (ahead := accepted / self._rate - (now - self._began)) > 0:
            time.sleep(ahead)
        if not self._notes or now - self._noted < _NOTE_EVERY:
            return False
        settle(self._client, self._until, self.timeout)
        self._noted = time.monotonic()
        return True
