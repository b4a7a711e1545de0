"""
How much room the store of a queue has, for those who want to know how soon it is full.

The bounds of a queue are no help where the server is shared: it is full when the sum of all that it keeps is.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eventspool._config import RedisOpts, SQLiteOpts

if TYPE_CHECKING:
    from eventspool._config import QueueOpts

__all__ = ["Room", "StorageReader", "redis_room"]


@dataclass(frozen=True, slots=True)
class Room:
    """
    The room of a store.

    Args:
        store: Its kind: ``redis`` or ``sqlite``.
        used: Bytes that it uses.
        limit: Bytes that it can use at most; 0 where that is not known.
    """

    store: str
    used: int
    limit: int


class StorageReader:
    """
    Asks the store of one queue, on a connection of its own. Safe between threads.

    Args:
        opts: The queue. Of one with several partitions, the server of the first is asked.
    """

    def __init__(self, opts: QueueOpts) -> None:
        self._opts = opts
        self._source: Any = None

    def read(self) -> Room | None:
        """Return what the store says, ``None`` where it does not. Never raises: other readings must not suffer."""
        target = self._opts.target
        if isinstance(target, SQLiteOpts):
            return _sqlite_room(str(target.path))
        if isinstance(target, RedisOpts):
            try:
                return self._ask(target)
            except Exception:  # noqa: BLE001 - a driver raises anything; that the server is away is said by queue.up
                self.close()
        return None

    def close(self) -> None:
        """Close the connection; the next reading makes a new one."""
        source, self._source = self._source, None
        if source is not None:
            with contextlib.suppress(Exception):
                source.close()

    def _ask(self, target: RedisOpts) -> Room | None:
        from eventspool._backends.redis.settings import ask_info
        from eventspool._backends.redis.topology import open_source

        source = self._source = self._source or open_source(target)
        client = source.client_for(f"{self._opts.prefix}:{{{self._opts.queue_name}:0}}:m")
        return redis_room(ask_info(client, "memory"))


def redis_room(info: dict[str, object]) -> Room | None:
    """Return what the section ``memory`` of Redis' ``INFO`` says; ``None`` where the user may not ask for it."""
    used, limit = info.get("used_memory"), info.get("maxmemory") or info.get("total_system_memory")
    if not isinstance(used, int):
        return None
    return Room("redis", used, limit if isinstance(limit, int) else 0)


def _sqlite_room(path: str) -> Room | None:
    from eventspool._backends.sqlite.space import room_on

    used = 0
    for name in (path, f"{path}-wal"):
        with contextlib.suppress(OSError):
            used += os.stat(name).st_size  # noqa: PTH116 - plain strings, as in the backend
    try:
        room = room_on(os.path.dirname(os.path.abspath(path)))  # noqa: PTH100, PTH120
    except OSError:
        return None
    return Room("sqlite", used, used + room[0] if room else 0)
