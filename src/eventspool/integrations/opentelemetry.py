"""
Metrics and traces for OpenTelemetry. Needs ``eventspool[opentelemetry]``: only its API; the SDK that the application has set
up decides what becomes of them.

    instrument(client)

Metrics: what ``Client.stats()`` and ``Queue.stats()`` count, read whenever the SDK collects, and what the semantic
conventions for messaging ask of a producer. Traces: a span for each attempt to deliver a batch, linked to the spans in which
its events were tracked, whichever process tracked them (as far as its client is instrumented, too). Nothing of an event's
content is in either. Names are listed in docs/observability.md.
"""

# ruff: noqa: SLF001 - a client's users have no need to observe it, so the way to do so is private
from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import Observation

from eventspool._aio import AsyncClient
from eventspool._distribution import Distribution
from eventspool._exceptions import ConfigError
from eventspool._operate.metrics import METRICS, QueueReader, read_client
from eventspool._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider
    from opentelemetry.trace import SpanContext, TracerProvider

    from eventspool._client import Client
    from eventspool._delivery.observation import Attempt
    from eventspool._operate.metrics import Metric, Reading
    from eventspool._operate.queue import Queue

__all__ = ["Instrumentation", "instrument"]

_SCOPE = "eventspool"
_FRESH = 1.0
"""Seconds for which one look at the client and the queue serves all instruments of a collection."""
_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
"""Those of the semantic conventions, in seconds."""
_ATTRIBUTES = {
    "client": "eventspool.client.name",
    "queue": "messaging.destination.name",
    "processor": "eventspool.processor",
    "reason": "error.type",
    "state": "eventspool.state",
    "place": "eventspool.place",
    "store": "eventspool.store",
    "quantile": "eventspool.quantile",
    "status": "eventspool.ending",
    "code": "eventspool.trouble",
}
"""What the labels of ``METRICS`` are called here."""


def instrument(
    client: Client | AsyncClient,
    *,
    meter_provider: MeterProvider | None = None,
    tracer_provider: TracerProvider | None = None,
    queue: Queue | Callable[[], Queue] | None = None,
    client_name: str = "default",
    queue_name: str = "default",
) -> Instrumentation:
    """
    Export *client*'s metrics and traces. Calls on clients that are not instrumented cost what they did before.

    Args:
        client: The client. Its forked children are instrumented, too, as far as the SDK works in them.
        meter_provider: Where metrics go; ``None``: the application's.
        tracer_provider: Where spans go; ``None``: the application's.
        queue: A queue to export, too, or a function that returns it: ``lambda: client.queue``. It is counted for all of
            its producers and processors: one process is enough.
        client_name: The client's name in the metrics.
        queue_name: The queue's name in the metrics.

    Raises:
        ConfigError: The client is instrumented already.
    """
    inner = client._client if isinstance(client, AsyncClient) else client
    if inner._beginning.observer is not None:
        raise ConfigError("this client is instrumented already: call uninstrument() first")
    meter = metrics.get_meter(_SCOPE, __version__, meter_provider)
    tracer = trace.get_tracer(_SCOPE, __version__, tracer_provider)
    instrumentation = Instrumentation(inner, meter, tracer, queue, client_name, queue_name)
    inner._observe(instrumentation)
    return instrumentation


