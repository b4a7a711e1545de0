"""What is looked at before a diagnosis is made, and how. Every look is one that changes nothing."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eventspool._backends.condition import Condition
from eventspool._exceptions import QueueError
from eventspool._figures import Depth, QueueStats
from eventspool._operate.overview import look_over

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eventspool._figures import Partition
    from eventspool._fleet import ProcessorInfo
    from eventspool._operate.queue import Queue

__all__ = ["Observation", "observe"]


@dataclass(frozen=True, slots=True)
class Observation:
    """
    What was seen of a queue, its store and its processors.

    Args:
        name: The queue's name.
        problem: Why the queue cannot be asked, in one sentence; "" where it can. Then nothing else is known.
        stats: How full it is.
        processors: Those that were seen within the last half minute.
        partitions: Where its jobs are, in a divided queue.
        condition: How its store is.
        reasons: Its failed jobs by reason, where they were counted.
        own: The processor of this very process, where the diagnosis is about it: then what it knows counts, and what the
            other processors say of themselves does not.
        outage: What the queue last answered to that processor, where that was an error.
        max_jobs: Most jobs that its producers store, 0 where that is not known.
        max_bytes: Most bytes, likewise.
        max_age: Seconds. An older job means that delivery is behind.
    """

    name: str = ""
    problem: str = ""
    stats: QueueStats = field(default_factory=QueueStats)
    processors: Sequence[ProcessorInfo] = ()
    partitions: Sequence[Partition] = ()
    condition: Condition = field(default_factory=Condition)
    reasons: Mapping[str, Depth] = field(default_factory=dict)
    own: ProcessorInfo | None = None
    outage: str = ""
    max_jobs: int = 0
    max_bytes: int = 0
    max_age: float = 300.0


def observe(queue: Queue, name: str, *, with_reasons: bool = True) -> Observation:
    """
    Look at *queue*, which is called *name*.

    Args:
        queue: The queue.
        name: Its name.
        with_reasons: Count the failed jobs by reason, too.

    Raises:
        QueueUnavailable: No partition can be reached.
    """
    stats, processors, partitions = look_over(queue)
    condition, reasons = Condition(), {}
    with contextlib.suppress(QueueError):  # a partition may go away between two looks
        condition = queue.condition()
    with contextlib.suppress(QueueError):
        reasons = queue.failed_reasons() if with_reasons and stats.failed.jobs else {}
    return Observation(name, "", stats, processors, partitions, condition, reasons)
