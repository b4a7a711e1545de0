"""Many processors on one queue meet an outage of the data plane together, on real servers."""

from __future__ import annotations

import contextlib
import http.server
import json
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from eventspool._backends.memory import MemoryBackend
from eventspool._backends.rules import PROBE_PERMIT
from eventspool._claim import ClaimTerms
from eventspool._config import JobOpts, Ordering
from eventspool._contract.tools import eventually, new_job
from eventspool._delivery.parcel import Packer
from eventspool._delivery.processor import Processor
from eventspool._delivery.verdict import DeliveryResult
from eventspool._envelope import seal
from eventspool._fleet import Trouble
from eventspool._job import NewJob, new_job_id
from redis_servers import make_backend, move_clock, new_queue_name

PROGRAM = Path(__file__).parent / "programs" / "fleet_member.py"
OK, DOWN = DeliveryResult(200), DeliveryResult(503)


class Plane:
    """A data plane that many processors share: notes when each request came, and answers all alike."""

    def __init__(self, answer=DOWN, seconds=0.005):
        self.answer, self.seconds = answer, seconds
        self.began = time.monotonic()
        self.times = []

    def send(self, body, *, gzip):
        self.times.append(time.monotonic() - self.began)
        answer = self.answer
        time.sleep(self.seconds)
        return answer

    def close(self):
        pass

    def count(self, start, end):
        return sum(start <= moment < end for moment in list(self.times))


@contextlib.contextmanager
def fleet(make, plane, number, **opts):
    """Run this number of processors, each with a handle of its own."""
    processors = []
    for _ in range(number):
        backend = make()
        processors.append(
            Processor(
                backend, plane, JobOpts(**opts), ordering=Ordering.NONE, packer=Packer(1 << 20), gzip=False,
                on_settled=lambda end: None,
            )
        )  # fmt: skip
    plane.began = time.monotonic()
    try:
        for processor in processors:
            processor.start()
        yield processors
    finally:
        for processor in processors:
            processor.end()
        for processor in processors:
            processor.stop(5.0)
            processor.join(5.0)


def unfinished(backend):
    stats = backend.stats()
    return stats.waiting.jobs + stats.delayed.jobs + stats.leased.jobs


def test_twenty_processors_probe_as_one_and_drain_soon_after_the_outage(make):
    looking = make()
    looking.commit([new_job() for _ in range(600)])
    plane = Plane()
    with fleet(make, plane, 20) as processors:
        eventually(lambda: time.monotonic() - plane.began > 4.0)
        assert plane.count(0.0, 2.0) <= 24
        assert plane.count(2.0, 4.0) <= 2
        stats = looking.stats()
        assert stats.held_because == "the data plane answered 503"
        assert all(processor.is_paused for processor in processors)
        assert any("503" in processor.hindrance for processor in processors)
        plane.answer = OK
        healed = time.monotonic()
        assert eventually(lambda: not unfinished(looking))
        assert time.monotonic() - healed < 10.0
        assert eventually(lambda: not any(processor.is_paused for processor in processors))
    assert looking.stats().held_until == 0.0


@pytest.mark.rotating("fleets")
@pytest.mark.parametrize("seconds", [2.0, 3.0])
def test_none_asks_again_within_the_time_that_the_data_plane_asked_for(make, seconds):
    looking = make()
    looking.commit([new_job() for _ in range(200)])
    plane = Plane(DeliveryResult(503, retry_after=seconds))
    with fleet(make, plane, 10):
        eventually(lambda: time.monotonic() - plane.began > 2 * seconds + 1)
        first = plane.times[0]
        early = [moment for moment in plane.times if first + 0.5 < moment < first + seconds]
        assert not early
        assert plane.count(0, 60) <= 10 + 3
        plane.answer = OK
        assert eventually(lambda: not unfinished(looking))


@pytest.mark.rotating("fleets")
@pytest.mark.parametrize("processors", [1, 5])
def test_a_rate_is_kept_by_all_processors_together(make, processors):
    looking = make()
    looking.commit([new_job(10) for _ in range(30)])
    plane = Plane(OK)
    with fleet(make, plane, processors, max_events_per_second=100.0):
        assert eventually(lambda: not unfinished(looking))
        took = time.monotonic() - plane.began
    assert 1.9 < took < 10.0, "a hundred at once, and two hundred at a hundred a second"


