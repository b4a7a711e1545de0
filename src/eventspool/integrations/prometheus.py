"""
Metrics for Prometheus, by its own client library. Needs ``eventspool[prometheus]``.

    REGISTRY.register(EventSpoolCollector(clients=client, queues=eventspool.open_queue("redis://localhost")))

Names and labels are listed in docs/observability.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from eventspool._operate.metrics import METRICS, QueueReader, read_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from eventspool._aio import AsyncClient
    from eventspool._client import Client
    from eventspool._operate.metrics import Metric, Reading
    from eventspool._operate.queue import Queue

__all__ = ["EventSpoolCollector"]


class EventSpoolCollector(Collector):
    """
    Reads clients and queues whenever Prometheus asks. Registering it reads nothing.

    A queue is counted for all of its producers and processors: one process is enough to export it. A queue that cannot be
    reached is exported as ``eventspool_queue_up 0`` and nothing else.

    Args:
        clients: A client, or clients by the name that their label ``client`` gets; a single one is called ``default``.
        queues: A queue, or queues by the name that their label ``queue`` gets; a single one is called ``default``. In
            place of a queue there may be a function that returns it, such as ``lambda: client.queue``.
    """

    def __init__(
        self,
        clients: Client | AsyncClient | Mapping[str, Client | AsyncClient] | None = None,
        queues: Queue | Callable[[], Queue] | Mapping[str, Queue | Callable[[], Queue]] | None = None,
    ) -> None:
        self._clients = _by_name(clients)
        self._queues = [QueueReader(name, queue) for name, queue in _by_name(queues).items()]

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Read everything."""
        families = {metric.name: _family(metric) for metric in METRICS.values()}
        for reading in self._read():
            families[reading.metric].add_metric(reading.labels, reading.value)
        return [family for family in families.values() if family.samples]

    def _read(self) -> list[Reading]:
        readings: list[Reading] = []
        for name, client in self._clients.items():
            readings += read_client(name, client.stats())
        for queue in self._queues:
            readings += queue.read()
        return readings

    def describe(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """Name everything that may come."""
        return [_family(metric) for metric in METRICS.values()]


def _family(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if metric.is_counter else GaugeMetricFamily
    return kind(metric.prometheus_name, metric.description, labels=metric.labels)


def _by_name(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    return dict(given) if isinstance(given, Mapping) else {"default": given}
