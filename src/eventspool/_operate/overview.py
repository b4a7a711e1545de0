"""The figures of a queue for those who watch it, also while one of its partitions cannot be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._figures import Depth, QueueStats

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eventspool._figures import Partition
    from eventspool._fleet import ProcessorInfo
    from eventspool._operate.queue import Queue

__all__ = ["look_over"]


def look_over(queue: Queue) -> tuple[QueueStats, Sequence[ProcessorInfo], Sequence[Partition]]:
    """
    Return the figures, the processors and the partitions.

    While a partition is away, the figures are of what the others hold, without totals: those would seem to fall.

    Raises:
        QueueUnavailable: No partition can be reached.
    """
    partitions = queue.partitions()
    there = [each for each in partitions if not each.away]
    if len(there) < len(partitions) and there:
        unfinished, failed = (_add(each.unfinished for each in there), _add(each.failed for each in there))
        return QueueStats(waiting=unfinished, failed=failed), (), partitions
    stats = queue.stats()
    return stats, tuple(queue.processors()), partitions


def _add(depths: Iterable[Depth]) -> Depth:
    found = list(depths)
    return Depth(sum(d.jobs for d in found), sum(d.events for d in found), sum(d.bytes for d in found))
