"""
The samples that the charts show, one a second, taken only while a page is open.

There is no background task. A request gets the last sample, or takes a new one when that is a second old. So any number of
open pages costs the queue one look a second, and a closed page costs nothing.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eventspool._operate.diagnosis import diagnose, observe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eventspool._figures import Partition, QueueStats
    from eventspool._fleet import ProcessorInfo
    from eventspool._operate.diagnosis import Trouble
    from eventspool._operate.queue import Queue

__all__ = ["History", "Look", "Sample", "rates", "recent_answers"]

_KEPT = 300
_EVERY_SECONDS = 0.9  # the page asks once a second, not to the millisecond
_LONGEST_STEP_SECONDS = 5.0
_SILENT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """
    One point of the charts.

    Args:
        at: Seconds since the epoch.
        into: Events accepted per second since the sample before; ``None`` after a gap.
        out: Events delivered per second, likewise.
        pending: Events that wait for their turn or their retry, or are under way.
        oldest_age: Age of the oldest unfinished job, in seconds.
        latency: Median seconds of recent requests; ``None`` where there were none.
        failed: Failed jobs.
    """

    at: float
    into: float | None
    out: float | None
    pending: int
    oldest_age: float
    latency: float | None
    failed: int


@dataclass(frozen=True, slots=True)
class Look:
    """
    The result of one look at the queue: its *stats*, the *processors*, the data plane's recent *answers* by status, the
    *partitions*, and the *troubles* that all tools find.
    """

    at: float
    stats: QueueStats
    processors: Sequence[ProcessorInfo]
    answers: Mapping[str, int] = field(default_factory=dict)
    partitions: Sequence[Partition] = ()
    troubles: Sequence[Trouble] = ()


def rates(before: Look, after: Look) -> tuple[float | None, float | None]:
    """Return the events accepted and delivered per second between two looks; ``None`` over a gap or a new queue."""
    seconds = after.at - before.at
    into = after.stats.accepted_events - before.stats.accepted_events
    out = after.stats.delivered_events - before.stats.delivered_events
    if not 0 < seconds <= _LONGEST_STEP_SECONDS or into < 0 or out < 0:
        return None, None
    return into / seconds, out / seconds


def recent_answers(processors: Sequence[ProcessorInfo]) -> Mapping[str, int]:
    """
    Return the data plane's answers to all processors in the last seconds, by status.

    A processor that has gone silent while others have not is left out: its answers are old.
    """
    latest = max((processor.seen_at for processor in processors), default=0.0)
    total: Counter[str] = Counter()
    for processor in processors:
        if processor.seen_at >= latest - _SILENT_SECONDS:
            total.update(processor.statuses)
    return dict(total)


class History:
    """
    The samples of one queue. Safe to use from several threads.

    Args:
        queue: The queue to look at.
        name: Its name.
        clock: Seconds since the epoch.
    """

    def __init__(self, queue: Queue, name: str = "", clock: Callable[[], float] = time.time) -> None:
        self._queue = queue
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._look: Look | None = None
        self._sampled: Look | None = None
        self._samples: deque[Sample] = deque(maxlen=_KEPT)

    def look(self, *, fresh: bool = False) -> Look:
        """Return the present state, at most about a second old unless *fresh*. Raises ``QueueUnavailable``."""
        with self._lock:
            now = self._clock()
            if self._look is not None and not fresh and 0 <= now - self._look.at < _EVERY_SECONDS:
                return self._look
            seen = observe(self._queue, self._name)
            answers = recent_answers(seen.processors)
            self._look = look = Look(
                now, seen.stats, seen.processors, answers, seen.partitions, diagnose(seen)
            )
            before = self._sampled
            if before is None or not 0 <= now - before.at < _EVERY_SECONDS:
                into, out = rates(before, look) if before is not None else (None, None)
                self._samples.append(_sample(look, into, out))
                self._sampled = look
            return look

    def samples(self) -> list[Sample]:
        """Return the samples that are kept, oldest first."""
        with self._lock:
            return list(self._samples)


def _sample(look: Look, into: float | None, out: float | None) -> Sample:
    stats = look.stats
    latencies: list[Any] = [p.latency_p50 for p in look.processors if p.latency_p50 is not None]
    return Sample(
        at=look.at,
        into=into,
        out=out,
        pending=stats.waiting.events + stats.delayed.events + stats.leased.events,
        oldest_age=stats.oldest_age,
        latency=max(latencies, default=None),
        failed=stats.failed.jobs,
    )
