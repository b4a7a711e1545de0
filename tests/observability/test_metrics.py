"""What is read from clients and queues, and Prometheus' text format made without Prometheus' library."""

from __future__ import annotations

import json
import platform
import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from e2e.harness import eventually
from eventspool import ClientStats, Queue, QueueOpts, QueueUnavailable
from eventspool._backends.memory import MemoryBackend
from eventspool._claim import ClaimTerms
from eventspool._job import Failure, JobState, NewJob, Settlement, SettlementKind, new_job_id
from eventspool._operate import metrics as _metrics
from eventspool._operate.diagnosis import KINDS
from eventspool._operate.exposition import metrics_text
from eventspool._operate.metrics import METRICS, QueueReader, read_build, read_client
from eventspool._operate.storage import Room, redis_room
from eventspool._version import __version__
from eventspool.integrations.prometheus import EventSpoolCollector
from promtool import find_promtool

NOTE = {
    "host": "web-1",
    "pid": 7,
    "in_flight": 2,
    "sent": 30,
    "retried": 4,
    "paused": True,
    "pause_reason": "throttled",
    "request_seconds": {"total": 1.5, "counts": {"0.01": 3, "2.5": 1}},
    "lag_seconds": {"total": 90.0, "counts": {"0.25": 2, "more": 1}},
    "latency_p50": 0.01,
    "latency_p99": 0.5,
    "statuses": {"200": 29, "timeout": 1},
}


@pytest.fixture
def backend():
    """A queue with failed and waiting jobs, and a processor."""
    backend = MemoryBackend()
    backend.open()
    fail(backend, "rejected", "rejected", "stalled")
    backend.commit([NewJob(new_job_id(), b"payload", 5)])
    backend.renew("token", [], visibility_timeout=60.0, note=json.dumps(NOTE))
    return backend


def fail(backend, *reasons):
    """Have a job fail for each reason."""
    for reason in reasons:
        job = NewJob(new_job_id(), b"payload", 1)
        backend.commit([job])
        backend.claim("token", ClaimTerms(limit=9, visibility_timeout=60.0))
        failure = Failure(reason, "no", 1)
        assert backend.settle("token", [Settlement(job.id, SettlementKind.FAIL, failure=failure)]) == [True]


def values(text):
    """Return what a text says: every sample's value by its name and labels."""
    families = text_string_to_metric_families(text)
    return {(s.name, *sorted(s.labels.items())): s.value for family in families for s in family.samples}


def read(reader):
    """Return a queue's readings, by metric and labels but the queue's own."""
    return {(reading.metric, *reading.labels[1:]): reading.value for reading in reader.read()}


def test_a_queue_is_read_in_full(backend):
    erased = NewJob(new_job_id(), b"payload", 2)
    backend.commit([erased])
    backend.purge(JobState.WAITING, [erased.id])
    moved = NewJob(new_job_id(), b"payload", 4)
    backend.commit([moved])
    backend.pass_on([moved.id])
    readings = read(QueueReader("orders", Queue(backend)))

    assert readings["queue.up",] == 1
    assert readings["queue.jobs", "waiting"] == 1
    assert readings["queue.events", "waiting"] == 5
    assert readings["queue.stored", "failed"] == 3 * len(b"payload")
    assert readings["queue.accepted.events",] == 14
    assert readings["queue.failed.events",] == 3
    assert readings["queue.purged.events",] == 2
    assert readings["queue.moved.events",] == 4
    assert (readings["queue.failed.jobs", "rejected"], readings["queue.failed.jobs", "stalled"]) == (2, 1)
    assert readings["queue.processors",] == 1
    assert readings["processor.sent.jobs", "web-1:7"] == 30
    assert readings["processor.retried.jobs", "web-1:7"] == 4
    assert readings["processor.held.jobs", "web-1:7"] == 2
    assert readings["processor.paused", "web-1:7", "throttled"] == 1
    assert readings["processor.paused", "web-1:7", "unauthorized"] == 0
    assert readings["processor.request.duration", "web-1:7"].count == 4
    assert readings["processor.delivery.lag", "web-1:7"].total == 90.0
    assert readings["processor.latency", "web-1:7", "0.99"] == 0.5
    assert readings["processor.recent.requests", "web-1:7", "timeout"] == 1


