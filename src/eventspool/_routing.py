"""Where a job whose order matters belongs: the partition of its queue, and the lanes in it."""

from dataclasses import dataclass
from zlib import crc32

__all__ = [
    "ALL_LANES",
    "LANES",
    "Route",
    "Routing",
]

LANES = 16
"""Lanes of a partition. A user's events stay in one. A job goes out when no earlier unfinished job shares a lane with it."""
ALL_LANES = (1 << LANES) - 1


@dataclass(frozen=True, slots=True)
class Route:
    """
    Where a job whose order matters belongs.

    Args:
        generation: The division of the queue into partitions that it was made for.
        partition: The partition of that division, counted from 0.
    """

    generation: int
    partition: int


@dataclass(frozen=True, slots=True)
class Routing:
    """
    How a queue that keeps the order per user is divided at present.

    Args:
        generation: Counts the divisions: each change of the number of partitions makes a new one.
        partitions: How many partitions take new jobs.
    """

    generation: int
    partitions: int

    def place(self, user: bytes) -> tuple[int, int]:
        """Return the partition and the lane of *user*, an id as it stands in the event's JSON."""
        number = crc32(user)
        return number % self.partitions, (number >> 16) % LANES
