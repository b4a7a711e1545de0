"""
Every metric that eventspool exports, in one table, and how each is read from clients and queues.

The integrations only carry the readings to OpenTelemetry and to Prometheus, so both show the same figures. ``metrics_text``
needs neither: a worker serves it with the standard library alone.

No label holds anything of an event. Reading a queue costs as much as ``Queue.stats`` and ``processors``; failed jobs are
counted by reason only when their number has changed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from eventspool._exceptions import EventSpoolError
from eventspool._job import JobState
from eventspool._reasons import FAILED, LOST, REFUSED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from eventspool._job import Depth, ProcessorInfo, QueueStats
    from eventspool._operate.queue import Queue
    from eventspool._settling.stats import ClientStats

__all__ = [
    "METRICS",
    "PROMETHEUS_CONTENT_TYPE",
    "HasStats",
    "Metric",
    "QueueReader",
    "Reading",
    "metrics_text",
    "read_client",
]

PROMETHEUS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of the text that ``metrics_text`` returns."""

_UNITS = {"s": "_seconds", "By": "_bytes"}
_MANY_FAILED = 1000
"""With this many failed jobs, counting them by reason costs enough to do it only every ``_REASONS_INTERVAL`` seconds."""
_REASONS_INTERVAL = 30.0


_REASONS = {"refused": REFUSED, "failed": FAILED, "lost": LOST}
"""
Known reasons are exported from the start, as 0. A counter whose first value is 1 has not grown in the eyes of Prometheus, so
the first failure would raise no alert.
"""


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One metric.

    Args:
        name: Its OpenTelemetry name, without the leading ``eventspool.``.
        is_counter: It is a counter, which only grows; otherwise it is a gauge.
        unit: Its unit in UCUM: ``{event}``, ``s``, ``By``, ``1``.
        description: A sentence about what it counts.
        labels: The names of its labels, in order.
    """

    name: str
    is_counter: bool
    unit: str
    description: str
    labels: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """The name that OpenTelemetry sees."""
        return f"eventspool.{self.name}"

    @property
    def prometheus_name(self) -> str:
        """The name that Prometheus sees, without a counter's ``_total``."""
        return f"eventspool_{self.name.replace('.', '_')}{_UNITS.get(self.unit, '')}"


class HasStats(Protocol):
    """A client, with or without asyncio."""

    def stats(self) -> ClientStats:
        """Return its counts."""


class Reading(NamedTuple):
    """A metric's value for one set of labels, which stand in the order of ``Metric.labels``."""

    metric: str
    value: float
    labels: tuple[str, ...]


def _client(name: str, unit: str, description: str, *labels: str, counter: bool = True) -> Metric:
    return Metric(f"client.{name}", counter, unit, description, ("client", *labels))


def _queue(name: str, unit: str, description: str, *labels: str, counter: bool = False) -> Metric:
    return Metric(f"queue.{name}", counter, unit, description, ("queue", *labels))