def test_every_metric_of_a_queue_or_a_client_is_read_with_its_labels(backend, tmp_path):
    opts = QueueOpts(url=f"sqlite:///{tmp_path}/queue.db")
    readings = [
        *QueueReader("orders", Queue(backend), opts).read(),
        *read_client("web", ClientStats()),
        read_build(),
    ]

    assert {reading.metric for reading in readings} == METRICS.keys()
    for reading in readings:
        assert len(reading.labels) == len(METRICS[reading.metric].labels), reading


def test_a_paused_processor_of_an_older_release_says_not_why(backend):
    backend.renew(
        "old", [], visibility_timeout=60.0, note=json.dumps({"host": "old", "pid": 1, "paused": True})
    )
    readings = read(QueueReader("orders", Queue(backend)))

    assert readings["processor.paused", "old:1", "unknown"] == 1
    assert ("processor.delivery.lag", "old:1") not in readings


def test_a_client_that_is_paused_says_why():
    stats = ClientStats(paused=True, pause_reason="unauthorized")
    paused = {r.labels[1]: r.value for r in read_client("web", stats) if r.metric == "client.paused"}

    assert [reason for reason, value in paused.items() if value] == ["unauthorized"]
    assert len(paused) == 5


def test_the_bounds_of_a_queue_and_the_room_of_its_file_are_told(backend, tmp_path):
    tmp_path.joinpath("queue.db").write_bytes(b"x" * 500)
    tmp_path.joinpath("queue.db-wal").write_bytes(b"x" * 70)
    opts = QueueOpts(url=f"sqlite:///{tmp_path}/queue.db", max_jobs=10, max_bytes=2000)
    readings = read(QueueReader("orders", Queue(backend), opts))

    assert readings["queue.jobs.limit",] == 10
    assert readings["queue.stored.limit",] == 2000
    assert readings["queue.store.used", "sqlite"] == 570
    assert readings["queue.store.limit", "sqlite"] > 570


@pytest.mark.parametrize(
    ("info", "room"),
    [
        ({"used_memory": 5, "maxmemory": 8, "total_system_memory": 99}, Room("redis", 5, 8)),
        ({"used_memory": 5, "maxmemory": 0, "total_system_memory": 99}, Room("redis", 5, 99)),
        ({"used_memory": 5}, Room("redis", 5, 0)),
        ({}, None),  # the user may not call INFO
    ],
)
def test_a_redis_server_is_full_at_maxmemory_or_where_its_machine_is(info, room):
    assert redis_room(info) == room


def test_two_processors_of_one_process_are_told_apart(backend):
    backend.renew("other", [], visibility_timeout=60.0, note=json.dumps({**NOTE, "sent": 1}))
    readings = read(QueueReader("orders", Queue(backend)))

    assert sum(value for (metric, *_), value in readings.items() if metric == "processor.sent.jobs") == 31


def test_a_processor_that_says_nothing_of_itself_goes_by_its_token(backend):
    backend.renew("silent", [], visibility_timeout=60.0)

    assert read(QueueReader("orders", Queue(backend)))["processor.sent.jobs", "silent"] == 0


def read_troubles(reader):
    return {key: value for key, value in read(reader).items() if key[0] == "queue.trouble"}


def read_but_troubles(reader):
    return {key: value for key, value in read(reader).items() if key[0] != "queue.trouble"}


def test_every_trouble_is_exported_from_the_start_as_0(backend):
    troubles = read_troubles(QueueReader("orders", Queue(backend)))

    assert [code for _, code in troubles] == list(KINDS)
    assert {code for (_, code), value in troubles.items() if value} <= {"queue.failed", "plane.throttled"}


def test_a_queue_that_cannot_be_reached_is_not_up_and_nothing_else(backend, monkeypatch):
    reader = QueueReader("orders", Queue(backend))
    assert len(read(reader)) > 1

    def stats():
        raise QueueUnavailable("away")

    monkeypatch.setattr(backend, "stats", stats)
    assert read_but_troubles(reader) == {("queue.up",): 0}
    assert {code for (_, code), value in read_troubles(reader).items() if value} == {"queue.unreachable"}


def test_a_queue_that_is_not_there_yet_is_not_up(clients):
    client = clients()

    assert read_but_troubles(QueueReader("orders", lambda: client.queue)) == {("queue.up",): 0}


def test_failed_jobs_are_counted_by_reason_only_when_their_number_has_changed(backend, monkeypatch):
    counted = []
    reasons = backend.reasons
    monkeypatch.setattr(backend, "reasons", lambda: counted.append(1) or reasons())
    reader = QueueReader("orders", Queue(backend))

    read(reader)
    assert read(reader)["queue.failed.jobs", "rejected"] == 2
    assert len(counted) == 1
    fail(backend, "corrupt")
    assert read(reader)["queue.failed.jobs", "corrupt"] == 1
    assert len(counted) == 2


