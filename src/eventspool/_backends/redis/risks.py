"""What a Redis server's settings put at risk, in sentences for the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._backends.redis.standing import find_movable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["format_size", "name_risks"]


def format_size(size: float) -> str:
    """Return a number of bytes for people."""
    return f"{size / (1 << 20):,.0f} MB" if size >= 10 << 20 else f"{size / (1 << 20):,.1f} MB"


def name_risks(
    info: Mapping[str, object], settings: Mapping[str, str] | None, max_bytes: int = 0
) -> list[str]:
    """
    Return a sentence on each setting with which events are lost.

    Args:
        info: The sections ``memory``, ``persistence``, ``cluster`` and ``server`` of ``INFO``.
        settings: ``save``, ``appendfsync`` and ``proto-max-bulk-len``; ``None`` where ``CONFIG GET`` is not allowed.
        max_bytes: Most bytes that a partition of the queue may hold.
    """
    risks = []
    policy = str(info.get("maxmemory_policy", ""))
    if policy.startswith("allkeys"):
        risks.append(
            f"evicts keys when its memory is full (maxmemory-policy {policy}): the whole queue would be lost. "
            "Set maxmemory-policy to noeviction."
        )
    elif policy.startswith("volatile"):
        risks.append(
            f"evicts keys that expire when its memory is full (maxmemory-policy {policy}): of the queue that is a lease which "
            "only processes of an older eventspool go by, and beside those its order can break. Set it to noeviction."
        )
    if info.get("aof_enabled") == 0:
        if settings is None:
            loss = "a crash loses what came after its last snapshot, if it takes any"
        elif settings.get("save"):
            loss = "a crash loses what came after its last snapshot"
        else:
            loss = "it takes no snapshots either, so a restart loses the whole queue"
        risks.append(f"keeps no append-only file (appendonly no): {loss}. Set appendonly to yes.")
    elif settings is not None and settings.get("appendfsync") == "no":
        risks.append(
            "leaves it to the operating system when to write to the disk (appendfsync no): a power cut loses what came in "
            "the last half minute or so. Set appendfsync to everysec or always."
        )
    movable = find_movable(info, settings)
    if max_bytes > movable:
        risks.append(
            f"is a node of a cluster that moves a partition to another node as one value. So a partition is full at "
            f"{format_size(movable)}, in the place of the {format_size(max_bytes)} that max_bytes allows. Give the queue more "
            "partitions (`eventspool queue resize`; none in strict order), or use Valkey 9 or Redis 8.4."
        )
    return risks
