"""What is played, and how it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventspool._operate.capacity import Load

__all__ = ["Outcome", "Setup"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """
    A scenario. Times are in seconds.

    Args:
        load: Rate, producers, flush rules, ordering, bounds: as ``eventspool capacity`` takes them. Its ``partitions`` are
            the shards, its ``max_bytes`` is divided among them.
        seconds: How long events come.
        skew: Spread of the producers' rates: the sigma of a log-normal distribution.
        outage: When the data plane is away, and for how long.
        failovers: How many shards lose their node, at random times.
        away: How long such a shard is away, from and to.
        behind: How far a promoted replica is behind. Without ``durability="replicated"`` that much is lost.
        processors: Processes that deliver; ``None``: as many as the plan has.
        patience: How long to wait for the last event, after the load has ended.
    """

    load: Load
    seconds: float = 600.0
    skew: float = 1.0
    outage: tuple[float, float] = (60.0, 180.0)
    failovers: int = 8
    away: tuple[float, float] = (3.0, 4.5)
    behind: float = 0.0
    processors: int | None = None
    patience: float = 3600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How it went. Events but where it says otherwise.

    Args:
        accepted: By the producers.
        refused: Because neither queue nor memory nor spill file had room.
        delivered: To the data plane.
        waiting: Still anywhere at the end.
        lost: With a node whose replica was behind.
        events_per_batch: On average.
        jobs_per_second: While the load lasted.
        peak_shard_bytes: Most memory that the fullest shard took.
        peak_outside: Most that waited in memory and spill files of all producers together.
        peak_spill_bytes: Most that the spill file of one producer held.
        utilisation: Share of a core that the shards were busy, on average over the whole run.
        busiest: The same of the busiest shard.
        commit_p99_ms: Time of a commit in ms, of 99 out of 100 jobs.
        latency: Share -> seconds from the call to the delivery: 0.5, 0.99, and 1.0 for the longest.
        calm_p99: The same for 99 out of 100 events that were delivered before the outage.
        drain_seconds: From the outage's end until no more waits than a second's events; ``None`` if that never was.
    """

    accepted: int
    refused: int
    delivered: int
    waiting: int
    lost: int
    events_per_batch: float
    jobs_per_second: float
    peak_shard_bytes: float
    peak_outside: int
    peak_spill_bytes: float
    utilisation: float
    busiest: float
    commit_p99_ms: float
    latency: dict[float, float]
    calm_p99: float
    drain_seconds: float | None
