"""
The clocks of producers, whose ids say when a job was made: those that are apart from the server's are noted in the queue.

Tools name the machine then, and ages go by the time at which the server has stored a job.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Any, Final

from eventspool._backends.redis.errors import is_reply
from eventspool._exceptions import QueueError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventspool._backends.redis.connection import Connection

__all__ = ["ClockWatch", "read_clocks"]

_APART: Final = 5.0
"""Seconds between two clocks from which on that is noted."""
_EVERY: Final = 60.0
_LEAP: Final = 1.0
"""Seconds between two looks at the clocks, and by how many this host's clock leaps so that the next look is at once."""
_NOTE_LASTS: Final = 86_400.0
"""Seconds for which a note is believed. A producer that runs writes it anew when its clock has leapt."""
_NAME: Final = "clock of "
"""What the names of META begin with under which hosts note by how much their clocks are ahead (``lua/stats.lua``)."""


class ClockWatch:
    """Notes in one queue where this host's clock is apart from the server's, for a process that stores jobs."""

    def __init__(self) -> None:
        self._until = self._leap = float("-inf")
        self._is_noted = True  # by an earlier process of this host, perhaps

    def look(self, connection: Connection, prefix: str) -> None:
        """Look at both clocks: at the start, each minute, and after a leap. Never raises a ``QueueError``."""
        now = time.monotonic()
        leap = time.time() - now
        if now < self._until and abs(leap - self._leap) < _LEAP:
            return
        self._until, self._leap = now + _EVERY, leap
        with contextlib.suppress(
            QueueError
        ):  # the job is stored: an outage that begins now is met by the next commit
            connection.call(self._note, f"{prefix}m")

    def _note(self, client: Any, meta: str) -> None:
        ahead = _read_clock(client)
        if ahead is None or (abs(ahead) < _APART and not self._is_noted):
            return
        name = _NAME + socket.gethostname()
        if abs(ahead) >= _APART:
            client.execute_command("HSET", meta, name, f"{ahead:.3f}:{time.time() - ahead:.0f}")
        else:
            client.execute_command("HDEL", meta, name)
        self._is_noted = abs(ahead) >= _APART


def _read_clock(client: Any) -> float | None:
    """Return by how many seconds this process's clock is ahead of the server's; ``None`` where it may not ask."""
    before = time.time()
    try:
        seconds, micros = client.time()
    except Exception as error:
        if not is_reply(error):
            raise
        return None
    return (before + time.time()) / 2 - (float(seconds) + float(micros) / 1e6)


def read_clocks(fields: Mapping[str, str], now: float) -> dict[str, float]:
    """Return by how many seconds which host's clock is ahead, as the *fields* of META say *now* (seconds since the epoch)."""
    found = {}
    for name, text in fields.items():
        ahead, _, at = text.partition(":")
        if name.startswith(_NAME):
            with contextlib.suppress(ValueError):
                if abs(now - float(at)) < _NOTE_LASTS:
                    found[name.removeprefix(_NAME)] = float(ahead)
    return found
