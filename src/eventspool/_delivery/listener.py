"""What waits for jobs of other processes, while the dispatcher has nothing to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from eventspool._exceptions import QueueError

if TYPE_CHECKING:
    from eventspool._backends import Backend
    from eventspool._delivery.exchange import Exchange

__all__ = ["Listener"]

_LONGEST_WAIT = 5.0
"""Seconds after which one wait for the queue ends."""
_PAUSE = 1.0
"""Seconds after the queue has failed for which it is not listened to."""


class Listener:
    """
    Waits for the queue to say that another process has stored a job. That wait (Redis: BLPOP) blocks its turn.

    Args:
        exchange: Says when to listen, and is told of what was heard.
        backend: The queue.
    """

    def __init__(self, exchange: Exchange, backend: Backend) -> None:
        self._exchange = exchange
        self._backend = backend
        self._again_at = 0.0

    def patience(self, now: float) -> float | None:
        """Return how long the queue is left alone after a failure; ``None`` where it can be listened to."""
        return self._again_at - now if now < self._again_at else None

    def wait(self, patience: float | None) -> None:
        """Wait until there is something to listen for."""
        if patience is None:
            self._exchange.listening.wait()
        else:
            self._exchange.await_stop(patience)

    def turn(self, now: float) -> bool:  # noqa: ARG002 - as every loop is told
        """Listen. Return whether the processor goes on."""
        if self._exchange.is_stopping:
            return False
        if self._exchange.listening.is_set():
            try:
                if self._backend.wait(_LONGEST_WAIT):
                    self._exchange.rouse()
            except QueueError:  # the dispatcher meets the same outage, and reports it
                self._again_at = time.monotonic() + _PAUSE
        return True
