"""What a class of faults may excuse: the answers, or the leases, of what was under way while one lasted. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torture.verdict import Window

__all__ = ["EVERYONE", "KILLS", "answer_may_be_lost", "lease_may_be_lost", "reached", "splits"]

KILLS = ("kill-producer", "kill-worker")
"""Faults that are not dealt but happen all the time. Many meet a process that has nothing to do yet."""
EVERYONE = "kill-everyone"
_SILENT = ("plane-took-it-silently", "plane-half-an-answer", "plane-hang", "plane-kill", "plane-stop")
_BEFORE, _AFTER = 1.0, 2.0
"""
Seconds around a fault in which it may be to blame: what was under way when it began, and what it held up and released. A
request may take 1.5 s, and a lease lasts as long.
"""


def answer_may_be_lost(fault: str) -> bool:
    """Whether the data plane may take a batch during *fault* and its sender not hear of it, or too late."""
    return fault in _SILENT or fault.startswith(("plane-link-", "stop-"))


def lease_may_be_lost(fault: str) -> bool:
    """Whether a process may lose a lease during *fault*, or be unable to record what it has delivered."""
    of_queue = fault.startswith(("redis-", "disk-", "file-"))
    return of_queue or fault in ("clock-step", "stop-producer", "stop-worker", "rolling-restart")


def splits(fault: str) -> bool:
    """Whether batches go in parts during *fault*: each of them is a request, and a batch may be ended in the middle."""
    return fault in ("plane-413", "plane-poison", "plane-poison-named")


def reached(moment: float, windows: Sequence[Window]) -> bool:
    """Whether one of *windows* may be to blame for what happened at *moment*."""
    return any(window.begin - _BEFORE <= moment <= window.end + _AFTER for window in windows)