def test_many_failed_jobs_are_counted_by_reason_only_now_and_then(backend, monkeypatch):
    monkeypatch.setattr(_metrics, "_MANY_FAILED", 3)
    now = [100.0]
    reader = QueueReader("orders", Queue(backend), clock=lambda: now[0])
    assert read(reader)["queue.failed.jobs", "rejected"] == 2

    fail(backend, "rejected")
    now[0] += 29.0
    assert read(reader)["queue.failed.jobs", "rejected"] == 2
    now[0] += 2.0
    assert read(reader)["queue.failed.jobs", "rejected"] == 3


def test_known_reasons_are_there_from_the_start():
    """Prometheus takes no notice of a counter that appears with the value 1: it has not grown."""
    readings = {(r.metric, *r.labels): r.value for r in read_client("web", ClientStats())}

    assert readings["client.refused.events", "web", "buffer_full"] == 0
    assert readings["client.failed.events", "web", "max_attempts"] == 0
    assert readings["client.lost.events", "web", "unstored"] == 0
    assert readings["client.lost.events", "web", "purged"] == 0


def test_a_reason_that_nobody_knew_is_exported_too():
    readings = {(r.metric, *r.labels): r.value for r in read_client("web", ClientStats(refused={"new": 2}))}

    assert readings["client.refused.events", "web", "new"] == 2


def test_what_is_pending_is_in_one_place():
    stats = ClientStats(accepted=10, buffered=1, persisted=9, spilled=4)
    pending = {r.labels[1]: r.value for r in read_client("web", stats) if r.metric == "client.pending.events"}

    assert pending == {"memory": 1, "queue": 5, "spill_file": 4}


def test_the_text_says_what_prometheus_own_library_says(backend, clients):
    client = clients()
    assert client.track("user", "event")
    eventually(lambda: client.stats().delivered)
    registry = CollectorRegistry()
    registry.register(EventSpoolCollector({"web": client}, {"orders": Queue(backend)}))

    ours = values(metrics_text({"web": client}, [QueueReader("orders", Queue(backend))]))
    theirs = values(generate_latest(registry).decode())

    assert ours["eventspool_build_info", ("python", platform.python_version()), ("version", __version__)] == 1
    labels = (("processor", "web-1:7"), ("queue", "orders"))
    lag = {
        le: ours["eventspool_processor_delivery_lag_seconds_bucket", ("le", le), *labels]
        for le in ("0.1", "0.25", "+Inf")
    }
    assert lag == {"0.1": 0, "0.25": 2, "+Inf": 3}
    assert ours["eventspool_processor_delivery_lag_seconds_count", *labels] == 3
    ages = [("eventspool_queue_oldest_age_seconds", ("queue", "orders"))]
    assert [ours.pop(age) <= theirs.pop(age) for age in ages] == [True]
    assert ours == theirs
    assert ours["eventspool_client_delivered_events_total", ("client", "web")] == 1


def test_promtool_finds_nothing_wrong_with_the_text(backend, clients, tmp_path):
    opts = QueueOpts(url=f"sqlite:///{tmp_path}/queue.db")
    text = metrics_text({"web": clients()}, [QueueReader("orders", Queue(backend), opts)])
    done = subprocess.run([find_promtool(), "check", "metrics"], input=text, capture_output=True, text=True)

    assert {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")} == {
        metric.prometheus_name + "_total" * metric.is_counter
        for metric in METRICS.values()
        if "prometheus" in metric.goes_to
    }
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_promtool_would_find_a_quantile_that_is_no_summarys():
    text = '# HELP a_seconds A.\n# TYPE a_seconds gauge\na_seconds{quantile="0.5"} 1\n'
    done = subprocess.run([find_promtool(), "check", "metrics"], input=text, capture_output=True, text=True)

    assert done.returncode != 0
    assert "quantile" in done.stdout + done.stderr


def test_a_processor_with_a_hostile_name_breaks_no_line(backend):
    host = 'a"b\\c\nd{}=,'
    backend.renew("evil", [], visibility_timeout=60.0, note=json.dumps({**NOTE, "host": host}))
    text = metrics_text({}, [QueueReader("orders", Queue(backend))])

    labels = (("processor", f"{host}:7"), ("queue", "orders"))
    assert values(text)["eventspool_processor_sent_jobs_total", *labels] == 30
