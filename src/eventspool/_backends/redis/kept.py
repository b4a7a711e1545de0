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
from typing import Any

from eventspool._backends.redis.client import LEAST_CONNECTIONS

__all__ = ["KeptConnection"]

_FRESH = 0.05
"""Seconds after its last use in which a connection is taken for open. A server that restarts takes longer."""
_inherited: list[object] = []  # a forked child must not run the destructors of its parent's connections


class KeptConnection:
    """One connection of each pool it is used with. Safe between threads; a child takes none of its parent's."""

    def __init__(self) -> None:
        self._kept: dict[Any, tuple[Any, int, float]] = {}

    def take(self, pool: Any) -> Any:
        """Return a connection of *pool*: the one that was kept, or one out of the pool."""
        kept = self._kept.pop(pool, None)
        if kept is None:
            return pool.get_connection()
        connection, pid, until = kept
        if pid == os.getpid() and time.monotonic() < until:
            return connection
        _let_go(pool, kept)
        return pool.get_connection()

    def keep(self, pool: Any, connection: Any) -> None:
        """
        Keep *connection*, which has served its call and was read to the end.

        It is given back where one is kept already, and where the pool has only as many as a client needs at once.
        """
        if pool.max_connections > LEAST_CONNECTIONS:
            kept = connection, os.getpid(), time.monotonic() + _FRESH
            if (
                self._kept.setdefault(pool, kept) is kept
            ):  # in one step: another thread may keep one at this instant
                return
        pool.release(connection)

    def drop(self) -> None:
        """Give back what is kept."""
        with contextlib.suppress(KeyError):
            while True:
                _let_go(*self._kept.popitem())


def _let_go(pool: Any, kept: tuple[Any, int, float]) -> None:
    connection, pid, _ = kept
    if pid == os.getpid():
        pool.release(connection)
    else:
        _inherited.append((pool, kept))
