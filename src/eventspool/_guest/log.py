"""
What we log, written by a thread for which no other one waits.

A log handler of the host's may be slow, may raise, and may track an event: then its thread holds the handler's lock while it
waits for a thread of ours to store the event. If that one had to take the same lock to log a line, both would wait for each
other. So a thread that does nothing else writes the lines of our threads. A thread of the host's writes its line at once, and
gets what the handler raises; only a line that a signal handler logs amid another one is left to the thread of ours.
"""

from __future__ import annotations

import logging
import threading

from eventspool._guest.calls import CallQueue
from eventspool._guest.process import in_child
from eventspool._guest.thread import is_ours

__all__ = ["Log", "drain_log"]


def _raised(error: BaseException) -> None:
    """Show what a log handler of the host's raised, as Python shows an exception that ends a thread."""
    threading.excepthook(
        threading.ExceptHookArgs((type(error), error, error.__traceback__, threading.current_thread()))
    )


_lines = CallQueue("log", _raised)
_writing: set[int] = set()
"""The host's threads that write a line. A signal handler that interrupts one cannot write: Python's streams forbid it."""


class Log:
    """
    A logger of ours. No line holds a payload, a write key or a driver's text.

    Args:
        name: Of the logger.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def log(self, level: int, message: str, *args: object) -> None:
        """Log a line."""
        me = threading.get_ident()
        if is_ours() or me in _writing:
            # The level is not looked at: that may take the lock of `logging`, whose holder may wait for us.
            _current_lines().submit(self._logger.log, level, message, *args)
            return
        try:
            _writing.add(me)
            self._logger.log(level, message, *args)
        finally:
            _writing.discard(me)

    def info(self, message: str, *args: object) -> None:
        """Log what an operator may want to know."""
        self.log(logging.INFO, message, *args)

    def warning(self, message: str, *args: object) -> None:
        """Log what an operator should know."""
        self.log(logging.WARNING, message, *args)

    def error(self, message: str, *args: object) -> None:
        """Log what an operator has to act on."""
        self.log(logging.ERROR, message, *args)


def drain_log(timeout: float) -> None:
    """Wait, at most *timeout* seconds, until every line so far is written: the process may end then."""
    _lines.drain(timeout)


def _current_lines() -> CallQueue:
    global _lines  # noqa: PLW0603 - one per process
    if _lines.is_outdated:
        _lines = CallQueue("log", _raised)
    return _lines


def _forget_lines() -> None:
    """In a forked child: the parent writes the lines that wait, and has the thread."""
    global _lines  # noqa: PLW0603 - one per process
    _lines = CallQueue("log", _raised)
    _writing.clear()


in_child(_forget_lines)
