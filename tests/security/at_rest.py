"""What somebody finds who takes the storage away."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import redis

if TYPE_CHECKING:
    from e2e.harness import Store


def stored_bytes(store: Store) -> bytes:
    """Return every byte that *store* keeps: the whole file and its log, or every key of its queue."""
    if store.kind == "sqlite":
        file = Path(store.url.removeprefix("sqlite:///"))
        return b"".join(part.read_bytes() for part in sorted(file.parent.glob(f"{file.name}*")))
    with redis.Redis.from_url(store.url) as server:
        return b"".join(
            b"".join(_values(server, key)) for key in server.scan_iter(match=f"*{store.queue_name}:*")
        )


def _values(server: redis.Redis, key: bytes) -> list[bytes]:
    kind = server.type(key)
    if kind == b"hash":
        return [key, *(part for pair in server.hgetall(key).items() for part in pair)]
    if kind == b"zset":
        return [key, *server.zrange(key, 0, -1)]
    if kind == b"list":
        return [key, *server.lrange(key, 0, -1)]
    assert kind in (b"string", b"none"), kind
    return [key, server.get(key) or b""]


def stored_payloads(store: Store) -> list[bytes]:
    """Return the payload of every job in *store*, as it is stored."""
    if store.kind == "sqlite":
        db = sqlite3.connect(store.url.removeprefix("sqlite:///"))
        payloads = [payload for (payload,) in db.execute("select payload from payloads")]
        db.close()
        return payloads
    with redis.Redis.from_url(store.url) as server:
        return server.hvals(f"hightouch:{{{store.queue_name}:0}}:d")
