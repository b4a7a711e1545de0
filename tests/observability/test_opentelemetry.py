"""Spans and metrics as the real SDK gets them."""

from __future__ import annotations

import json
from inspect import signature
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from e2e.harness import eventually, run_python
from eventspool import AsyncClient, Client, ConfigError, Queue
from eventspool._envelope import trace_of
from eventspool.integrations.opentelemetry import instrument

WORKER = Path(__file__).parent / "programs/traced_worker.py"


class SDK:
    """An application's OpenTelemetry, whose exports the test reads."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self._exporter = InMemorySpanExporter()
        self.meter_provider = MeterProvider([self._reader])
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._tracer = self.tracer_provider.get_tracer("application")

    def instrument(self, client, **more):
        return instrument(
            client, meter_provider=self.meter_provider, tracer_provider=self.tracer_provider, **more
        )

    def request(self, name="request"):
        """A span of the application, for ``with``."""
        return self._tracer.start_as_current_span(name)

    def deliveries(self, count=1):
        """Return the spans of the deliveries, once there are *count*, in the order in which they ended."""

        def found():
            spans = [s for s in self._exporter.get_finished_spans() if s.name.startswith("send ")]
            return spans if len(spans) >= count else None

        spans = eventually(found, f"{count} deliveries")
        assert len(spans) == count
        return spans

    def metrics(self):
        """Collect: return the points of every metric by its name, each as its attributes and value."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: [(dict(p.attributes), getattr(p, "value", None)) for p in metric.data.data_points]
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def value(self, name, **attributes):
        """Collect, and return the one value of a metric whose points have these attributes, ``_`` standing for a dot."""
        wanted = {key.replace("_", "."): value for key, value in attributes.items()}
        [value] = [value for found, value in self.metrics()[name] if wanted.items() <= found.items()]
        return value


@pytest.fixture
def sdk():
    sdk = SDK()
    yield sdk
    sdk.meter_provider.shutdown()
    sdk.tracer_provider.shutdown()


def links_of(span):
    return [link.context.span_id for link in span.links]


# -- spans -----------------------------------------------------------------------------------------------------------


def test_a_delivery_is_linked_to_each_span_in_which_its_events_were_tracked(sdk, clients):
    client = clients(flush_interval=60.0)
    sdk.instrument(client)
    with sdk.request() as one:
        for _ in range(3):
            client.track("user", "event")
    with sdk.request() as other:
        client.track("user", "event", callback=lambda error, message_id: None)
    client.track("user", "event")
    client.flush(timeout=60)

    [span] = sdk.deliveries()
    assert links_of(span) == [one.get_span_context().span_id, other.get_span_context().span_id]
    assert span.parent is None
    assert span.context.trace_id not in (link.context.trace_id for link in span.links)
    assert span.attributes["messaging.batch.message_count"] == 5


