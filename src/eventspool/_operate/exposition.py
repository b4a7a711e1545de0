"""Clients and queues in Prometheus' text format, made without Prometheus' library."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from eventspool._distribution import Distribution
from eventspool._operate.metrics import METRICS, read_build, read_client

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from eventspool._operate.metrics import HasStats, Metric, QueueReader, Reading

__all__ = ["PROMETHEUS_CONTENT_TYPE", "cumulate", "metrics_text", "write_readings"]

PROMETHEUS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""The content type of the text that ``metrics_text`` returns."""


def metrics_text(clients: Mapping[str, HasStats], queues: Iterable[QueueReader]) -> str:
    """
    Return everything in Prometheus' text format (``PROMETHEUS_CONTENT_TYPE``).

    Args:
        clients: Clients by their names in the readings.
        queues: Readers, which the caller keeps from call to call.
    """
    readings = [reading for name, client in clients.items() for reading in read_client(name, client.stats())]
    return write_readings([*readings, *(reading for queue in queues for reading in queue.read())])


def write_readings(readings: Iterable[Reading]) -> str:
    """Return *readings*, and what exports them, in Prometheus' text format."""
    found: dict[str, list[Reading]] = {name: [] for name in METRICS}
    for reading in (*readings, read_build()):
        found[reading.metric].append(reading)
    lines: list[str] = []
    for metric in METRICS.values():
        if found[metric.name] and "prometheus" in metric.goes_to:
            full_name = metric.prometheus_name + ("_total" if metric.is_counter else "")
            lines += (f"# HELP {full_name} {metric.description}", f"# TYPE {full_name} {metric.kind}")
            for reading in found[metric.name]:
                lines += _write(full_name, metric, reading)
    return "".join(f"{line}\n" for line in lines)


def cumulate(distribution: Distribution) -> list[tuple[str, int]]:
    """Return how many times were at most as long as each bound, as Prometheus has it: the last bound is ``+Inf``."""
    bounds = [*(repr(float(bound)) for bound in distribution.bounds), "+Inf"]
    return list(zip(bounds, accumulate(distribution.counts), strict=True))


def _write(name: str, metric: Metric, reading: Reading) -> Iterator[str]:
    pairs = [
        f'{label}="{_escape(value)}"' for label, value in zip(metric.labels, reading.labels, strict=True)
    ]
    labels = ",".join(pairs)
    value = reading.value
    if isinstance(value, Distribution):
        for bound, count in cumulate(value):
            yield f'{name}_bucket{{{labels},le="{bound}"}} {float(count)!r}'
        yield f"{name}_count{{{labels}}} {float(value.count)!r}"
        yield f"{name}_sum{{{labels}}} {value.total!r}"
    else:
        yield f"{name}{{{labels}}} {float(value)!r}"


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
