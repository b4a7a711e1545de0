"""
How a time was distributed: how often it fell between which bounds. Pure.

A percentile of one processor says nothing of all of them together, as two percentiles cannot be added. Counts can: of several
processors, and of any span of time. So processors tell counts.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "LAG_BOUNDS",
    "REQUEST_BOUNDS",
    "Distribution",
    "Tally",
    "add_up",
    "grown_since",
    "percentile",
    "read_distribution",
]

REQUEST_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds of a request: the bounds of OpenTelemetry's semantic conventions."""
LAG_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)
"""Seconds from the making of a batch to its delivery, at once or after a long outage."""
_ABOVE = "more"
_MOST = 1 << 60
"""Counts above this are rubbish: they would be no whole numbers any more as a float."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """
    Times, in seconds, by the bounds between which they fell.

    Args:
        bounds: In rising order.
        counts: How many times were at most as long as the bound of the same position, and longer than the one before. The
            last one, which has no bound, counts those that were longer than all.
        total: The sum of all times.
    """

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    total: float

    @property
    def count(self) -> int:
        """How many times there were."""
        return sum(self.counts)


class Tally:
    """
    Counts times as they come. Only one thread may use it.

    Args:
        bounds: As in ``Distribution``.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0

    def add(self, seconds: float) -> None:
        """Count one time. A negative one, of clocks that disagree, is counted as none at all."""
        seconds = max(seconds, 0.0)
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._total += seconds

    def note(self) -> dict[str, object]:
        """Return what ``read_distribution`` reads: what was never met is left out, so that it stays small."""
        names = [*(f"{bound:g}" for bound in self._bounds), _ABOVE]
        counts = {name: count for name, count in zip(names, self._counts, strict=True) if count}
        return {"total": round(self._total, 3), "counts": counts}


def read_distribution(bounds: Sequence[float], note: object) -> Distribution | None:
    """
    Return what *note* says, ``None`` where it says nothing that can be read.

    A release with other bounds may have written it: what it counted up to a bound of its own is counted up to the next one
    of *bounds*.
    """
    if not isinstance(note, dict):
        return None
    total, named = note.get("total"), note.get("counts")
    if isinstance(total, bool) or not isinstance(total, int | float) or not isinstance(named, dict):
        return None
    if not 0 <= total < _MOST:
        return None
    counts = [0] * (len(bounds) + 1)
    for name, count in named.items():
        try:
            bound = float("inf") if name == _ABOVE else float(name)
        except ValueError:
            return None
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < _MOST:
            return None
        counts[bisect_left(bounds, bound)] += count
    return Distribution(tuple(bounds), tuple(counts), float(total))


Distribution.__module__ = "eventspool"  # what help, tracebacks and pickle say: this module may change


def add_up(distributions: Iterable[Distribution]) -> Distribution | None:
    """Return all times of *distributions*, which have the same bounds, in one; ``None`` of none."""
    found = list(distributions)
    if not found:
        return None
    counts = tuple(map(sum, zip(*(each.counts for each in found), strict=True)))
    return Distribution(found[0].bounds, counts, sum(each.total for each in found))


def grown_since(before: Distribution, after: Distribution) -> Distribution:
    """Return the times that were counted between two looks at one processor."""
    counts = tuple(max(new - old, 0) for new, old in zip(after.counts, before.counts, strict=True))
    return Distribution(after.bounds, counts, max(after.total - before.total, 0.0))


def percentile(distribution: Distribution, share: float) -> float | None:
    """
    Return the time that the *share* (0 to 1) of all times did not exceed, as if they lay evenly between two bounds.

    ``None`` where there were no times. Of those above the last bound it is only known that they are: it stands for them.
    """
    wanted = share * distribution.count
    lower, passed = 0.0, 0
    for bound, count in zip(distribution.bounds, distribution.counts, strict=False):
        if count and passed + count >= wanted:
            return lower + (bound - lower) * max(wanted - passed, 0.0) / count
        lower, passed = bound, passed + count
    return lower if distribution.count else None
