"""What a Redis server's settings put at risk, in sentences for the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._backends.redis.standing import MOST_MOVABLE_BYTES, is_clustered, moves_at_once

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["name_risks"]


def name_risks(
    info: Mapping[str, object], settings: Mapping[str, str] | None, max_bytes: int = 0
) -> list[str]:
    """
    Return a sentence on each setting with which events are lost.

    Args:
        info: The sections ``memory``, ``persistence``, ``cluster`` and ``server`` of ``INFO``.
        settings: ``save`` and ``appendfsync``; ``None`` where ``CONFIG GET`` is not allowed.
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
    if is_clustered(info) and max_bytes > MOST_MOVABLE_BYTES and not moves_at_once(info):
        risks.append(
            f"is a node of a cluster that can move no partition of more than {MOST_MOVABLE_BYTES >> 20} MB to another node in "
            f"good time, and one may hold {max_bytes >> 20} MB here. Give the queue more partitions, or a smaller max_bytes."
        )
    return risks
