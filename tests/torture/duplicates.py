"""
How often a batch may arrive again: what was under way when its process was killed, or its answer or its lease was lost. Pure.

Around faults that lose answers or leases any batch may, and nothing is counted there. Anywhere else a repeat needs a kill of
its own: one that came about when the batch had arrived, and that has not yet explained as many batches as a process has
under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torture.causes import EVERYONE, KILLS, answer_may_be_lost, lease_may_be_lost, reached, splits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torture.history import History
    from torture.verdict import Window

__all__ = ["unexplained_repeats"]

_BEFORE, _AFTER = 1.0, 2.0
"""Seconds from a kill back to the arrivals that it left unrecorded, and on to those that were still on their way."""


def unexplained_repeats(
    history: History, windows: Sequence[Window], *, under_way: int, processes: int
) -> list[str]:
    """
    Return the first event of each request that repeated others for no reason.

    Args:
        history: What arrived when.
        windows: The faults and kills.
        under_way: Batches that a process may hold at once.
        processes: How many there are at once.
    """
    blamed = [
        window
        for window in windows
        if answer_may_be_lost(window.fault) or lease_may_be_lost(window.fault) or splits(window.fault)
    ]
    left = {
        number: [window.begin, under_way * (processes if window.fault == EVERYONE else 1)]
        for number, window in enumerate(sorted(windows, key=lambda window: window.begin))
        if window.fault in (*KILLS, EVERYONE)
    }
    found = []
    for before, again, message_id in sorted(_repeats(history)):
        if reached(before, blamed) or reached(again, [w for w in blamed if splits(w.fault)]):
            continue
        for number, (kill, _) in left.items():
            if before - _AFTER <= kill <= before + _BEFORE and kill <= again:
                left[number][1] -= 1
                if not left[number][1]:
                    del left[number]
                break
        else:
            found.append(f"{message_id} came at {before:.2f} and {again:.2f}")
    return found


def _repeats(history: History) -> list[tuple[float, float, str]]:
    """Return for each request that repeated something: the last arrival before, its own, and one of the events."""
    repeats: dict[float, tuple[float, str]] = {}
    for message_id, arrival in history.arrivals.items():
        for before, again in zip(arrival.moments, arrival.moments[1:], strict=False):
            repeats[again] = max(repeats.get(again, (0.0, "")), (before, message_id))
    return [(before, again, message_id) for again, (before, message_id) in repeats.items()]
