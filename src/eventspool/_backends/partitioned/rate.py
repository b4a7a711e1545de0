"""
How the processors of a queue of several partitions keep to the one rate of all of them.

Where the rate were divided among the partitions, a queue with one busy user would send a part of it only, and after a silence
a batch larger than a part's burst would go in each of them. So the root keeps it. A claim is told afterwards how many of its
jobs go, and gives the others back, which costs them no attempt. Then this process leaves the partitions alone for a while.

While the root is away, each process keeps to its share of the rate by itself.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from eventspool._backends.fleet import Budget
from eventspool._claim import LIMITED, Claim
from eventspool._envelope import count_events
from eventspool._exceptions import QueueUnavailable

if TYPE_CHECKING:
    from eventspool._backends.partitioned.member import Member
    from eventspool._claim import ClaimedJob

__all__ = ["SharedRate"]

_LONGEST: Final = 5.0
"""Most seconds for which a process does not ask again: what the root has written down may be damaged, and mended."""


class SharedRate:
    """
    What one process knows of the rate of all.

    Args:
        root: The partition that keeps it.
    """

    def __init__(self, root: Member) -> None:
        self._root = root
        self._full: tuple[float, float] = (0.0, 0.0)
        self._paid = 0

    def find_obstacle(self, rate: float) -> Claim | None:
        """Return what a claim by *rate* comes to that need not ask: it was told a moment ago that nothing goes yet."""
        known, until = self._full
        left = until - time.monotonic()
        return Claim((), left, LIMITED) if rate == known and left > 0 else None

    def limit(self, claim: Claim, rate: float, live: int) -> tuple[Claim, tuple[ClaimedJob, ...]]:
        """
        Return *claim* with the jobs that go by *rate*, and the others, which are to be given back.

        Args:
            claim: What the partitions have handed out.
            rate: Events in a second, of all processors.
            live: How many processors there are.
        """
        if not claim.jobs:
            return claim, ()
        sizes = [count_events(job.payload or b"") for job in claim.jobs]
        try:
            if self._root.is_left_alone(time.monotonic()):
                count, wait = self._spend_alone(sizes, rate / live)
            else:
                count, wait = self._root.ask(self._root.backend.spend, rate, sizes)
        except QueueUnavailable:
            count, wait = self._spend_alone(sizes, rate / live)
        if count == len(sizes):
            return claim, ()
        self._full = rate, time.monotonic() + min(wait, _LONGEST)
        jobs = claim.jobs[:count]
        return replace(claim, jobs=jobs, wait=wait, obstacle="" if jobs else LIMITED), claim.jobs[count:]

    def _spend_alone(self, sizes: list[int], rate: float) -> tuple[int, float]:
        now = round(time.monotonic() * 1e6)
        count, budget, wait = Budget(rate, self._paid).take(sizes, now)
        self._paid = budget.paid
        return count, wait / 1e6
