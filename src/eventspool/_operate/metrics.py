"""
Every metric that eventspool exports, in one table, and how each is read from clients and queues.

The integrations only carry the readings to OpenTelemetry and to Prometheus, so both show the same figures. ``exposition``
needs neither: a worker and ``eventspool metrics`` serve its text with the standard library alone.

No label holds anything of an event. Reading a queue costs as much as ``Queue.stats`` and ``processors``; failed jobs are
counted by reason only when their number has changed.
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from eventspool._exceptions import EventSpoolError
from eventspool._heartbeat import PAUSE_REASONS
from eventspool._job import JobState
from eventspool._operate.diagnosis import KINDS, Observation, Severity, diagnose, observe
from eventspool._operate.storage import StorageReader
from eventspool._reasons import FAILED, LOST, REFUSED
from eventspool._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from eventspool._config import QueueOpts
    from eventspool._distribution import Distribution
    from eventspool._figures import Depth, QueueStats
    from eventspool._fleet import ProcessorInfo
    from eventspool._operate.queue import Queue
    from eventspool._settling.stats import ClientStats

__all__ = [
    "METRICS",
    "HasStats",
    "Metric",
    "QueueReader",
    "Reading",
    "read_build",
    "read_client",
]

_UNITS = {"s": "_seconds", "By": "_bytes"}
_MANY_FAILED = 1000
"""With this many failed jobs, counting them by reason costs enough to do it only every ``_REASONS_INTERVAL`` seconds."""
_REASONS_INTERVAL = 30.0


_REASONS = {"refused": REFUSED, "failed": FAILED, "lost": LOST}
"""
Known reasons are exported from the start, as 0. A counter whose first value is 1 has not grown in the eyes of Prometheus, so
the first failure would raise no alert.
"""


_BOTH = ("opentelemetry", "prometheus")


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One metric.

    Args:
        name: Its OpenTelemetry name, without the leading ``eventspool.``.
        kind: A counter only grows; a histogram's readings are distributions, and it goes to Prometheus alone.
        unit: Its unit in UCUM: ``{event}``, ``s``, ``By``, ``1``.
        description: A sentence about what it counts.
        labels: The names of its labels, in order.
        goes_to: Which of ``opentelemetry`` and ``prometheus`` it is exported to.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    description: str
    labels: tuple[str, ...]
    goes_to: tuple[str, ...] = _BOTH

    @property
    def is_counter(self) -> bool:
        """It only grows."""
        return self.kind == "counter"

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
    value: float | Distribution
    labels: tuple[str, ...]


def _client(name: str, unit: str, description: str, *labels: str, counter: bool = True) -> Metric:
    return Metric(f"client.{name}", _kind(counter), unit, description, ("client", *labels))


def _queue(name: str, unit: str, description: str, *labels: str, counter: bool = False) -> Metric:
    return Metric(f"queue.{name}", _kind(counter), unit, description, ("queue", *labels))


def _processor(name: str, unit: str, description: str, *labels: str, counter: bool = False) -> Metric:
    return Metric(f"processor.{name}", _kind(counter), unit, description, ("queue", "processor", *labels))


def _histogram(name: str, description: str) -> Metric:
    labels = ("queue", "processor")
    return Metric(f"processor.{name}", "histogram", "s", description, labels, ("prometheus",))


def _kind(counter: bool) -> Literal["counter", "gauge"]:  # noqa: FBT001
    return "counter" if counter else "gauge"


_BUILD = ("version", "python")
_WHY = ", ".join(PAUSE_REASONS[:-1]) + f" or {PAUSE_REASONS[-1]}"

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
        _client("paused", "1", f"1 while delivery only probes, by why: {_WHY}.", "reason", counter=False),
        _queue("up", "1", "1 when the queue could be read, 0 when not."),
        _queue("jobs", "{job}", "Jobs in the queue, by state.", "state"),
        _queue("events", "{event}", "Events in the queue, by state.", "state"),
        _queue("stored", "By", "Size of what is stored in the queue, by state.", "state"),
        _queue("oldest.age", "s", "Age of the oldest unfinished job, 0 without any."),
        _queue("paused", "1", "1 while the queue is paused."),
        _queue("trouble", "1", "1 while this is wrong with the queue or its way out, by code.", "code"),
        _queue("held", "1", "1 while all processors stay away from the data plane, but for probes."),
        _queue("processors", "{processor}", "Processors seen within the last half minute."),
        _queue("accepted.events", "{event}", "Events that were stored in the queue.", counter=True),
        _queue("delivered.events", "{event}", "Events of the queue that the data plane took.", counter=True),
        _queue("failed.events", "{event}", "Events that were moved to the failed queue.", counter=True),
        _queue("purged.events", "{event}", "Events that were purged, or erased by user id.", counter=True),
        _queue("moved.events", "{event}", "Events that were moved to another queue.", counter=True),
        _queue("failed.jobs", "{job}", "Jobs in the failed queue, by reason.", "reason"),
        _queue("jobs.limit", "{job}", "Most jobs that the queue may hold, failed ones included."),
        _queue("stored.limit", "By", "Most payload bytes that the queue may hold."),
        _queue(
            "store.used", "By", "Memory that its Redis server uses, or the size of its SQLite file.", "store"
        ),
        _queue(
            "store.limit",
            "By",
            "What the store can use at most: Redis' maxmemory, else its machine's memory; the file and its disk's free room.",
            "store",
        ),
        _processor("sent.jobs", "{job}", "Jobs that the processor delivered.", counter=True),
        _processor("retried.jobs", "{job}", "Its attempts that ended in a retry.", counter=True),
        _processor("held.jobs", "{job}", "Jobs that it is delivering."),
        _processor("paused", "1", f"1 while it only probes, by why: {_WHY}.", "reason"),
        replace(
            _processor(
                "latency", "s", "Time of its recent requests to the data plane, by quantile.", "quantile"
            ),
            goes_to=("opentelemetry",),  # which has no histogram that is read from elsewhere
        ),
        _histogram("request.duration", "Time of its requests to the data plane."),
        _histogram(
            "delivery.lag", "Age of batches when the data plane took them, by their producers' clocks."
        ),
        _processor(
            "recent.requests",
            "{request}",
            "Its requests of the last seconds, by how they ended: an HTTP status, timeout or error.",
            "status",
        ),
        Metric(
            "build.info",
            "gauge",
            "1",
            "1, with the version of eventspool that exports.",
            _BUILD,
            ("prometheus",),
        ),
    )
}


def read_build() -> Reading:
    """Return what exports."""
    return Reading("build.info", 1, (__version__, platform.python_version()))


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
    for reason in PAUSE_REASONS:
        yield reading("paused", int(stats.paused and (stats.pause_reason or "unknown") == reason), reason)


@dataclass(slots=True)
class QueueReader:
    """
    Reads one queue again and again, and remembers the number of its failed jobs by reason.

    Two threads may read at the same time; at worst both count the failed jobs.

    Args:
        name: The queue's name in the readings.
        queue: The queue, or a function that returns it. While the function raises, the queue is not up.
        opts: The queue's options, where they are known: then its bounds, and the room of its store, are read, too.
        clock: Returns monotonic seconds.
    """

    name: str
    queue: Queue | Callable[[], Queue]
    opts: QueueOpts | None = None
    clock: Callable[[], float] = time.monotonic
    _reasons: Mapping[str, Depth] = field(default_factory=dict)
    _reasons_of: object = None
    _reasons_at: float = float("-inf")
    _storage: StorageReader | None = None
    trouble: str = ""
    """Why it could not be read last time, in one sentence; "" where it could."""

    def __post_init__(self) -> None:
        if self.opts is not None:
            self._storage = StorageReader(self.opts)

    def read(self) -> Iterator[Reading]:
        """
        Yield the queue's readings. Of a queue that cannot be reached the only reading is that it is not up.

        While a partition is away, the depths are of what the others hold, and what is known of the whole queue alone is left
        out.
        """
        try:
            queue = self.queue() if callable(self.queue) else self.queue
            seen = observe(queue, self.name, self._read_reasons)
        except EventSpoolError as error:
            seen = Observation(self.name, problem=str(error) or type(error).__name__)
        self.trouble = seen.problem or seen.outage
        if self.trouble:
            yield Reading("queue.up", 0, (self.name,))
            yield from self._read_troubles(seen)
            return
        yield Reading("queue.up", 1, (self.name,))
        if self.opts is not None:
            seen = replace(seen, max_jobs=self.opts.max_jobs, max_bytes=self.opts.max_bytes)
        yield from self._read_troubles(seen)
        yield from _read_depths(self.name, seen.stats)
        if not any(each.away for each in seen.partitions):
            yield from _read_totals(self.name, seen.stats)
        for reason, depth in seen.reasons.items():
            yield Reading("queue.failed.jobs", depth.jobs, (self.name, reason))
        yield from self._read_room()
        names: set[str] = set()
        for processor in seen.processors:
            label = f"{processor.host}:{processor.pid}" if processor.host else processor.token
            if label in names:  # one process has two clients
                label = f"{label}/{processor.token}"
            names.add(label)
            yield from _read_processor((self.name, label), processor)

    def close(self) -> None:
        """Close what it has opened itself. The queue is its owner's."""
        if self._storage is not None:
            self._storage.close()

    def _read_troubles(self, seen: Observation) -> Iterator[Reading]:
        """Yield 1 for what is wrong, and 0 for all that is not. What only some processors have met is told by theirs."""
        codes = {
            each.code
            for each in diagnose(seen)
            if each.severity is Severity.ERROR
            or (
                each.severity is Severity.WARNING
                and (each.code[:6] != "plane." or each.code == "plane.throttled")
            )
        }
        for code in KINDS:
            yield Reading("queue.trouble", int(code in codes), (self.name, code))

    def _read_room(self) -> Iterator[Reading]:
        if self.opts is None or self._storage is None:
            return
        yield Reading("queue.jobs.limit", self.opts.max_jobs, (self.name,))
        yield Reading("queue.stored.limit", self.opts.max_bytes, (self.name,))
        if room := self._storage.read():
            yield Reading("queue.store.used", room.used, (self.name, room.store))
            if room.limit:
                yield Reading("queue.store.limit", room.limit, (self.name, room.store))

    def _read_reasons(self, queue: Queue, stats: QueueStats) -> Mapping[str, Depth]:
        now, standing = self.clock(), (stats.failed, stats.failed_events)
        cheap = stats.failed.jobs < _MANY_FAILED or now - self._reasons_at >= _REASONS_INTERVAL
        if standing != self._reasons_of and cheap:
            self._reasons = queue.failed_reasons() if stats.failed.jobs else {}
            self._reasons_of, self._reasons_at = standing, now
        return self._reasons


def _read_depths(name: str, stats: QueueStats) -> Iterator[Reading]:
    for state in map(str, JobState):
        depth: Depth = getattr(stats, state)
        yield Reading("queue.jobs", depth.jobs, (name, state))
        yield Reading("queue.events", depth.events, (name, state))
        yield Reading("queue.stored", depth.bytes, (name, state))


def _read_totals(name: str, stats: QueueStats) -> Iterator[Reading]:
    """Yield what is not known while a partition is away. A counter that fell would look like a restart to Prometheus."""
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
    for reason in PAUSE_REASONS:
        is_so = processor.paused and (processor.pause_reason or "unknown") == reason
        yield Reading("processor.paused", int(is_so), (*labels, reason))
    for metric, distribution in (
        ("request.duration", processor.request_seconds),
        ("delivery.lag", processor.lag_seconds),
    ):
        if distribution is not None:
            yield Reading(f"processor.{metric}", distribution, labels)
    for quantile, seconds in (("0.5", processor.latency_p50), ("0.99", processor.latency_p99)):
        if seconds is not None:
            yield Reading("processor.latency", seconds, (*labels, quantile))
    for status, requests in processor.statuses.items():
        yield Reading("processor.recent.requests", requests, (*labels, status))