def _processor(name: str, unit: str, description: str, *labels: str, counter: bool = False) -> Metric:
    return Metric(f"processor.{name}", counter, unit, description, ("queue", "processor", *labels))


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        _client("accepted.events", "{event}", "Events that were accepted."),
        _client("refused.events", "{event}", "Events that were refused, by reason.", "reason"),
        _client("delivered.events", "{event}", "Accepted events that the data plane took."),
        _client("failed.events", "{event}", "Accepted events that were given up, by reason.", "reason"),
        _client("lost.events", "{event}", "Accepted events that are gone undelivered, by reason.", "reason"),
        _client("dropped.events", "{event}", "Events that before_send has dropped."),
        _client("discarded.events", "{event}", "Events taken and forgotten: the client is not enabled."),
        _client("unconfirmed.events", "{event}", "Accepted events whose storing took too long to wait for."),
        _client(
            "pending.events",
            "{event}",
            "Accepted events that are not settled, by where they are: memory, queue or spill_file.",
            "place",
            counter=False,
        ),
        _client("sent.batches", "{batch}", "Batches that this process delivered, from any producer."),
        _client("retried.batches", "{batch}", "Attempts of this process that ended in a retry."),
        _client("held.batches", "{batch}", "Batches that this process is delivering.", counter=False),
        _client("paused", "1", "1 while the data plane is down or refuses the write key.", counter=False),
        _queue("up", "1", "1 when the queue could be read, 0 when not."),
        _queue("jobs", "{job}", "Jobs in the queue, by state.", "state"),
        _queue("events", "{event}", "Events in the queue, by state.", "state"),
        _queue("stored", "By", "Size of what is stored in the queue, by state.", "state"),
        _queue("oldest.age", "s", "Age of the oldest unfinished job, 0 without any."),
        _queue("paused", "1", "1 while the queue is paused."),
        _queue("held", "1", "1 while all processors stay away from the data plane, but for probes."),
        _queue("processors", "{processor}", "Processors seen within the last half minute."),
        _queue("accepted.events", "{event}", "Events that were stored in the queue.", counter=True),
        _queue("delivered.events", "{event}", "Events of the queue that the data plane took.", counter=True),
        _queue("failed.events", "{event}", "Events that were moved to the failed queue.", counter=True),
        _queue("purged.events", "{event}", "Events that were purged, or erased by user id.", counter=True),
        _queue("moved.events", "{event}", "Events that were moved to another queue.", counter=True),
        _queue("failed.jobs", "{job}", "Jobs in the failed queue, by reason.", "reason"),
        _processor("sent.jobs", "{job}", "Jobs that the processor delivered.", counter=True),
        _processor("retried.jobs", "{job}", "Its attempts that ended in a retry.", counter=True),
        _processor("held.jobs", "{job}", "Jobs that it is delivering."),
        _processor("paused", "1", "1 while to it the data plane is down or refuses the write key."),
        _processor("latency", "s", "Time of its recent requests to the data plane, by quantile.", "quantile"),
        _processor(
            "recent.requests",
            "{request}",
            "Its requests of the last seconds, by how they ended: an HTTP status, timeout or error.",
            "status",
        ),
    )
}


def read_client(name: str, stats: ClientStats) -> Iterator[Reading]:
    """Yield the readings of one client, called *name*."""

    def reading(metric: str, value: float, *labels: str) -> Reading:
        return Reading(f"client.{metric}", value, (name, *labels))

    yield reading("accepted.events", stats.accepted)
    for metric, reasons in (
        ("refused", stats.refused),
        ("failed", stats.failed_reasons),
        ("lost", stats.lost_reasons),
    ):
        for reason, events in {**dict.fromkeys(_REASONS[metric], 0), **reasons}.items():
            yield reading(f"{metric}.events", events, reason)
    yield reading("delivered.events", stats.delivered)
    yield reading("dropped.events", stats.dropped)
    yield reading("discarded.events", stats.discarded)
    yield reading("unconfirmed.events", stats.unconfirmed)
    yield reading("pending.events", stats.buffered, "memory")
    yield reading("pending.events", stats.persisted - stats.spilled, "queue")
    yield reading("pending.events", stats.spilled, "spill_file")
    yield reading("sent.batches", stats.sent)
    yield reading("retried.batches", stats.retried)
    yield reading("held.batches", stats.in_flight)
    yield reading("paused", int(stats.paused))


