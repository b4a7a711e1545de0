"""Log lines that repeat are written once per interval, with a count of those left out."""

from __future__ import annotations

import logging
import threading
import time

__all__ = ["Throttle"]


class Throttle:
    """
    Rate-limits log lines by their message, before the arguments are filled in.

    Args:
        logger: Where the lines go.
        interval: Seconds between two lines of one kind.
    """

    def __init__(self, logger: logging.Logger, interval: float = 30.0) -> None:
        self._logger = logger
        self._interval = interval
        self._lock = threading.RLock()  # a signal handler may interrupt its holder
        self._seen: dict[str, tuple[float, int]] = {}

    def warning(self, message: str, *args: object) -> None:
        """Log a warning, unless one of the same kind was logged within the interval."""
        self._write(logging.WARNING, message, args)

    def error(self, message: str, *args: object) -> None:
        """Log an error, unless one of the same kind was logged within the interval."""
        self._write(logging.ERROR, message, args)

    def _write(self, level: int, message: str, args: tuple[object, ...]) -> None:
        now = time.monotonic()
        with self._lock:
            last, skipped = self._seen.get(message, (-self._interval, 0))
            if now - last < self._interval:
                self._seen[message] = (last, skipped + 1)
                return
            self._seen[message] = (now, 0)
        if skipped:
            message, args = message + " (%d more like it)", (*args, skipped)
        self._logger.log(level, message, *args)
