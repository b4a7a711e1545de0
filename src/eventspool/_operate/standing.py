"""
How each of several queues stands: what is wrong, how full it is, how fast it fills, and in what order they are shown. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log10
from typing import TYPE_CHECKING, Any

from eventspool._figures import QueueStats
from eventspool._operate.diagnosis import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eventspool._history import Minute
    from eventspool._operate.diagnosis import Trouble

__all__ = ["Pace", "Standing", "full_in", "measure", "pending_events", "stored", "worst_first"]

_RANKS = {severity: rank for rank, severity in enumerate(Severity)}
_LATELY_SECONDS = 900.0
"""The growth is that of the last quarter of an hour, where the queue's history reaches so far back."""
_SHORTEST_SECONDS = 20.0
"""Over less than this, the last batches decide what a rate is."""


@dataclass(frozen=True, slots=True)
class Pace:
    """
    How fast a queue changes; ``None`` where that is not known.

    Args:
        into: Events accepted per second.
        out: Events delivered per second.
        failing: Events given up per second.
        jobs: Jobs by which it grows per second; negative where it shrinks.
        bytes: Payload bytes, likewise.
    """

    into: float | None = None
    out: float | None = None
    failing: float | None = None
    jobs: float | None = None
    bytes: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """
    How one of several queues stands.

    Args:
        server: Where it is, without a password.
        queue_name: Its name.
        prefix: What its keys begin with.
        problem: Why it cannot be read; "" where it can.
        troubles: What is wrong, the gravest first.
        stats: How full it is.
        pace: How fast it changes.
        lag: Seconds from the making of a batch to its delivery that 50, 95 and 99 of a hundred did not exceed lately.
        memory_bytes: What it takes of the server's memory, by the server's estimate.
        max_jobs: Most jobs that it may hold.
        max_bytes: Most payload bytes that it may hold.
        is_bull: It is a queue of Bull's, of which only the numbers of jobs are known.
    """

    server: str
    queue_name: str
    prefix: str
    problem: str = ""
    troubles: tuple[Trouble, ...] = ()
    stats: QueueStats = field(default_factory=QueueStats)
    pace: Pace = field(default_factory=Pace)
    lag: tuple[float | None, float | None, float | None] = (None, None, None)
    memory_bytes: int | None = None
    max_jobs: int = 0
    max_bytes: int = 0
    is_bull: bool = False

    @property
    def fill(self) -> float | None:
        """The share of its bounds that is used up: of the jobs or the bytes, whichever is more."""
        if self.problem or self.is_bull or not (self.max_jobs and self.max_bytes):
            return None
        jobs, size = stored(self.stats)
        return max(jobs / self.max_jobs, size / self.max_bytes)

    @property
    def full_in(self) -> float | None:
        """Seconds until a bound is reached, if it goes on to grow like this; ``None`` where it does not grow."""
        if self.fill is None:
            return None
        jobs, size = stored(self.stats)
        found = (
            full_in(self.max_jobs - jobs, self.pace.jobs),
            full_in(self.max_bytes - size, self.pace.bytes),
        )
        return min((each for each in found if each is not None), default=None)

    @property
    def state(self) -> str:
        """What is wrong, in a few words; else whether it delivers."""
        if self.problem:
            return "cannot be reached"
        if self.is_bull:
            return "of Bull"
        grave = [each for each in self.troubles if each.severity is not Severity.NOTE]
        if grave:
            return grave[0].label
        return "delivering" if pending_events(self.stats) or self.pace.out else "idle"

    @property
    def level(self) -> str:
        """``error``, ``warning`` or ``ok``."""
        if self.problem:
            return "error"
        grave = [each.severity for each in self.troubles if each.severity is not Severity.NOTE]
        return grave[0].value if grave else "ok"

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        jobs, size = stored(self.stats)
        return {
            "server": self.server,
            "queue_name": self.queue_name,
            "prefix": self.prefix,
            "is_bull": self.is_bull,
            "level": self.level,
            "state": self.state,
            "problem": self.problem,
            "troubles": [each.as_dict() for each in self.troubles],
            "pending_events": pending_events(self.stats),
            "failed_events": self.stats.failed.events,
            "failed_jobs": self.stats.failed.jobs,
            "jobs": jobs,
            "max_jobs": self.max_jobs,
            "payload_bytes": size,
            "max_bytes": self.max_bytes,
            "memory_bytes": self.memory_bytes,
            "fill": self.fill,
            "full_in": self.full_in,
            "oldest_age": self.stats.oldest_age,
            "processors": self.stats.processors,
            "accepted_per_second": self.pace.into,
            "delivered_per_second": self.pace.out,
            "failed_per_second": self.pace.failing,
            "bytes_per_second": self.pace.bytes,
            "lag_p50": self.lag[0],
            "lag_p95": self.lag[1],
            "lag_p99": self.lag[2],
        }


def pending_events(stats: QueueStats) -> int:
    """Return the events that are to be delivered yet."""
    return stats.waiting.events + stats.delayed.events + stats.leased.events


def stored(stats: QueueStats) -> tuple[int, int]:
    """Return the jobs that are stored, failed ones included, and the bytes of their payloads."""
    depths = (stats.waiting, stats.delayed, stats.leased, stats.failed)
    return sum(depth.jobs for depth in depths), sum(depth.bytes for depth in depths)


def full_in(room: float, growth: float | None) -> float | None:
    """Return the seconds until *room* is used up by *growth* per second; ``None`` where it does not grow."""
    if growth is None or growth <= 0:
        return None
    return max(room, 0.0) / growth


def measure(stats: QueueStats, now: float, minutes: Sequence[tuple[float, Minute]]) -> Pace:
    """
    Return how fast a queue changes, from its figures *now* and what it noted before.

    Args:
        stats: Its figures.
        now: Seconds since the epoch.
        minutes: When each was noted, and what, the newest first.
    """
    past = [(at, each) for at, each in minutes if at <= now - _SHORTEST_SECONDS]
    if not past:
        return Pace()
    jobs, size = stored(stats)
    at, last = past[0]
    before, first = next((each for each in reversed(past) if each[0] >= now - _LATELY_SECONDS), past[0])
    into, out, failing = (
        _rate(total, was, now - at)
        for total, was in (
            (stats.accepted_events, last.accepted),
            (stats.delivered_events, last.delivered),
            (stats.failed_events, last.given_up),
        )
    )
    return Pace(
        into, out, failing, (jobs - first.jobs) / (now - before), (size - first.bytes) / (now - before)
    )


def _rate(total: int, before: int, seconds: float) -> float | None:
    """Return the growth of a total per second. One that fell is of another queue: this one was emptied or moved."""
    return (total - before) / seconds if total >= before else None


def worst_first(standings: Iterable[Standing]) -> list[Standing]:
    """
    Return the queues in the order in which they need a look: what is wrong, how full, how old the oldest job is.

    Fill and age count in steps, so that the rows of a table that is drawn again and again keep their places.
    """

    def badness(each: Standing) -> tuple[Any, ...]:
        grave = [trouble.rank for trouble in each.troubles if trouble.severity is not Severity.NOTE]
        rank = (-1, 0) if each.problem else grave[0] if grave else (len(_RANKS), 0)
        age = int(log10(each.stats.oldest_age)) if each.stats.oldest_age >= 1 else 0
        place = (each.server, each.prefix, each.queue_name)
        return (each.is_bull, *rank, -int((each.fill or 0) * 10), -age, *place)

    return sorted(standings, key=badness)