@dataclass(slots=True)
class QueueReader:
    """
    Reads one queue again and again, and remembers the number of its failed jobs by reason.

    Two threads may read at the same time; at worst both count the failed jobs.

    Args:
        name: The queue's name in the readings.
        queue: The queue, or a function that returns it. While the function raises, the queue is not up.
        clock: Returns monotonic seconds.
    """

    name: str
    queue: Queue | Callable[[], Queue]
    clock: Callable[[], float] = time.monotonic
    _reasons: Mapping[str, Depth] = field(default_factory=dict)
    _reasons_of: object = None
    _reasons_at: float = float("-inf")

    def read(self) -> Iterator[Reading]:
        """Yield the queue's readings. Of a queue that cannot be reached the only reading is that it is not up."""
        try:
            queue = self.queue() if callable(self.queue) else self.queue
            stats, processors = queue.stats(), queue.processors()
            reasons = self._read_reasons(queue, stats)
        except EventSpoolError:
            yield Reading("queue.up", 0, (self.name,))
            return
        yield Reading("queue.up", 1, (self.name,))
        yield from _read_stats(self.name, stats)
        for reason, depth in reasons.items():
            yield Reading("queue.failed.jobs", depth.jobs, (self.name, reason))
        names: set[str] = set()
        for processor in processors:
            label = f"{processor.host}:{processor.pid}" if processor.host else processor.token
            if label in names:  # one process has two clients
                label = f"{label}/{processor.token}"
            names.add(label)
            yield from _read_processor((self.name, label), processor)

    def _read_reasons(self, queue: Queue, stats: QueueStats) -> Mapping[str, Depth]:
        now, standing = self.clock(), (stats.failed, stats.failed_events)
        cheap = stats.failed.jobs < _MANY_FAILED or now - self._reasons_at >= _REASONS_INTERVAL
        if standing != self._reasons_of and cheap:
            self._reasons = queue.failed_reasons() if stats.failed.jobs else {}
            self._reasons_of, self._reasons_at = standing, now
        return self._reasons


def _read_stats(name: str, stats: QueueStats) -> Iterator[Reading]:
    for state in map(str, JobState):
        depth: Depth = getattr(stats, state)
        yield Reading("queue.jobs", depth.jobs, (name, state))
        yield Reading("queue.events", depth.events, (name, state))
        yield Reading("queue.stored", depth.bytes, (name, state))
    yield Reading("queue.oldest.age", stats.oldest_age, (name,))
    yield Reading("queue.paused", int(stats.paused), (name,))
    yield Reading("queue.held", int(stats.held_until > 0), (name,))
    yield Reading("queue.processors", stats.processors, (name,))
    for ending in ("accepted", "delivered", "failed", "purged", "moved"):
        yield Reading(f"queue.{ending}.events", getattr(stats, f"{ending}_events"), (name,))


def _read_processor(labels: tuple[str, ...], processor: ProcessorInfo) -> Iterator[Reading]:
    yield Reading("processor.sent.jobs", processor.sent, labels)
    yield Reading("processor.retried.jobs", processor.retried, labels)
    yield Reading("processor.held.jobs", processor.in_flight, labels)
    yield Reading("processor.paused", int(processor.paused), labels)
    for quantile, seconds in (("0.5", processor.latency_p50), ("0.99", processor.latency_p99)):
        if seconds is not None:
            yield Reading("processor.latency", seconds, (*labels, quantile))
    for status, requests in processor.statuses.items():
        yield Reading("processor.recent.requests", requests, (*labels, status))


def metrics_text(clients: Mapping[str, HasStats], queues: Iterable[QueueReader]) -> str:
    """
    Return everything in Prometheus' text format (``PROMETHEUS_CONTENT_TYPE``).

    Args:
        clients: Clients by their names in the readings.
        queues: Readers, which the caller keeps from call to call.
    """
    readings: dict[str, list[Reading]] = {name: [] for name in METRICS}
    for name, client in clients.items():
        for reading in read_client(name, client.stats()):
            readings[reading.metric].append(reading)
    for queue in queues:
        for reading in queue.read():
            readings[reading.metric].append(reading)
    lines = []
    for metric in METRICS.values():
        if found := readings[metric.name]:
            full_name = metric.prometheus_name + ("_total" if metric.is_counter else "")
            lines.append(f"# HELP {full_name} {metric.description}")
            lines.append(f"# TYPE {full_name} {'counter' if metric.is_counter else 'gauge'}")
            for _, value, labels in found:
                pairs = ",".join(f'{k}="{_escape(v)}"' for k, v in zip(metric.labels, labels, strict=True))
                lines.append(f"{full_name}{{{pairs}}} {float(value)!r}")
    return "".join(f"{line}\n" for line in lines)


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