@pytest.mark.rotating("fleets", seldom=True)
@pytest.mark.slow
@pytest.mark.parametrize("retry_after", [None, 20])
def test_fifty_processors_in_five_processes_keep_to_what_is_promised(server, tmp_path, retry_after):
    name = new_queue_name()
    backend = make_backend(server, queue_name=name)
    backend.open()
    backend.commit([new_job() for _ in range(3_000)])
    times, state = [], {"down": True}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            times.append(time.monotonic())
            down = state["down"]
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(503 if down else 200)
            if down and retry_after:
                self.send_header("Retry-After", str(retry_after))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    plane = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=plane.serve_forever, daemon=True).start()
    command = [sys.executable, str(PROGRAM), server.url, name, f"http://127.0.0.1:{plane.server_port}"]
    members = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(5)]
    try:
        assert eventually(lambda: times, 60.0)
        began = times[0]
        eventually(lambda: time.monotonic() - began > 60.0, 70.0)
        moments = [moment - began for moment in times]
        state["down"] = False
        healed = time.monotonic()
        assert sum(moment < 2.0 for moment in moments) <= 60
        assert sum(2.0 <= moment < 60.0 for moment in moments) <= 20
        if retry_after:
            assert not [moment for moment in moments if 2.0 < moment < 20.0]
        else:
            assert eventually(lambda: not unfinished(backend), 60.0) is True
            assert time.monotonic() - healed < 10.0
    finally:
        for member in members:
            member.kill()
            member.communicate()
        plane.shutdown()
        plane.server_close()
        backend.close()


@pytest.mark.parametrize("seed", range(3))
def test_the_server_decides_as_the_reference_does(make, raw, seed):
    """What the scripts know together of the data plane is what the backend in memory, which is pure Python, makes of it."""
    dice, now = random.Random(seed), [1_000_000.0]
    reference = MemoryBackend(clock=lambda: now[0])
    backend = make()
    jobs = sorted((new_job(dice.randint(1, 40)) for _ in range(40)), key=lambda job: job.id)
    for each in (reference, backend):
        each.commit(jobs)
    tokens = ("a", "b", "c")
    held = {token: [] for token in tokens}
    rate = dice.choice((None, 20.0))
    probing = None
    for _ in range(150):
        token = dice.choice(tokens)
        match dice.choice(("claim", "claim", "claim", "fail", "fail", "well", "leave", "pass", "pass")):
            case "claim":
                options = {
                    "limit": 1, "visibility_timeout": 100_000.0, "events_per_second": rate,
                    "sending": dice.random() < 0.9,
                }  # fmt: skip
                expected, got = (each.claim(token, ClaimTerms(**options)) for each in (reference, backend))
                assert [j.id for j in got.jobs] == [j.id for j in expected.jobs]
                assert replace(got, jobs=(), wait=None) == replace(expected, jobs=(), wait=None)
                if got.is_held_back or got.obstacle:
                    assert got.wait == pytest.approx(expected.wait, abs=0.5)
                held[token] += [j.id for j in got.jobs]
                probing = token if got.is_probe else probing
            case "fail":
                trouble = Trouble(
                    f"why {dice.random()}", 20.0, 90.0, dice.choice((1, 2)), dice.choice((0, 0, 0, 70.0)),
                    dice.random() < 0.1,
                )  # fmt: skip
                is_probe = token == probing
                expected, got = (
                    each.hold(token, trouble, is_probe=is_probe) for each in (reference, backend)
                )
                assert (got is None) == (expected is None)
                if got is not None:
                    assert got.why == expected.why
                    assert got.seconds == pytest.approx(expected.seconds, abs=0.5)
            case "well" if dice.random() < 0.4:
                ids = held[token][:1]
                del held[token][:1]
                is_probe = token == probing
                for each in (reference, backend):
                    each.ack(ids)
                expected, got = (each.hold(token, None, is_probe=is_probe) for each in (reference, backend))
                assert (got is None) == (expected is None)
            case "leave":
                held[token].clear()
                for each in (reference, backend):
                    each.leave(token)
            case _:
                seconds = dice.choice((0.0, 3.0, PROBE_PERMIT + 2, 30.0))
                now[0] += seconds
                move_clock(raw, make.prefix, seconds)
    assert (reference.stats().held_until > 0) == (backend.stats().held_until > 0)
    assert reference.stats().held_because == backend.stats().held_because


