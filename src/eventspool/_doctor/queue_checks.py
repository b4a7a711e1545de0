"""What can be wrong with a queue itself. Pure: from facts to findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eventspool._backends.condition import Condition
from eventspool._doctor.finding import Finding, error, warning
from eventspool._figures import QueueStats
from eventspool._operate.diagnosis import Observation, diagnose
from eventspool._operate.figures import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eventspool._figures import Depth, Partition
    from eventspool._fleet import ProcessorInfo

__all__ = ["QueueFacts", "check_queue"]

NEARLY_FULL = 0.8
MANY_DELAYED = 20
"""Jobs that wait for a retry. Fewer of them are normal with every data plane."""


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """
    A queue, looked at twice.

    Args:
        problem: Why it cannot be used, in our own words; "" where it can.
        stats: How full it is.
        before: The same, *interval* seconds earlier.
        interval: Seconds between the two looks.
        processors: The processors that work on it.
        reasons: Its failed jobs, by reason.
        max_jobs: Most jobs that its producers store in it.
        max_bytes: Most bytes.
        max_age: Seconds. An older job is a finding.
        partitions: Where its jobs are, in a divided queue.
        condition: How its store is.
        name: Its name.
        outage: What a look was answered while the figures could be read, where that was an error.
    """

    problem: str = ""
    stats: QueueStats = field(default_factory=QueueStats)
    before: QueueStats = field(default_factory=QueueStats)
    interval: float = 1.0
    processors: Sequence[ProcessorInfo] = ()
    reasons: Mapping[str, Depth] = field(default_factory=dict)
    max_jobs: int = 1_000_000
    max_bytes: int = 1 << 30
    max_age: float = 300.0
    partitions: Sequence[Partition] = ()
    condition: Condition = field(default_factory=Condition)
    name: str = ""
    outage: str = ""

    @property
    def observation(self) -> Observation:
        """What every tool diagnoses."""
        return Observation(
            self.name,
            "",
            self.stats,
            self.processors,
            self.partitions,
            self.condition,
            self.reasons,
            outage=self.outage,
            max_jobs=self.max_jobs,
            max_bytes=self.max_bytes,
            max_age=self.max_age,
        )


def check_queue(facts: QueueFacts) -> Iterator[Finding]:
    """Yield what is wrong."""
    if facts.problem:
        yield error(
            "queue.open", facts.problem, "do what the sentence says; `eventspool queue status` tries it again"
        )
        return
    is_growing = facts.stats.failed_events > facts.before.failed_events
    for each in diagnose(facts.observation):
        if not (is_growing and each.code == "queue.failed"):  # told as what is failing
            yield Finding(each.code, each.severity, each.cause, each.remedy)
    yield from _check_delivery(facts)
    yield from _check_bounds(facts)


def _check_delivery(facts: QueueFacts) -> Iterator[Finding]:
    stats = facts.stats
    if stats.delayed.jobs >= MANY_DELAYED and stats.delayed.jobs > stats.waiting.jobs:
        yield warning(
            "queue.delayed",
            f"{stats.delayed.jobs:,} jobs wait for their next attempt, more than for their first",
            "see what the data plane answers: `eventspool queue status`; they go on by themselves once it is well",
        )
    versions = sorted({each.version for each in facts.processors if each.version})
    if len(versions) > 1:
        yield warning(
            "queue.versions",
            f"processors of several versions share the queue: {', '.join(versions)}",
            "finish the deployment: an old one gives up on what only a new one can read",
        )
    new = stats.failed_events - facts.before.failed_events
    if new > 0:
        yield error(
            "queue.failing",
            f"{format_count(new, 'event')} failed within {facts.interval:.1f} s, and more will",
            "`eventspool queue failed` says why; stop the cause first, then `eventspool queue retry`",
        )


def _check_bounds(facts: QueueFacts) -> Iterator[Finding]:
    stats = facts.stats
    parts = (stats.waiting, stats.delayed, stats.leased, stats.failed)
    most_bytes = min(facts.max_bytes, stats.most_bytes or facts.max_bytes)
    for name, used, most in (
        ("jobs", sum(part.jobs for part in parts), facts.max_jobs),
        ("bytes", sum(part.bytes for part in parts), most_bytes),
    ):
        if most > used >= NEARLY_FULL * most:
            yield warning(
                "queue.bounds",
                f"the queue holds {used:,} of at most {most:,} {name}; beyond that events stay in memory and are then refused",
                "add workers, purge what failed, or "
                + (
                    "divide the queue into more partitions (`eventspool queue resize`): each must be small enough to be moved"
                    if name == "bytes" and most_bytes < facts.max_bytes
                    else f"raise max_{name} of the producers"
                ),
            )
