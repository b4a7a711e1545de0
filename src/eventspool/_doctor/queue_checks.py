"""What can be wrong with a queue itself. Pure: from facts to findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eventspool._doctor.finding import Finding, error, warning
from eventspool._figures import QueueStats
from eventspool._operate.figures import format_age, format_count
from eventspool._reasons import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from eventspool._figures import Depth
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


def check_queue(facts: QueueFacts) -> Iterator[Finding]:
    """Yield what is wrong."""
    if facts.problem:
        yield error(
            "queue.open", facts.problem, "do what the sentence says; `eventspool queue status` tries it again"
        )
        return
    yield from _check_delivery(facts)
    yield from _check_failed(facts)
    yield from _check_bounds(facts)


def _check_delivery(facts: QueueFacts) -> Iterator[Finding]:
    stats = facts.stats
    unfinished = stats.waiting.jobs + stats.delayed.jobs + stats.leased.jobs
    if stats.paused:
        yield warning(
            "queue.paused",
            f"the queue is paused, with {format_count(unfinished, 'job')} in it",
            "`eventspool queue resume`, once the reason is gone",
        )
    elif unfinished and not stats.processors:
        yield error(
            "queue.processors",
            f"no processor is alive for {format_count(unfinished, 'job')}",
            "start `eventspool worker`, or a client that processes",
        )
    if stats.oldest_age > facts.max_age:
        yield warning(
            "queue.age",
            f"the oldest job is {format_age(stats.oldest_age)} old",
            "see `eventspool queue status --watch`: more workers where the data plane keeps up, patience where it does not",
        )
    if stats.delayed.jobs >= MANY_DELAYED and stats.delayed.jobs > stats.waiting.jobs:
        yield warning(
            "queue.delayed",
            f"{stats.delayed.jobs:,} jobs wait for their next attempt, more than for their first",
            "see what the data plane answers: `eventspool queue status`; they go on by themselves once it is well",
        )
    if stats.held_until:
        yield error(
            "queue.held",
            f"all processors stay away from the data plane, and one at a time probes it: {stats.held_because}",
            "mend that; they go on by themselves",
        )
    for each in facts.processors:
        if each.paused and not stats.held_until:
            yield error(
                "queue.probing",
                f"the processor {each.host}:{each.pid} only probes: {each.last_error or 'the data plane fails'}",
                "mend that; it goes on by itself",
            )
    versions = sorted({each.version for each in facts.processors if each.version})
    if len(versions) > 1:
        yield warning(
            "queue.versions",
            f"processors of several versions share the queue: {', '.join(versions)}",
            "finish the deployment: an old one gives up on what only a new one can read",
        )


def _check_failed(facts: QueueFacts) -> Iterator[Finding]:
    unreadable = {name: reason for name, reason in FAILED.items() if reason.is_unreadable}
    rest = {name: depth for name, depth in facts.reasons.items() if name not in unreadable and depth.jobs}
    new = facts.stats.failed_events - facts.before.failed_events
    if new > 0:
        yield error(
            "queue.failing",
            f"{format_count(new, 'event')} failed within {facts.interval:.1f} s, and more will",
            "`eventspool queue failed` says why; stop the cause first, then `eventspool queue retry`",
        )
    elif rest:
        events = sum(depth.events for depth in rest.values())
        yield warning(
            "queue.failed",
            f"the failed queue holds {format_count(events, 'event')} ({', '.join(sorted(rest))}) until an operator decides",
            "`eventspool queue failed`, then `retry`, or `export --purge`",
        )
    for name, reason in unreadable.items():
        if (depth := facts.reasons.get(name)) is not None and depth.jobs:
            yield warning(
                "queue.unreadable",
                f"{format_count(depth.jobs, 'job')} could not be read ({name})",
                f"{reason.meaning} So {reason.advice}",
            )


def _check_bounds(facts: QueueFacts) -> Iterator[Finding]:
    stats = facts.stats
    parts = (stats.waiting, stats.delayed, stats.leased, stats.failed)
    for name, used, most in (
        ("jobs", sum(part.jobs for part in parts), facts.max_jobs),
        ("bytes", sum(part.bytes for part in parts), facts.max_bytes),
    ):
        if used >= NEARLY_FULL * most:
            make = error if used >= most else warning
            yield make(
                "queue.bounds",
                f"the queue holds {used:,} of at most {most:,} {name}; beyond that events stay in memory and are then refused",
                f"add workers, purge what failed, or raise max_{name} of the producers",
            )
