"""Shards: servers with a constant time for a job, what they store and what waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.simulation.piles import Pile

if TYPE_CHECKING:
    from eventspool._operate.capacity import Constants

__all__ = ["Shard"]


class Shard:
    """A server: what it stores, what waits for it outside, and how busy it is."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.stored = Pile()
        self.outside = Pile()
        self.away_until = 0.0
        self.busy = 0.0
        self.busy_now = 0.0

    def memory(self, constants: Constants) -> float:
        """Return the bytes that it takes."""
        return self.stored.payload * constants.allocator_factor + self.stored.jobs * constants.job_bytes
