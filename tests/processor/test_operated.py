"""A processor whose queue is paused and resumed from outside, and what it tells of itself meanwhile."""

from __future__ import annotations

import os
import socket
import time

import pytest

from eventspool import Queue
from eventspool._backends.memory import MemoryBackend
from eventspool._config import Ordering
from eventspool._delivery.verdict import DeliveryResult

from .conftest import DOWN, OK, make_job, until


class Shared(MemoryBackend):
    """One that other processes might use: its processor listens, and describes itself."""

    shared = True


@pytest.fixture
def shared(rig):
    """A rig on a shared queue, and the operator's view of that queue."""

    def make(*answer, ordering=Ordering.NONE, **opts):
        made = rig(*answer, ordering=ordering, backend=Shared(ordering=ordering), **opts)
        return made, Queue(made.backend)

    return make


@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO], ids=["shared", "fifo"])
def test_a_pause_is_obeyed_and_a_resume_wakes_up(shared, ordering):
    rig, queue = shared(ordering=ordering)
    rig.start()
    rig.commit(make_job("before"))
    rig.empty()
    queue.pause()
    until(lambda: rig.processor.in_flight == 0)
    rig.commit(*[make_job(f"j{i}") for i in range(20)])
    time.sleep(0.3)  # in which a processor that does not obey would send all of them
    assert len(rig.plane.sent) == 1
    queue.resume()
    resumed = time.monotonic()
    until(lambda: len(rig.plane.sent) > 1)
    assert time.monotonic() - resumed < 0.9, "woken, not found by looking now and then"
    rig.empty()
    assert set(rig.attempts.values()) <= {0}


def test_a_pause_stops_a_processor_in_full_swing_within_a_second(shared):
    rig, queue = shared(lambda _: time.sleep(0.002) or OK, concurrency=2)
    rig.commit(*[make_job(f"j{i}") for i in range(3000)])
    rig.start()
    until(lambda: len(rig.plane.sent) > 50)
    queue.pause()
    until(lambda: rig.processor.in_flight == 0, timeout=1.0)
    sent = len(rig.plane.sent)
    assert queue.stats().waiting.jobs > 0
    time.sleep(0.2)
    assert len(rig.plane.sent) == sent


def test_a_pause_holds_for_probes_and_costs_no_attempts(shared):
    rig, queue = shared(DOWN, max_attempts=1000)
    rig.start()
    rig.commit(*[make_job(f"j{i}") for i in range(10)])
    until(lambda: rig.processor.is_paused)
    queue.pause()
    until(lambda: (rig.processor.in_flight, rig.backend.stats().leased.jobs) == (0, 0))
    sent, attempts = len(rig.plane.sent), rig.attempts
    time.sleep(0.2)  # a probe would come after some milliseconds
    assert (len(rig.plane.sent), rig.attempts) == (sent, attempts)
    rig.plane.answer = OK
    queue.resume()
    rig.empty()


def test_a_processor_says_who_it_is_and_how_its_requests_end(shared, monkeypatch):
    monkeypatch.setattr("eventspool._delivery.leases.HEARTBEAT_INTERVAL", 0.02)
    answers = [DeliveryResult(None, "the data plane did not answer in time", timed_out=True), DOWN]
    rig, queue = shared([*answers, *[OK] * 20], concurrency=1)
    rig.start()
    rig.commit(*[make_job(f"j{i}") for i in range(5)])
    seen = {}

    def heard():
        [info] = queue.processors()
        seen.update(info.statuses)
        return info if info.sent == 5 and {"timeout", "503", "200"} <= seen.keys() else None

    info = until(heard)
    assert (info.host, info.pid) == (socket.gethostname(), os.getpid())
    assert info.started_at == pytest.approx(time.time(), abs=30)
    assert info.retried == 2
    assert 0 <= info.latency_p50 <= info.latency_p99 < 1
    assert info.last_error == "the data plane answered 503"


def test_a_processor_tells_of_an_outage(shared, monkeypatch):
    monkeypatch.setattr("eventspool._delivery.leases.HEARTBEAT_INTERVAL", 0.02)
    rig, queue = shared(DeliveryResult(401))
    rig.start()
    rig.commit(make_job("j"))
    until(lambda: any(info.paused for info in queue.processors()))


def test_what_the_data_plane_said_of_events_stands_in_no_note(shared, monkeypatch):
    monkeypatch.setattr("eventspool._delivery.leases.HEARTBEAT_INTERVAL", 0.02)
    rig, queue = shared(DeliveryResult(404, body=b"no such canary"))
    rig.start()
    rig.commit(make_job("canary"))
    info = until(lambda: next((i for i in queue.processors() if i.last_error), None))
    assert info.last_error == "a batch failed: rejected"
    [(_, _, note)] = rig.backend.processors()
    assert "canary" not in note


def test_an_idle_processor_is_heard_of_every_two_seconds(shared):
    rig, queue = shared()
    rig.start()
    first = until(lambda: next((i.seen_at for i in queue.processors() if i.host), None))
    until(lambda: queue.processors()[0].seen_at > first, timeout=3.5)
