"""Log lines that repeat are written once per interval, with a count of those that were left out."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventspool._guest.log import Log

__all__ = ["Throttle"]


class Throttle:
    """
    Rate-limits log lines by their message, before the arguments are filled in.

    It takes no lock, for a signal handler may interrupt it anywhere. So two threads at the same instant may both write.

    Args:
        logger: Where the lines go.
        interval: Seconds between two lines of one kind.
    """

    def __init__(self, logger: Log | logging.Logger, interval: float = 30.0) -> None:
        self._logger = logger
        self._interval = interval
        self._seen: dict[str, tuple[float, int]] = {}

    def warning(self, message: str, *args: object) -> None:
        """Log a warning, unless one of the same kind was logged within the interval."""
        self._write(logging.WARNING, message, args)

    def error(self, message: str, *args: object) -> None:
        """Log an error, unless one of the same kind was logged within the interval."""
        self._write(logging.ERROR, message, args)

    def _write(self, level: int, message: str, args: tuple[object, ...]) -> None:
        now = time.monotonic()
        last, skipped = self._seen.get(message, (-self._interval, 0))
        if now - last < self._interval:
            self._seen[message] = (last, skipped + 1)
            return
        self._seen[message] = (now, 0)
        if skipped:
            message, args = message + " (%d more like it)", (*args, skipped)
        self._logger.log(level, message, *args)
