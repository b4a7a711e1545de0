"""What is looked at before a diagnosis is made, and how. Every look is one that changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from eventspool._backends.condition import Condition
from eventspool._exceptions import QueueError, QueueUnavailable
from eventspool._figures import Depth, QueueStats
from eventspool._operate.overview import look_over

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
        outage: What the queue last answered to that processor, or to this look, where that was an error.
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


def _count_reasons(queue: Queue, stats: QueueStats) -> Mapping[str, Depth]:
    return queue.failed_reasons() if stats.failed.jobs else {}


def observe(
    queue: Queue,
    name: str,
    count_reasons: Callable[[Queue, QueueStats], Mapping[str, Depth]] = _count_reasons,
) -> Observation:
    """
    Look at *queue*, which is called *name*.

    A look that fails while the figures can be read is an outage, unless it fails for a partition that is away: the partitions
    tell of that one.

    Args:
        queue: The queue.
        name: Its name.
        count_reasons: Counts the failed jobs by reason, where they are to be counted otherwise than anew.

    Raises:
        QueueUnavailable: No partition can be reached.
    """
    stats, processors, partitions = look_over(queue)
    condition, reasons, outage = Condition(), {}, ""
    try:
        condition = queue.condition()
        reasons = dict(count_reasons(queue, stats))
    except QueueError as error:
        is_told = isinstance(error, QueueUnavailable) and any(each.away for each in partitions)
        outage = "" if is_told else str(error)
    seen = Observation(name, "", stats, processors, partitions, condition, reasons, outage=outage)
    opts = queue._opts  # noqa: SLF001 - no part of what programs call
    return seen if opts is None else replace(seen, max_jobs=opts.max_jobs, max_bytes=opts.max_bytes)
