"""The minutes that a queue has noted, as points of a chart: no more of them than a chart has room for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._history import Minute

__all__ = ["points"]

_GAP_SECONDS = 150.0
"""Two notes that are further apart have a gap between them: no processor was there."""


def points(
    minutes: Sequence[tuple[float, Minute]], now: float, span: float, most: int
) -> list[dict[str, Any]]:
    """
    Return the points of the last *span* seconds, the oldest first.

    Args:
        minutes: When each was noted (seconds since the epoch), and what, the newest first.
        now: Seconds since the epoch.
        span: Seconds.
        most: How many points at most. Of the minutes of one point the last one counts, and the worst of what may stand out.
    """
    step = max(60.0, span / most)
    groups: list[list[tuple[float, Minute]]] = []
    for at, minute in reversed(minutes):
        if not now - span - step <= at <= now + step:
            continue
        if groups and int(groups[-1][0][0] / step) == int(at / step):
            groups[-1].append((at, minute))
        else:
            groups.append([(at, minute)])
    found = []
    before: tuple[float, Minute] | None = None
    for group in groups:
        at, last = group[-1]
        seconds = at - before[0] if before else 0.0
        known = before is not None and 0 < group[0][0] - before[0] <= _GAP_SECONDS
        found.append(
            {
                "at": at,
                "into": _rate(before[1].accepted, last.accepted, seconds) if known and before else None,
                "out": _rate(before[1].delivered, last.delivered, seconds) if known and before else None,
                "pending": max(each.pending for _, each in group),
                "failed": last.failed,
                "oldest_age": max(each.oldest_age for _, each in group),
                **{name: _worst(group, name) for name in ("lag_p50", "lag_p95", "lag_p99")},
            }
        )
        before = (at, last)
    return found


def _rate(before: int, after: int, seconds: float) -> float | None:
    return (after - before) / seconds if after >= before and seconds > 0 else None


def _worst(group: Sequence[tuple[float, Minute]], name: str) -> float | None:
    return max((value for _, each in group if (value := getattr(each, name)) is not None), default=None)
