"""What one claim over several partitions has found so far, and what it still takes. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._job import Claim

if TYPE_CHECKING:
    from eventspool._job import ClaimedJob

__all__ = ["Round"]


class Round:
    """What one claim has found so far, and what it still takes."""

    def __init__(self, limit: int, max_bytes: int | None) -> None:
        self.limit = max(limit, 1)
        self.max_bytes = max_bytes
        self.jobs: list[ClaimedJob] = []
        self.answers = 0
        self.waits: list[float] = []
        self.is_cut = False
        """There are more jobs than it takes."""
        self.obstacle = ""
        self.held_up = False
        self.gate: Claim | None = None
        """What the root said, where all processors stay away from the data plane."""

    @property
    def is_full(self) -> bool:
        """It has as many jobs as it takes."""
        return self.limit <= 0 or self.is_cut

    def add(self, claim: Claim, *, more: bool) -> None:
        """Add what a partition has handed out, and whether it may have *more*."""
        self.answers += 1
        self.jobs += claim.jobs
        self.limit -= len(claim.jobs)
        if self.max_bytes is not None and claim.jobs:
            self.max_bytes -= sum(len(job.payload or b"") for job in claim.jobs)
            self.is_cut = self.max_bytes <= 0 or claim.wait == 0.0
        if claim.wait is not None and not more:
            self.waits.append(claim.wait)
        self.obstacle = self.obstacle or claim.obstacle
        self.held_up = self.held_up or claim.held_up
        if claim.is_held_back or claim.is_probe:
            self.gate = claim

    def claim(self, wait: float | None) -> Claim:
        """Return all of it, and when the next claim may find something."""
        return Claim(tuple(self.jobs), wait, "" if self.jobs else self.obstacle, held_up=self.held_up)
