"""The figures of a queue for those who watch it, also while one of its partitions cannot be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._exceptions import QueueUnavailable
from eventspool._figures import Depth, QueueStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eventspool._figures import Partition
    from eventspool._fleet import ProcessorInfo
    from eventspool._operate.queue import Queue

__all__ = ["count_jobs", "look_over"]


def look_over(queue: Queue) -> tuple[QueueStats, Sequence[ProcessorInfo], Sequence[Partition]]:
    """
    Return the figures, the processors and the partitions.

    While a partition is away, the figures are of what the others hold, without totals: those would seem to fall.

    Raises:
        QueueUnavailable: No partition can be reached.
    """
    partitions = queue.partitions()
    if (some := _count_those_there(partitions)) is not None:
        return some, (), partitions
    stats = queue.stats()
    return stats, tuple(queue.processors()), partitions


def count_jobs(queue: Queue) -> tuple[QueueStats, Sequence[Partition]]:
    """
    Return the figures as ``look_over`` does, and the partitions where one of them is away.

    It costs no more than ``Queue.stats`` while all are there.

    Raises:
        QueueUnavailable: No partition can be reached.
    """
    try:
        return queue.stats(), ()
    except QueueUnavailable:
        partitions = queue.partitions()
        if (some := _count_those_there(partitions)) is None:
            raise
        return some, partitions


def _count_those_there(partitions: Sequence[Partition]) -> QueueStats | None:
    """Add up the partitions that can be reached; ``None`` where none or all of them can."""
    there = [each for each in partitions if not each.away]
    if not there or len(there) == len(partitions):
        return None
    unfinished, failed = (_add(each.unfinished for each in there), _add(each.failed for each in there))
    return QueueStats(waiting=unfinished, failed=failed)


def _add(depths: Iterable[Depth]) -> Depth:
    found = list(depths)
    return Depth(sum(d.jobs for d in found), sum(d.events for d in found), sum(d.bytes for d in found))
