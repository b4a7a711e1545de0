"""
One connection that stays out of the driver's pool from one script to the next.

To take a connection out of the pool and to give it back costs a durable call as much as to write its command: the pool locks,
counts, and asks the system whether the server has closed the connection. A connection that a script has just used was open
then, and after a pause the pool looks after it again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from typing import Any

__all__ = ["KeptConnection"]

_FRESH = 0.05
"""Seconds after its last use in which a connection is taken for open. A server that restarts takes longer."""
_inherited: list[object] = []  # a forked child must not run the destructors of its parent's connections


class KeptConnection:
    """
    One connection, of whichever pool it came from. Safe between threads; a child takes none of its parent's.

    Args:
        least: Where the pool may have fewer connections than so many, none is kept from those who need one.
    """

    def __init__(self, least: int) -> None:
        self._least = least
        self._kept: deque[tuple[Any, Any, int, float]] = deque()

    def take(self, pool: Any) -> Any:
        """Return a connection of *pool*: the one that was kept, or one out of the pool."""
        try:
            kept = self._kept.pop()
        except IndexError:
            return pool.get_connection()
        connection, owner, pid, until = kept
        if owner is pool and pid == os.getpid() and time.monotonic() < until:
            return connection
        self._let_go(kept)
        return pool.get_connection()

    def keep(self, pool: Any, connection: Any) -> None:
        """Keep *connection*, which has served its call and was read to the end. Where one is kept already, give it back."""
        if self._kept or pool.max_connections < self._least:
            pool.release(connection)
        else:
            self._kept.append((connection, pool, os.getpid(), time.monotonic() + _FRESH))

    def drop(self) -> None:
        """Give back the connection that is kept."""
        with contextlib.suppress(IndexError):
            while True:
                self._let_go(self._kept.pop())

    def _let_go(self, kept: tuple[Any, Any, int, float]) -> None:
        connection, owner, pid, _ = kept
        if pid == os.getpid():
            owner.release(connection)
        else:
            _inherited.append(kept)
