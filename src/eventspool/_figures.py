"""How full a queue is, as plain frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = [
    "Depth",
    "Partition",
    "QueueStats",
]


@dataclass(frozen=True, slots=True)
class Depth:
    """
    How much of something is stored.

    Args:
        jobs: Batches.
        events: The events in them.
        bytes: Size of their payloads.
    """

    jobs: int = 0
    events: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class Partition:
    """
    One of the partitions over which a queue is spread.

    Args:
        generation: The division of the queue that it belongs to. Each change of the number of partitions makes a new one.
        number: Which of that division's partitions it is, counted from 0.
        unfinished: The jobs in it that are waiting, delayed or leased.
        failed: The failed jobs in it.
        sealed: It belongs to an older division: it hands out what it holds, and takes no new jobs.
        away: It cannot be reached. What it holds is not known then.
        node: The address of the server that has it; "" where it is not known.
        most_bytes: Most bytes that it takes, whatever ``max_bytes`` allows, so that its cluster can move it to another node;
            ``None`` where its size does not matter for that, or is not known.
    """

    generation: int
    number: int
    unfinished: Depth
    failed: Depth
    sealed: bool = False
    away: bool = False
    node: str = ""
    most_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class QueueStats:
    """
    How full the queue is.

    Args:
        waiting: Due now.
        delayed: Due later, after a failed attempt.
        leased: Held by a processor.
        failed: In the failed queue.
        oldest_age: Seconds since the oldest unfinished job was created; 0.0 when there is none.
        processors: Processors seen within the last half minute.
        paused: Nothing is handed out until ``resume``.
        accepted_events: Events stored since the queue was made; what is replayed is not accepted again. This total and
            the next four only grow, so their differences over time are rates. What was accepted was delivered, or
            purged, or moved to another queue, or is stored.
        delivered_events: Events that the data plane took.
        failed_events: Events that were given up into the failed queue, each time that they were. What has failed in another
            queue and was moved here is not.
        purged_events: Events that operators purged, or erased by user id.
        moved_events: Events that operators moved to another queue.
        held_until: All processors stay away from the data plane until then, seconds since the epoch; then one of them probes
            it. 0.0 where they do not.
        held_because: What the data plane answered, in one sentence; "" where they do not stay away.
        most_bytes: Most bytes that the queue takes, whatever ``max_bytes`` allows, so that its cluster can move each of its
            partitions to another node; ``None`` where their size does not matter for that.
    """

    waiting: Depth = field(default_factory=Depth)
    delayed: Depth = field(default_factory=Depth)
    leased: Depth = field(default_factory=Depth)
    failed: Depth = field(default_factory=Depth)
    oldest_age: float = 0.0
    processors: int = 0
    paused: bool = False
    accepted_events: int = 0
    delivered_events: int = 0
    failed_events: int = 0
    purged_events: int = 0
    moved_events: int = 0
    held_until: float = 0.0
    held_because: str = ""
    most_bytes: int | None = None

    def as_dict(self) -> Mapping[str, object]:
        """Return the same figures as nested plain dictionaries."""
        from dataclasses import asdict

        return asdict(self)


for _public in (Depth, Partition, QueueStats):
    _public.__module__ = "eventspool"  # what help, tracebacks and pickle say: this module may change
