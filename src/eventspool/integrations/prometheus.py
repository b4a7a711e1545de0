"""
Metrics for Prometheus, by its own client library. Needs ``eventspool[prometheus]``.

    REGISTRY.register(EventSpoolCollector(clients=client, queues=eventspool.open_queue("redis://localhost")))

Names and labels are listed in docs/observability.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from eventspool._distribution import Distribution
from eventspool._operate.exposition import cumulate
from eventspool._operate.metrics import METRICS, QueueReader, read_build, read_client

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eventspool._aio import AsyncClient
    from eventspool._client import Client
    from eventspool._operate.metrics import Metric, Reading
    from eventspool._operate.queue import Queue

__all__ = ["EventSpoolCollector"]

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
_FAMILIES: Mapping[str, Callable[..., Family]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


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

    def collect(self) -> Iterable[Family]:
        """Read everything."""
        families = {metric.name: _family(metric) for metric in METRICS.values() if _is_ours(metric)}
        for reading in self._read():
            if reading.metric in families:
                _add(families[reading.metric], reading)
        return [family for family in families.values() if family.samples]

    def _read(self) -> list[Reading]:
        readings: list[Reading] = [read_build()]
        for name, client in self._clients.items():
            readings += read_client(name, client.stats())
        for queue in self._queues:
            readings += queue.read()
        return readings

    def describe(self) -> Iterable[Family]:
        """Name everything that may come."""
        return [_family(metric) for metric in METRICS.values() if _is_ours(metric)]


def _is_ours(metric: Metric) -> bool:
    return "prometheus" in metric.goes_to


def _family(metric: Metric) -> Family:
    return _FAMILIES[metric.kind](metric.prometheus_name, metric.description, labels=metric.labels)


def _add(family: Any, reading: Reading) -> None:
    value = reading.value
    if isinstance(value, Distribution):
        family.add_metric(reading.labels, buckets=cumulate(value), sum_value=value.total)
    else:
        family.add_metric(reading.labels, value)


def _by_name(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    return dict(given) if isinstance(given, Mapping) else {"default": given}
