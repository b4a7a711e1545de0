"""What a processor tells of itself, and how it is read."""

from __future__ import annotations

import json

import pytest

from eventspool._distribution import LAG_BOUNDS, REQUEST_BOUNDS, Distribution
from eventspool._fleet import ProcessorInfo
from eventspool._heartbeat import MAX_NOTE_BYTES, Heartbeat, read_note
from eventspool._version import __version__

FIGURES = {"in_flight": 3, "sent": 5, "retried": 2, "paused": True}


def spread(bounds, total, counts):
    return Distribution(bounds, tuple(counts.get(bound, 0) for bound in (*bounds, None)), total)


def told(heartbeat):
    return read_note("token", 7.0, heartbeat.note(**FIGURES))


def test_a_note_is_read_as_it_was_written():
    heartbeat = Heartbeat("host", 42, 1.5)
    heartbeat.add([("200", 0.25), ("200", 0.5), ("429", 0.75)])
    heartbeat.add_delivery(1000.0, 1001.0)
    heartbeat.add_delivery(1000.0, 1060.0)
    heartbeat.last_error = "the data plane answered 429"
    assert told(heartbeat) == ProcessorInfo(
        token="token",
        host="host",
        pid=42,
        version=__version__,
        started_at=1.5,
        seen_at=7.0,
        latency_p50=0.5,
        latency_p99=0.75,
        statuses={"200": 2, "429": 1},
        last_error="the data plane answered 429",
        pause_reason="throttled",
        request_seconds=spread(REQUEST_BOUNDS, 1.5, {0.25: 1, 0.5: 1, 0.75: 1}),
        lag_seconds=spread(LAG_BOUNDS, 61.0, {1.0: 1, 60.0: 1}),
        **FIGURES,
    )


def test_nothing_was_sent_yet():
    info = told(Heartbeat("host", 42, 1.5))
    assert (info.latency_p50, info.latency_p99, info.statuses, info.last_error) == (None, None, {}, "")


def test_answers_are_told_for_some_heartbeats_and_then_forgotten():
    heartbeat = Heartbeat("host", 42, 1.5)
    heartbeat.add([("500", 0.1)])
    seen = [told(heartbeat).statuses for _ in range(5)]
    assert seen == [{"500": 1}] * 4 + [{}]


@pytest.mark.parametrize(
    ("endings", "reason"),
    [
        (["200", "401"], "unauthorized"),
        (["403"], "unauthorized"),
        (["503", "429"], "throttled"),
        (["503", "200"], "unknown"),
        (["503"], "unavailable"),
        (["timeout"], "unreachable"),
        (["error"], "unreachable"),
        ([], "unknown"),
    ],
)
def test_a_pause_has_the_reason_of_the_last_request_that_failed(endings, reason):
    heartbeat = Heartbeat("host", 42, 1.5)
    heartbeat.add([(ending, 0.1) for ending in endings])
    assert told(heartbeat).pause_reason == reason
    assert read_note("token", 7.0, heartbeat.note(**{**FIGURES, "paused": False})).pause_reason == ""


def test_a_batch_of_unknown_age_is_not_counted():
    heartbeat = Heartbeat("host", 42, 1.5)
    heartbeat.add_delivery(0.0, 1_000_000.0)
    assert told(heartbeat).lag_seconds.count == 0


def test_latencies_are_those_of_the_last_requests():
    heartbeat = Heartbeat("host", 42, 1.5)
    heartbeat.add([("200", 9.0)] * 500)
    heartbeat.add([("200", 0.001 * n) for n in range(1, 501)])
    info = told(heartbeat)
    assert info.latency_p50 == pytest.approx(0.25, abs=0.001)
    assert info.latency_p99 == pytest.approx(0.495, abs=0.001)


def test_a_note_is_small_whatever_happened():
    heartbeat = Heartbeat("h" * 64, 1 << 22, 1e9 + 0.123456)
    for status in range(100, 1000):
        heartbeat.add([(str(status), 12.3456789)] * 1000)
    heartbeat.last_error = "x" * 10_000
    assert len(heartbeat.note(**FIGURES)) < 1000


@pytest.mark.parametrize(
    "note",
    [
        "",
        "junk",
        "[1]",
        "null",
        "[" * 5000,
        '{"pid":"x","sent":-1,"statuses":[1],"latency_p50":"fast","host":7,"started_at":null,"paused":1}',
        '{"latency_p50":NaN,"latency_p99":Infinity,"statuses":{"200":"many"},"retried":true}',
        json.dumps({"sent": 5, "more": "x" * MAX_NOTE_BYTES}),
    ],
)
def test_rubbish_in_a_note_reads_as_nothing(note):
    info = read_note("token", 7.0, note)
    assert info == ProcessorInfo(
        "token", seen_at=7.0, paused=info.paused, pause_reason=info.pause_reason, statuses=info.statuses
    )
    assert set(info.statuses.values()) <= {0}
