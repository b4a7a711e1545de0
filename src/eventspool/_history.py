"""
What a queue notes of itself once a minute, for a day, so that a chart begins before its page was opened. Pure.

A note holds figures, and nothing of an event. It comes from a queue, so it may be damaged, or of another release: what cannot
be read is no note.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

from eventspool._distribution import add_up, grown_since, percentile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from eventspool._distribution import Distribution
    from eventspool._figures import QueueStats
    from eventspool._fleet import ProcessorInfo

__all__ = [
    "EVERY_SECONDS",
    "JOURNAL",
    "KEPT",
    "Minute",
    "lag_between",
    "note_of",
    "read_minute",
    "write_minute",
]

JOURNAL = "minutes"
"""The journal that holds them."""
EVERY_SECONDS = 60.0
KEPT = 1440
"""A day of them."""
_LONGEST_NOTE = 2048
_SHARES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Minute:
    """
    How a queue stood at a moment.

    Args:
        pending: Events that waited for their turn or their retry, or were under way.
        failed: Events in the failed queue.
        jobs: Stored jobs, failed ones included.
        bytes: Size of their payloads.
        oldest_age: Age of the oldest unfinished job, in seconds.
        processors: Processors that were there.
        accepted: Events stored since the queue was made.
        delivered: Events that the data plane took since then.
        given_up: Events that were moved to the failed queue since then.
        lag_p50: Of the batches that were delivered since the note before: the seconds from the making of a batch to its
            delivery that half of them did not exceed; ``None`` where none was delivered.
        lag_p95: Likewise, 95 of a hundred.
        lag_p99: Likewise, 99 of a hundred.
    """

    pending: int
    failed: int
    jobs: int
    bytes: int
    oldest_age: float
    processors: int
    accepted: int
    delivered: int
    given_up: int
    lag_p50: float | None = None
    lag_p95: float | None = None
    lag_p99: float | None = None


_COUNTS = {"pending", "failed", "jobs", "bytes", "processors", "accepted", "delivered", "given_up"}


def lag_between(
    before: Mapping[str, Distribution], processors: Iterable[ProcessorInfo], since: float
) -> Distribution | None:
    """
    Return the lag of what all *processors* delivered since a look that found *before*, by token.

    Of a processor that was not seen then, what it delivered counts where it has started *since* (seconds since the epoch).
    """
    grown = []
    for each in processors:
        if each.lag_seconds is None:
            continue
        if (known := before.get(each.token)) is not None:
            grown.append(grown_since(known, each.lag_seconds))
        elif each.started_at >= since:
            grown.append(each.lag_seconds)
    return add_up(grown)


def note_of(stats: QueueStats, lag: Distribution | None) -> Minute:
    """Return what is noted of a queue with these figures."""
    unfinished = (stats.waiting, stats.delayed, stats.leased)
    p50, p95, p99 = (None if lag is None else percentile(lag, share) for share in _SHARES)
    return Minute(
        pending=sum(depth.events for depth in unfinished),
        failed=stats.failed.events,
        jobs=sum(depth.jobs for depth in (*unfinished, stats.failed)),
        bytes=sum(depth.bytes for depth in (*unfinished, stats.failed)),
        oldest_age=stats.oldest_age,
        processors=stats.processors,
        accepted=stats.accepted_events,
        delivered=stats.delivered_events,
        given_up=stats.failed_events,
        lag_p50=p50,
        lag_p95=p95,
        lag_p99=p99,
    )


def write_minute(minute: Minute) -> bytes:
    """Return what ``read_minute`` reads."""
    told = {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in asdict(minute).items()
        if value is not None
    }
    return json.dumps(told, separators=(",", ":")).encode()


def read_minute(note: bytes) -> Minute | None:
    """Return what *note* says; ``None`` where it cannot be read."""
    if len(note) > _LONGEST_NOTE:
        return None
    try:
        told = json.loads(note)
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, dict):
        return None
    given = {each.name: told[each.name] for each in fields(Minute) if each.name in told}
    for name, value in given.items():
        is_number = isinstance(value, int if name in _COUNTS else int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value < 1e18:
            return None
    try:
        return Minute(**given)
    except TypeError:  # a figure is missing
        return None