def test_a_delivery_span_says_what_the_conventions_ask_for(sdk, clients, plane):
    client = clients()
    sdk.instrument(client)
    client.track("user", "event")
    [span] = sdk.deliveries()

    where = plane.url.removeprefix("http://")
    assert (span.name, span.kind, span.status.status_code) == (
        f"send {where}",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert span.end_time > span.start_time
    job_id = span.attributes["messaging.eventspool.job.id"]
    assert dict(span.attributes) == {
        "messaging.system": "eventspool",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": where,
        "messaging.batch.message_count": 1,
        "messaging.eventspool.job.id": job_id,
        "messaging.eventspool.attempt": 1,
        "messaging.eventspool.requests": 1,
        "messaging.eventspool.outcome": "delivered",
        "server.address": where.split(":")[0],
        "server.port": int(where.split(":")[1]),
        "http.response.status_code": 200,
    }


def test_each_attempt_is_a_span_and_the_failed_one_says_why(sdk, clients, plane, tmp_path):
    plane.script({"status": 503, "next": 1})
    jobs = {"backoff_initial": 0.01, "backoff_max": 0.02}
    client = clients(persistence={"url": f"sqlite:///{tmp_path}/queue.db", "job_opts": jobs})
    sdk.instrument(client)
    with sdk.request() as request:
        client.track("user", "event")
    first, second = sdk.deliveries(2)

    assert first.status.status_code is StatusCode.ERROR
    assert first.attributes["error.type"] == "503"
    assert first.attributes["messaging.eventspool.outcome"] == "retry"
    assert "error.type" not in second.attributes
    assert second.attributes["messaging.eventspool.attempt"] == 2
    assert links_of(first) == links_of(second) == [request.get_span_context().span_id]
    assert sdk.value("messaging.client.sent.messages", error_type="503") == 1


def test_a_batch_that_is_refused_in_part_counts_both_parts(sdk, clients, plane):
    plane.script({"reject": "events", "event": "Bad"})
    client = clients(flush_interval=60.0)
    sdk.instrument(client)
    for name in ("Good", "Bad", "Good"):
        client.track("user", name)
    client.flush(timeout=60)
    [span] = sdk.deliveries()

    assert span.attributes["error.type"] == "rejected"
    assert span.attributes["messaging.eventspool.outcome"] == "failed"
    sent = {
        attributes.get("error.type"): value
        for attributes, value in sdk.metrics()["messaging.client.sent.messages"]
    }
    assert sent == {None: 2, "rejected": 1}


def test_without_a_current_span_there_are_no_links_and_nothing_is_kept(sdk, clients):
    client = clients()
    sdk.instrument(client)
    client.track("user", "event")

    assert links_of(sdk.deliveries()[0]) == []


@pytest.mark.parametrize("more", [{}, {"encryption_key": "A" * 43 + "="}], ids=["plain", "encrypted"])
def test_a_delivery_by_another_process_is_linked_to_the_request(sdk, clients, plane, tmp_path, more):
    queue = {"url": f"sqlite:///{tmp_path}/queue.db", "is_multi_processor": True, **more}
    producer = clients(persistence=queue, process=False)
    sdk.instrument(producer)
    with sdk.request() as request:
        producer.track("user", "event")
    assert producer.flush(until="persisted", timeout=60).pending == 0
    producer.close()
    told = run_python(WORKER, plane.write_key, plane.url, json.dumps(queue)).stdout

    context = request.get_span_context()
    assert json.loads(told) == [[f"{context.trace_id:032x}", f"{context.span_id:016x}", True]]


def test_a_batch_of_a_client_that_is_not_instrumented_says_nothing_of_spans(sdk, clients, tmp_path):
    client = clients(persistence=f"sqlite:///{tmp_path}/queue.db", process=False)
    with sdk.request():
        client.track("user", "event")
    client.flush(until="persisted", timeout=60)
    [job] = client.queue.jobs(state="waiting")
    [payload] = client._pipe().backend.payloads([job.id]).values()

    assert payload
    assert not trace_of(payload)


def test_nothing_of_a_trace_is_sent(sdk, clients, plane):
    client = clients(gzip=False)
    sdk.instrument(client)
    with sdk.request() as request:
        client.track("user", "event")
    sdk.deliveries()

    assert plane.stats().unique == 1
    context = request.get_span_context()
    for sent in (repr(plane.requests), repr(plane.events)):
        assert f"{context.trace_id:032x}" not in sent
        assert f"{context.span_id:016x}" not in sent


def test_links_lead_to_recorded_spans_first_and_there_is_an_end_to_them(sdk, clients):
    client = clients(flush_interval=60.0, flush_at=100)
    sdk.instrument(client)
    unrecorded = trace.NonRecordingSpan(trace.SpanContext(1, 2, False))
    with trace.use_span(unrecorded):
        client.track("user", "event")
    recorded = []
    for _ in range(40):
        with sdk.request() as request:
            client.track("user", "event")
        recorded.append(request.get_span_context().span_id)
    client.flush(timeout=60)

    assert links_of(sdk.deliveries()[0]) == recorded[:32]


def test_an_instrumentation_that_cannot_describe_its_spans_costs_no_event(clients, caplog):
    class Broken:
        def origin(self):
            return object()

        def describe(self, origins):
            raise RuntimeError("secret")

        def attempted(self, attempt):
            assert attempt.spans == ()

    client = clients()
    client._observe(Broken())
    client.track("user", "event")
    eventually(lambda: client.stats().delivered)

    assert "the instrumentation raised RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_a_queue_that_comes_later_is_observed_too(sdk, clients, tmp_path):
    client = clients(flush_interval=60.0)
    sdk.instrument(client)
    with sdk.request() as request:
        client.track("user", "event")
    client.create_persistence_queue({"url": f"sqlite:///{tmp_path}/queue.db"})
    client.flush(timeout=60)

    assert links_of(sdk.deliveries()[0]) == [request.get_span_context().span_id]


def test_a_client_that_is_at_work_already_can_be_instrumented(sdk, clients):
    client = clients()
    client.track("user", "event")
    eventually(lambda: client.stats().delivered)
    sdk.instrument(client)
    with sdk.request() as request:
        client.track("user", "event")

    assert links_of(sdk.deliveries()[0]) == [request.get_span_context().span_id]


def test_what_a_forked_child_begins_with_is_instrumented(sdk, clients):
    client = clients()
    sdk.instrument(client)
    client.begin_in_child()
    with sdk.request() as request:
        client.track("user", "event")

    assert links_of(sdk.deliveries()[0]) == [request.get_span_context().span_id]


# -- what it costs and what it may harm ------------------------------------------------------------------------------


def test_an_event_of_a_client_that_is_not_instrumented_goes_straight_into_the_buffer(sdk, clients):
    plain, watched = clients(), clients()
    sdk.instrument(watched)
    for client in (plain, watched):
        client.track("user", "event")

    assert plain._put == plain._pipe().buffer.put
    assert watched._put != watched._pipe().buffer.put
    assert plain._pipe().processor.on_attempt is None


def test_uninstrumenting_puts_everything_back(sdk, clients):
    client = clients()
    instrumentation = sdk.instrument(client)
    client.track("user", "event")
    sdk.deliveries()
    instrumentation.uninstrument()
    client.track("user", "event")
    eventually(lambda: client.stats().delivered == 2)

    sdk.deliveries(1)
    assert client._put == client._pipe().buffer.put
    assert not [name for name in sdk.metrics() if name.startswith("eventspool.")]
    sdk.instrument(client)


def test_instrumenting_twice_is_a_mistake(sdk, clients):
    client = clients()
    sdk.instrument(client)

    with pytest.raises(ConfigError, match="uninstrument"):
        sdk.instrument(client)


def test_an_instrumentation_that_raises_stops_neither_tracking_nor_delivery(clients, caplog):
    class Broken:
        def origin(self):
            return None

        def attempted(self, attempt):
            raise RuntimeError("secret")

    client = clients()
    client._observe(Broken())
    client.track("user", "event")
    eventually(lambda: client.stats().delivered)

    eventually(lambda: "the instrumentation raised RuntimeError" in caplog.text)
    assert "secret" not in caplog.text


def test_nothing_of_an_event_or_of_the_data_planes_answer_is_exported(sdk, clients, plane):
    plane.script({"status": 400, "body": "secret-answer about secret-value"})
    client = clients()
    sdk.instrument(client)
    with sdk.request():
        client.track("secret-user", "Secret-Event", {"secret-name": "secret-value"})
    eventually(lambda: client.stats().failed)
    [span] = sdk.deliveries()

    assert span.attributes["messaging.eventspool.outcome"] == "failed"
    assert "secret" not in span.to_json().lower()
    assert "secret" not in str(sdk.metrics()).lower()


# -- metrics ---------------------------------------------------------------------------------------------------------


def test_the_duration_is_that_of_the_span_in_the_conventions_buckets(sdk, clients):
    client = clients()
    sdk.instrument(client)
    client.track("user", "event")
    [span] = sdk.deliveries()
    data = sdk._reader.get_metrics_data()
    [metric] = [
        m
        for m in data.resource_metrics[0].scope_metrics[0].metrics
        if m.name == "messaging.client.operation.duration"
    ]
    [point] = metric.data.data_points

    assert point.sum == pytest.approx((span.end_time - span.start_time) / 1e9, abs=1e-5)
    assert metric.unit == "s"
    can_advise = "explicit_bucket_boundaries_advisory" in signature(Meter.create_histogram).parameters
    assert (point.explicit_bounds[-1] == 10) is can_advise  # since 1.30


def test_counts_are_read_anew_with_each_collection(sdk):
    with Client("key", enable=False) as client:
        sdk.instrument(client, client_name="web")
        client.track("user", "event")
        assert sdk.value("eventspool.client.discarded.events", eventspool_client_name="web") == 1
        client.track("user", "event")
        assert sdk.value("eventspool.client.discarded.events", eventspool_client_name="web") == 2


def test_a_collection_reads_the_queue_once(sdk, clients, tmp_path):
    looked = []

    class Counted(Queue):
        def stats(self):
            looked.append(1)
            return super().stats()

    client = clients(persistence=f"sqlite:///{tmp_path}/queue.db", flush_interval=60.0)
    client.track("user", "event")
    client.flush(timeout=60)
    sdk.instrument(client, queue=Counted(client._pipe().backend, owns_backend=False), queue_name="orders")

    metrics = sdk.metrics()
    assert len(looked) == 1
    queue = {"messaging.system": "eventspool", "messaging.destination.name": "orders"}
    assert metrics["eventspool.queue.up"] == [(queue, 1)]
    assert metrics["eventspool.queue.accepted.events"] == [(queue, 1)]
    sdk.metrics()
    assert len(looked) == 2


def test_a_queue_that_cannot_be_had_is_not_up_and_the_rest_is_exported(sdk, clients):
    client = clients()
    sdk.instrument(client, queue=lambda: client.queue)

    assert sdk.value("eventspool.queue.up") == 0
    assert sdk.value("eventspool.client.accepted.events") == 0


def test_an_async_client_is_instrumented_like_any_other(sdk):
    client = AsyncClient("key", enable=False)
    sdk.instrument(client)
    client.track("user", "event")

    assert sdk.value("eventspool.client.discarded.events") == 1
