"""What a Redis server's settings put at risk, in sentences for the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["name_risks"]


def name_risks(info: Mapping[str, object], settings: Mapping[str, str] | None) -> list[str]:
    """
    Return a sentence on each setting with which events are lost.

    Args:
        info: The sections ``memory`` and ``persistence`` of ``INFO``.
        settings: ``save`` and ``appendfsync``; ``None`` where ``CONFIG GET`` is not allowed.
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
    return risks
