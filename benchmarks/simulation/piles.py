"""Events in one place, the oldest first, and how often a value occurred. Nothing is made or lost by rounding."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import accumulate
from math import ceil, log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Cohort", "Histogram", "Pile", "share_out"]

_STEP = 1.05
"""Ratio of two neighbouring values that are told apart."""


@dataclass(slots=True)
class Cohort:
    """
    Events that were flushed in one tick and are in one place.

    Args:
        since: When they were tracked, on average.
        events: How many they are.
        jobs: How many jobs they are, which may be no whole number: it is an average.
        payload: Their stored bytes.
        spread: By how much some of them were tracked earlier, and others later.
    """

    since: float
    events: int
    jobs: float
    payload: float
    spread: float = 0.0


@dataclass(slots=True)
class Pile:
    """Cohorts, the oldest first."""

    cohorts: deque[Cohort] = field(default_factory=deque)
    events: int = 0
    jobs: float = 0.0
    payload: float = 0.0

    def put(self, cohort: Cohort) -> None:
        self.cohorts.append(cohort)
        self.events += cohort.events
        self.jobs += cohort.jobs
        self.payload += cohort.payload

    def take(self, jobs: float, events: int) -> list[Cohort]:
        """Take the oldest away: at most so many *jobs* and *events*."""
        taken = []
        while self.cohorts and jobs > 1e-9 and events > 0:
            head = self.cohorts[0]
            if head.jobs <= jobs and head.events <= events:
                part = self.cohorts.popleft()
            else:
                share = min(jobs / head.jobs, events / head.events)
                count = int(head.events * share)
                if not count:
                    break
                share = count / head.events
                part = Cohort(head.since, count, head.jobs * share, head.payload * share, head.spread)
                head.events -= count
                head.jobs -= part.jobs
                head.payload -= part.payload
            jobs -= part.jobs
            events -= part.events
            self.events -= part.events
            self.jobs -= part.jobs
            self.payload -= part.payload
            taken.append(part)
        return taken

    def drop_since(self, moment: float) -> int:
        """Forget what came after *moment*, and return how many events that were."""
        lost = 0
        while self.cohorts and self.cohorts[-1].since > moment:
            last = self.cohorts.pop()
            lost += last.events
            self.events -= last.events
            self.jobs -= last.jobs
            self.payload -= last.payload
        return lost


class Histogram:
    """How often values occurred, told apart to five in a hundred."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, value: float, count: float) -> None:
        self._counts[ceil(log(max(value, 1e-6)) / log(_STEP))] += count  # type: ignore[assignment]

    def at(self, share: float) -> float:
        wanted = share * sum(self._counts.values())
        steps = sorted(self._counts)
        for step, so_many in zip(steps, accumulate(self._counts[step] for step in steps), strict=True):
            if so_many >= wanted * (1 - 1e-12):
                return float(_STEP**step)
        return 0.0


def share_out(count: int, weights: Sequence[float]) -> list[int]:
    """Return *count* cut into whole numbers in the ratio of *weights*."""
    total = sum(weights)
    marks = [int(count * part / total + 1e-9) for part in accumulate(weights)]
    marks[-1] = count
    return [high - low for low, high in zip([0, *marks], marks, strict=False)]
