"""What one claim over several partitions has found so far, and what it still takes. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eventspool._claim import PAUSED, Claim

if TYPE_CHECKING:
    from eventspool._claim import ClaimedJob, ClaimTerms

__all__ = ["Round"]


class Round:
    """
    What one claim has found so far, and what it still takes.

    Args:
        terms: Those of the claim. The rate is not a partition's affair: what all of them hand out is paid for at the root.
    """

    def __init__(self, terms: ClaimTerms) -> None:
        self.left = replace(terms, limit=max(terms.limit, 1), events_per_second=None)
        """The terms of the next claim from a partition."""
        self.jobs: list[ClaimedJob] = []
        self.answers = 0
        self.waits: list[float] = []
        self.is_cut = False
        """There are more jobs than it takes."""
        self.obstacle = ""
        self.held_up = False
        self.gate: Claim | None = None
        """What the root said, where all processors stay away from the data plane, or the queue is paused."""

    @property
    def is_full(self) -> bool:
        """It has as many jobs as it takes."""
        return self.left.limit <= 0 or self.is_cut

    def add(self, claim: Claim, *, more: bool) -> None:
        """Add what a partition has handed out, and whether it may have *more*."""
        self.answers += 1
        self.jobs += claim.jobs
        left = self.left.max_bytes
        if left is not None and claim.jobs:
            left -= sum(len(job.payload or b"") for job in claim.jobs)
            self.is_cut = left <= 0 or claim.wait == 0.0
        self.left = replace(self.left, limit=self.left.limit - len(claim.jobs), max_bytes=left)
        if claim.wait is not None and not more:
            self.waits.append(claim.wait)
        self.obstacle = self.obstacle or claim.obstacle
        self.held_up = self.held_up or claim.held_up
        if claim.is_held_back or claim.is_probe or claim.obstacle == PAUSED:
            self.gate = claim

    def claim(self, wait: float | None) -> Claim:
        """Return all of it, and when the next claim may find something."""
        return Claim(tuple(self.jobs), wait, "" if self.jobs else self.obstacle, held_up=self.held_up)