def test_a_damaged_hold_stops_nothing(make, raw):
    backend = make()
    for junk in ("x", "", "1:2:3", "9" * 15 + ":0:1:1:1:0::why", ":::::::", "-1:0:0:0:0:0::"):
        raw.hset(make.prefix + "m", mapping={"hold": junk, "doubt": junk, "answered": junk, "paid": junk})
        [job] = [new_job()]
        backend.commit([job])
        claim = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60.0, events_per_second=1000.0))
        assert [each.id for each in claim.jobs] == [job.id], junk
        backend.stats()
        backend.leave("t")
        backend.hold("t", Trouble("why", 1.0, 30.0), is_probe=False)
        backend.hold("t", None, is_probe=False)
        raw.hdel(make.prefix + "m", "paid")
        backend.ack([job.id])


class Sink(Plane):
    """A data plane that takes all at once and notes when each event came."""

    def __init__(self):
        super().__init__(OK, 0.0)
        self.came = {}

    def send(self, body, *, gzip):
        for event in json.loads(body)["batch"]:
            self.came.setdefault(event["n"], time.monotonic())
        return super().send(body, gzip=gzip)


class Hole(Plane):
    """A data plane that does not answer."""

    def __init__(self):
        super().__init__(DeliveryResult(error="the data plane did not answer in time"))
        self.closed = threading.Event()

    def send(self, body, *, gzip):
        self.times.append(time.monotonic() - self.began)
        self.closed.wait(10.0)
        return self.answer


@pytest.mark.rotating("fleets")
@pytest.mark.parametrize("neighbour", ["well", "black hole"])
def test_a_destination_that_hangs_delays_no_other_one(server, make, neighbour):
    name = new_queue_name()
    backends = []

    def make_other():
        backend = make_backend(server, queue_name=name)
        backend.open()
        backends.append(backend)
        return backend

    sink, hole = Sink(), Hole() if neighbour == "black hole" else Plane(OK)
    producer, other = make(), make_other()
    sent = {}
    with fleet(make, sink, 2), fleet(make_other, hole, 2):
        for number in range(200):
            payload = seal([b'{"n":%d}' % number], compress=False)
            other.commit([NewJob(new_job_id(), payload, 1)])
            sent[number] = time.monotonic()
            producer.commit([NewJob(new_job_id(), payload, 1)])
            time.sleep(0.005)
        assert eventually(lambda: len(sink.came) == len(sent))
        if neighbour == "black hole":
            assert hole.times
            assert unfinished(other)
            hole.closed.set()
    for backend in backends:
        backend.close()
    waits = sorted(sink.came[number] - moment for number, moment in sent.items())
    assert waits[len(waits) * 99 // 100] < 1.0, "what waits for the one that hangs waits for ten seconds"


@pytest.mark.rotating("fleets")
def test_a_machine_that_alone_cannot_reach_the_data_plane_holds_back_itself_alone(make):
    looking, sick, well = make(), Plane(DeliveryResult(error="the data plane cannot be reached")), Plane(OK)
    with fleet(make, well, 3) as healthy, fleet(make, sick, 1, max_attempts=1_000) as broken:
        deadline, stored = time.monotonic() + 3.0, 0
        while time.monotonic() < deadline:
            stored += looking.commit([new_job() for _ in range(4)]).accepted
            time.sleep(0.01)
        assert eventually(lambda: broken[0].is_paused)
        assert eventually(lambda: not unfinished(looking))
        assert len(sick.times) < 15
        assert eventually(lambda: sum(processor.sent for processor in healthy) == stored)
        assert looking.stats().held_until == 0.0
