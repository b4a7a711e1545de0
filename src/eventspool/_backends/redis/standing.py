"""What a server is among others: alone, a replica, a node of a cluster, or a sentinel, which keeps no queue at all."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from eventspool._backends.redis.codec import decode_text
from eventspool._backends.redis.errors import error_code, find_place, find_refusal
from eventspool._config.redis_url import join_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventspool._config.redis_url import Address

__all__ = [
    "find_advice",
    "find_master",
    "find_movable",
    "is_clustered",
    "is_sentinel",
    "moves_at_once",
    "name_services",
    "read_version",
]

_USUAL_VALUE: Final = 512 << 20
"""Most bytes of a value that a server takes (``proto-max-bulk-len``) where it does not tell, as managed ones do not."""
_ATOMIC: Final = {"valkey": (9, 0), "redis": (8, 4)}
"""Since when the servers move a slot bit by bit while they serve it."""


def is_sentinel(info: Mapping[str, object]) -> bool:
    """Say whether the server that tells *info* of itself is a sentinel."""
    return "sentinel" in (info.get("redis_mode"), info.get("server_mode"))


def is_clustered(info: Mapping[str, object]) -> bool:
    """Say whether the server that tells *info* of itself is a node of a cluster."""
    return info.get("cluster_enabled") == 1


def find_master(info: Mapping[str, object]) -> Address | None:
    """Return of which master the server is a replica that tells *info* of itself, ``None`` where it is none."""
    if info.get("role") != "slave":
        return None
    return str(info.get("master_host", "")), int(str(info.get("master_port", 0)))


def read_version(info: Mapping[str, object]) -> tuple[str, tuple[int, ...]]:
    """Return which kind of server it is, ``redis`` or ``valkey``, and its version."""
    name = "valkey" if info.get("valkey_version") else "redis"
    told = str(info.get(f"{name}_version", ""))
    return name, tuple(int(part) for part in told.split(".")[:2] if part.isdecimal())


def moves_at_once(info: Mapping[str, object]) -> bool:
    """Say whether the cluster can move a partition of any size, as far as the node tells in *info*."""
    name, version = read_version(info)
    return not version or version >= _ATOMIC[name]


def find_movable(info: Mapping[str, object], settings: Mapping[str, str] | None) -> float:
    """
    Return most bytes of a partition that the cluster can move from one node to another; infinity where size does not matter.

    Before Valkey 9 and Redis 8.4 a node moves the payloads of a partition as one value. It answers nothing meanwhile, some 3
    seconds for 200 MB. Another node takes no value above its ``proto-max-bulk-len``: the move then fails halfway, and leaves
    the queue in two parts that answer nothing. Half of that leaves room for ids, and for what is between two values.

    Args:
        info: The sections ``cluster`` and ``server`` of ``INFO``.
        settings: ``proto-max-bulk-len``; ``None`` where ``CONFIG GET`` is not allowed.
    """
    if not is_clustered(info) or moves_at_once(info):
        return float("inf")
    told = (settings or {}).get("proto-max-bulk-len", "")
    return (int(told) if told.isdecimal() and int(told) else _USUAL_VALUE) // 2


def find_advice(client: Any, error: Exception) -> str:
    """
    Return what the caller should write into the URL, where the server of *client* cannot keep a queue; else "".

    It asks the server, and returns "" where it gets no answer, too.
    """
    refusal = find_refusal(error)
    is_unknown = refusal is not None and refusal.kind == "unknown"
    if client is None or not (is_unknown or error_code(error) == "READONLY"):
        return ""
    with contextlib.suppress(Exception):  # the error itself says enough
        if not is_unknown:
            master = find_master(client.info("replication"))
            return f"its master is {join_address(master)}" if master else ""
        alone = _without_database(client)
        try:
            if is_sentinel(alone.info("server")):
                address = find_place(client).address
                return f"write redis+sentinel://{address}/{' or /'.join(name_services(alone)) or 'NAME'}"
        finally:
            alone.close()
    return ""


def name_services(client: Any) -> list[str]:
    """Return the names of the masters that the sentinel of *client* watches."""
    return [_service_of(each) for each in client.execute_command("SENTINEL", "MASTERS")]


def _service_of(told: Any) -> str:
    words = [decode_text(each) for each in told]
    return dict(zip(words[::2], words[1::2], strict=False)).get("name", "")


def _without_database(client: Any) -> Any:
    """Return a client that selects no database, which a sentinel does not know."""
    pool = client.connection_pool
    settings = {**pool.connection_kwargs, "db": 0}
    return type(client)(connection_pool=type(pool)(connection_class=pool.connection_class, **settings))
