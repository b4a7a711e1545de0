"""What a plan is asked about: a load, and the options that it meets."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

from eventspool._config import ClientOpts, JobOpts, Ordering, QueueOpts
from eventspool._exceptions import ConfigError
from eventspool._operate.capacity.constants import MEASURED

__all__ = ["MAX_PARTITIONS", "Load"]

MAX_PARTITIONS = 256
"""Most partitions of a queue."""
_CLIENT = ClientOpts(write_key="k")
_QUEUE = QueueOpts()
_EVENTS_PER_PRODUCER = 1000
"""Events a second of a producer where the number of producers is not given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """
    A load. What is not given is as the options' defaults have it.

    Args:
        events_per_second: Of all producers together.
        outage_seconds: How long the queue is to take events that nobody delivers.
        event_bytes: JSON of an event.
        stored_bytes: Payload bytes of a stored event, where that is known; ``None``: what batches of that size have.
        events_per_batch: Events of a job, where that is known; ``None``: what *producers* and the flush rules make.
        producers: Processes that track. ``None``: one for each 1,000 events/s.
        flush_at: The clients' option.
        flush_interval: The clients' option, in seconds.
        max_batch_bytes: The clients' option.
        max_internal_queue_size: The clients' option.
        ordering: What the queue keeps.
        partitions: Over how many the queue is spread; ``None``: as many as it takes.
        durability: When an event method returns.
        replicas: Of each node.
        aof: Each node has an append-only file.
        node_bytes: ``maxmemory`` of a node.
        max_bytes: The queue's option.
        max_jobs: The queue's option.
        spill_bytes: What the spill file of a producer may hold; 0: there is none.
        concurrency: Requests of a processor in flight at once.
        answer_seconds: What the data plane takes to answer.
    """

    events_per_second: float
    outage_seconds: float = 3600.0
    event_bytes: float = MEASURED.reference_event_bytes
    stored_bytes: float | None = None
    events_per_batch: float | None = None
    producers: int | None = None
    flush_at: int = _CLIENT.flush_at
    flush_interval: float = _CLIENT.flush_interval
    max_batch_bytes: int = _CLIENT.max_batch_bytes
    max_internal_queue_size: int = _CLIENT.max_internal_queue_size
    ordering: Ordering = Ordering.NONE
    partitions: int | None = None
    durability: Literal["buffered", "persisted", "replicated"] = "buffered"
    replicas: int = 1
    aof: bool = True
    node_bytes: float = 8e9
    max_bytes: int = _QUEUE.max_bytes
    max_jobs: int = _QUEUE.max_jobs
    spill_bytes: int = 0
    concurrency: int = JobOpts().concurrency or 8
    answer_seconds: float = 0.05

    def __post_init__(self) -> None:
        if self.events_per_second <= 0:
            raise ConfigError("events_per_second must be more than 0")
        if self.events_per_batch is not None and self.events_per_batch < 1:
            raise ConfigError("events_per_batch must be at least 1")
        if self.partitions is not None and not 1 <= self.partitions <= MAX_PARTITIONS:
            raise ConfigError(f"partitions must be 1 to {MAX_PARTITIONS}")
        if self.ordering is Ordering.FIFO and (self.partitions or 1) > 1:
            raise ConfigError("strict order (fifo) is one partition: give ordering per_user, or none")
        if self.durability == "replicated" and self.replicas < 1:
            raise ConfigError("durability replicated needs a replica: give replicas")

    @property
    def resolved_producers(self) -> int:
        """How many processes track."""
        return self.producers or max(1, ceil(self.events_per_second / _EVENTS_PER_PRODUCER))

    @property
    def events_per_producer(self) -> float:
        """Events a second of each of them."""
        return self.events_per_second / self.resolved_producers

    @property
    def events_per_full_batch(self) -> float:
        """Events that ``max_batch_bytes`` takes."""
        return max(1.0, self.max_batch_bytes // (self.event_bytes + 2))
