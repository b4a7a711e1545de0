"""
How many events a job has: what the flush rules of a producer make of its rate, and what order per user makes of that.

A flusher moves what waits when there are ``flush_at`` events or ``flush_interval`` is over, but under load four times a second
at most, unless a thousand events wait. Then it cuts the events into batches: of ``max_batch_bytes``, and with order per user
at least one for each partition that has some of them, and more where each of these has events enough for batches of few lanes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from eventspool._config import Ordering
from eventspool._routing import LANES

if TYPE_CHECKING:
    from eventspool._operate.capacity.constants import Constants
    from eventspool._operate.capacity.load import Load

__all__ = [
    "COMMIT_JOBS",
    "PACE",
    "Batches",
    "count_flushed",
    "count_ordered",
    "count_plenty",
    "form_batches",
    "spread",
]

PACE = 0.25
"""Seconds between two flushes under load."""
_PLENTY = 1000
"""Events that are flushed sooner than that."""
COMMIT_JOBS = 8
"""Most jobs that a producer commits at once."""


_FEW = 64
"""Events that are worth a batch of few lanes of a partition. Fewer share one."""


@dataclass(frozen=True, slots=True)
class Batches:
    """
    What becomes of the events of a load.

    Args:
        events_per_flush: What a producer moves at once.
        events_per_batch: Events of a job.
        jobs_per_commit: Jobs of a commit.
        jobs_per_second: Of all producers together.
        wait_seconds: The longest that an event waits for its flush.
    """

    events_per_flush: float
    events_per_batch: float
    jobs_per_commit: float
    jobs_per_second: float
    wait_seconds: float


def count_plenty(flush_at: int, max_internal_queue_size: int) -> int:
    """Return how many events have a producer flush again at once."""
    return max(flush_at, min(_PLENTY, max_internal_queue_size // 4))


def count_flushed(rate: float, flush_at: int, flush_interval: float, plenty: float) -> float:
    """Return how many events a producer of *rate* events a second moves at once."""
    by_time = 1 + rate * flush_interval  # the first event starts the clock
    if by_time < flush_at:
        return by_time
    return max(flush_at, min(rate * PACE, by_time, plenty))


def spread(events: float, partitions: int) -> float:
    """Return into how many partitions the users of so many *events* fall, on average."""
    nobody: float = (1 - 1 / partitions) ** events
    return partitions * (1 - nobody)


def count_ordered(events: float, partitions: int, flush_at: int) -> float:
    """Return how many batches a flush of so many *events* becomes, where the order per user is kept."""
    reached = spread(events, partitions)
    return reached * max(1, min(LANES, events / reached // max(flush_at, _FEW)))


def form_batches(load: Load, constants: Constants, partitions: int) -> Batches:
    """Return the batches of *load*, whose queue has so many *partitions*."""
    rate = load.events_per_producer
    if load.durability == "buffered":
        plenty = count_plenty(load.flush_at, load.max_internal_queue_size)
        flushed = count_flushed(rate, load.flush_at, load.flush_interval, plenty)
    else:  # calls that wait share the next commit
        acknowledged = constants.commit_seconds + (
            constants.wait_seconds if load.durability == "replicated" else 0.0
        )
        flushed = max(1.0, rate * acknowledged)
    if load.events_per_batch is not None:
        jobs = 1.0
        flushed = events = load.events_per_batch
    else:
        jobs = float(ceil(flushed / load.events_per_full_batch))
        if load.ordering is Ordering.PER_USER:
            jobs = max(jobs, count_ordered(flushed, partitions, load.flush_at))
        events = flushed / jobs
    return Batches(
        events_per_flush=flushed,
        events_per_batch=events,
        jobs_per_commit=1.0 if load.ordering is Ordering.PER_USER else min(jobs, COMMIT_JOBS),
        jobs_per_second=load.events_per_second / events,
        wait_seconds=flushed / rate,
    )
