"""Wake-ups that no thread can miss: a bell that counts its rings, and remembers which of them each thread has heard."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Bell"]

_FIRST_POLL = 0.02
_LAST_POLL = 0.25


class _Heard(threading.local):
    """The rings and interrupts that a thread knows of."""

    ring: object = (0, b"")
    interrupts: int = 0


class Bell:
    """
    Wakes the threads that wait for jobs.

    A thread that found nothing to claim calls ``heard`` inside the same atomic step. A ring after that step ends its wait,
    even a ring before the thread has begun to wait. Two threads never take each other's rings away.

    Args:
        listen: Returns a mark that another process changes when it rings. A wait polls it, first after 20 ms, then at growing
            intervals of up to 250 ms.
    """

    def __init__(self, listen: Callable[[], bytes] | None = None) -> None:
        self._listen = listen
        self._condition = threading.Condition()
        self._rings = 0
        self._interrupts = 0
        self._heard = _Heard()

    def ring(self) -> None:
        """Wake every waiting thread of this process: there may be something to claim."""
        with self._condition:
            self._rings += 1
            self._condition.notify_all()

    def interrupt(self) -> None:
        """End the wait of every thread. A thread that is not waiting ends its next wait at once."""
        with self._condition:
            self._interrupts += 1
            self._condition.notify_all()

    def heard(self) -> None:
        """Note that the calling thread has just found nothing to claim."""
        self._heard.ring = self._mark()

    def wait(self, timeout: float) -> bool:
        """Block until a ring that this thread has not heard (True), or until an interrupt or the timeout (False)."""
        deadline = time.monotonic() + timeout
        poll = _FIRST_POLL
        with self._condition:
            while True:
                if self._heard.interrupts != self._interrupts:
                    self._heard.interrupts = self._interrupts
                    return False
                mark = self._mark()
                if self._heard.ring != mark:
                    # A thread that only waits never calls `heard`: without this it would hear of one ring for ever.
                    self._heard.ring = mark
                    return True
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._condition.wait(left if self._listen is None else min(left, poll))
                poll = min(poll * 1.5, _LAST_POLL)

    def _mark(self) -> object:
        return self._rings, self._listen() if self._listen is not None else b""