class Instrumentation:
    """What ``instrument`` returns. The client calls it; an application may ``uninstrument``."""

    def __init__(
        self,
        client: Client,
        meter: Meter,
        tracer: trace.Tracer,
        queue: Queue | Callable[[], Queue] | None,
        client_name: str,
        queue_name: str,
    ) -> None:
        self._client = weakref.ref(
            client
        )  # an SDK keeps its instruments for ever, and would keep the client with them
        self._tracer = tracer
        self._client_name = client_name
        self._queue = None if queue is None else QueueReader(queue_name, queue)
        self._is_on = True
        self._readings: list[Reading] = []
        self._read_at = float("-inf")
        self._served: set[str] = set()
        self._fixed = _describe_destination(client._opts.data_plane_url)
        self._duration = _histogram(
            meter, "messaging.client.operation.duration", "s", "Time of one attempt to deliver a batch."
        )
        self._sent = meter.create_counter(
            "messaging.client.sent.messages", "{message}", "Events that were sent to the data plane."
        )
        for metric in METRICS.values():
            if "opentelemetry" in metric.goes_to and (metric.name.startswith("client.") or queue is not None):
                self._create(meter, metric)

    def uninstrument(self) -> None:
        """Observe the client no longer. The instruments stay, and report nothing."""
        self._is_on = False
        client = self._client()
        if client is not None:
            client._observe(None)

    # -- metrics -------------------------------------------------------------------------------------------------------

    def _create(self, meter: Meter, metric: Metric) -> None:
        names = [_ATTRIBUTES[label] for label in metric.labels]

        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return [
                Observation(
                    reading.value,
                    {"messaging.system": "eventspool", **dict(zip(names, reading.labels, strict=True))},
                )
                for reading in self._read(metric.name)
                if reading.metric == metric.name and not isinstance(reading.value, Distribution)
            ]

        create = meter.create_observable_counter if metric.is_counter else meter.create_observable_gauge
        create(metric.full_name, [observe], metric.unit, metric.description)

    def _read(self, metric: str) -> list[Reading]:
        """Return readings from which *metric* was not served yet: a collection reads once, and the next one reads anew."""
        client = self._client()
        if not self._is_on or client is None:
            return []
        # Without a lock: a forked child might inherit it taken. Two collections at a time read once too often at worst.
        readings, now = self._readings, time.monotonic()
        if metric in self._served or now - self._read_at > _FRESH:
            readings = list(read_client(self._client_name, client.stats()))
            if self._queue is not None:
                readings += self._queue.read()
            self._readings, self._read_at, self._served = readings, now, set()
        self._served.add(metric)
        return readings

    # -- what the client calls -----------------------------------------------------------------------------------------

    def origin(self) -> SpanContext | None:
        """Return the context of the span in which an event is being tracked."""
        context = trace.get_current_span().get_span_context()
        return context if context.is_valid else None

    def describe(self, origins: Iterable[object]) -> Iterable[str]:
        """Return these spans as ``traceparent`` values, those first that are recorded: a link to another one leads nowhere."""
        contexts = {(c.trace_id, c.span_id): c for c in origins if isinstance(c, trace.SpanContext)}
        for context in sorted(contexts.values(), key=lambda context: not context.trace_flags.sampled):
            yield f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def attempted(self, attempt: Attempt) -> None:
        """Record an attempt: a span, its duration, its events."""
        known = {**self._fixed, "messaging.operation.name": "send", "messaging.operation.type": "send"}
        error = {"error.type": attempt.reason} if attempt.reason else {}
        seconds = max(attempt.ended_at - attempt.began_at, 0.0)  # a clock may have been set back
        self._duration.record(seconds, {**known, **error})
        failed = attempt.events if attempt.ended_as == "retry" else attempt.failed
        for events, outcome in ((attempt.events - failed, {}), (failed, error)):
            if events and attempt.requests:
                self._sent.add(events, {**known, **outcome})
        self._record_span(attempt, {**known, **error})

    def _record_span(self, attempt: Attempt, attributes: dict[str, Any]) -> None:
        attributes |= {
            "messaging.batch.message_count": attempt.events,
            "messaging.eventspool.job.id": attempt.job_id,
            "messaging.eventspool.attempt": attempt.number,
            "messaging.eventspool.requests": attempt.requests,
            "messaging.eventspool.outcome": attempt.ended_as,
        }
        if attempt.status is not None:
            attributes["http.response.status_code"] = attempt.status
        span = self._tracer.start_span(
            f"send {self._fixed['messaging.destination.name']}",
            context=Context(),  # a trace of its own: the events of a batch come from several
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            links=[trace.Link(_parse(span)) for span in attempt.spans],
            start_time=int(attempt.began_at * 1e9),
        )
        if attempt.ended_as != "delivered":
            span.set_status(trace.StatusCode.ERROR, attempt.reason)
        span.end(int(max(attempt.ended_at, attempt.began_at) * 1e9))


def _parse(traceparent: str) -> trace.SpanContext:
    _, trace_id, span_id, flags = traceparent.split("-")
    return trace.SpanContext(int(trace_id, 16), int(span_id, 16), True, trace.TraceFlags(int(flags, 16)))


def _describe_destination(data_plane: str) -> dict[str, Any]:
    parts = urlsplit(data_plane)
    return {
        "messaging.system": "eventspool",
        "messaging.destination.name": parts.netloc,
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }


def _histogram(meter: Meter, name: str, unit: str, description: str) -> metrics.Histogram:
    try:
        return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=_BUCKETS)
    except TypeError:  # before 1.30
        return meter.create_histogram(name, unit, description)
