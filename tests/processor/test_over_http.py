"""The same over real HTTP, with the local data plane and its scripted faults."""

from __future__ import annotations

import json

import pytest

from eventspool._config import ClientOpts
from eventspool._dataplane import DataPlane
from eventspool._delivery.transport import HTTPTransport
from eventspool._envelope import seal
from eventspool._job import NewJob

from .conftest import make_job, names_of, until


@pytest.fixture
def plane():
    with DataPlane() as plane:
        yield plane


@pytest.fixture
def sender(plane, monkeypatch):
    """Return a function that makes a transport to the plane."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = []

    def make(write_key=plane.write_key, timeout=2.0):
        opts = ClientOpts(write_key=write_key, data_plane_url=plane.url, timeout=timeout)
        made.append(HTTPTransport(opts))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


def _job(*names):
    """Return a job that the local data plane accepts: *names* are ids, their first part the event."""
    job = make_job(*names)
    events = [
        json.dumps(
            {
                "type": "track",
                "event": name.partition("-")[0],
                "userId": "u1",
                "messageId": name,
                "timestamp": "2026-01-01T00:00:00.000Z",
            }
        ).encode()
        for name in names
    ]
    return NewJob(job.id, seal(events), len(names))


def _jobs(count, size=10):
    return [_job(*[f"good-{i}-{k}" for k in range(size)]) for i in range(count)]


def test_many_jobs_arrive_complete_and_unchanged(rig, plane, sender):
    rig = rig(plane=sender()).start()
    rig.commit(*_jobs(30))
    rig.empty()
    stats = plane.stats()
    assert (stats.unique, stats.duplicates, stats.changed, stats.without_sent_at) == (300, 0, 0, 0)
    assert len(rig.settled) == 30


@pytest.mark.parametrize(
    "faults",
    [
        ["status=503,every=3"],
        ["status=500,record,every=4"],
        ["drop=before,every=5"],
        ["drop=after,record,every=5"],
        ["drop=half,every=5"],
        ["status=429,retry_after=0.05,every=7"],
        ["max_events=4"],
        ["redirect=http://127.0.0.1:1/x,every=4"],
        ["status=401,next=3"],
        ["status=503,p=0.3", "drop=after,record,p=0.1", "latency=0.0..0.02"],
    ],
    ids=lambda faults: faults[0],
)
def test_through_every_fault_every_event_arrives_unchanged(rig, plane, sender, faults):
    plane.script(*faults, seed=7)
    rig = rig(plane=sender(), max_attempts=50).start()
    rig.commit(*_jobs(12))
    rig.empty()
    stats = plane.stats()
    assert (stats.unique, stats.changed) == (120, 0)
    assert rig.failed == []
    assert sum(end.failure is None for end in rig.settled) == 12
    if not any("record" in fault or "half" in fault for fault in faults):
        assert stats.duplicates == 0


def test_poison_is_found_over_http(rig, plane, sender):
    plane.script("reject=batch,event=Poison")
    rig = rig(plane=sender()).start()
    names = [f"good-{i}" for i in range(12)]
    names[3], names[11] = "Poison-a", "Poison-b"
    [job] = rig.commit(_job(*names))
    rig.empty()
    assert sorted(plane.unique_ids()) == sorted(n for n in names if n.startswith("good"))
    assert plane.stats().duplicates == 0
    assert rig.failure(job.id).indices == (3, 11)
    assert names_of(rig.backend.payload(job.id)) == ["Poison", "Poison"]


def test_a_partial_failure_is_understood_over_http(rig, plane, sender):
    plane.script("reject=events,event=Poison")
    rig = rig(plane=sender()).start()
    [job] = rig.commit(_job("good-1", "Poison-a", "good-2"))
    rig.empty()
    assert plane.unique_ids() == ["good-1", "good-2"]
    assert rig.failure(job.id).indices == (1,)
    assert plane.stats().requests == 1


def test_a_wrong_write_key_keeps_everything(rig, plane, sender):
    rig = rig(plane=sender("wrong-key"), max_attempts=1).start()
    rig.commit(*_jobs(3))
    until(lambda: plane.stats().statuses.get("401", 0) >= 4)
    assert plane.stats().unique == 0
    assert (rig.failed, set(rig.attempts.values())) == ([], {0})


def test_an_outage_is_waited_out(rig, plane, sender):
    plane.script("outage")
    rig = rig(plane=sender(), max_attempts=1_000).start()
    rig.commit(*_jobs(10))
    until(lambda: rig.processor.is_paused)
    plane.script()
    rig.empty()
    assert (plane.stats().unique, plane.stats().duplicates) == (100, 0)


def test_a_data_plane_that_hangs_costs_one_timeout_each_and_then_everything_arrives(rig, plane, sender):
    plane.script("hang=30,next=4")
    rig = rig(plane=sender(timeout=0.2), concurrency=2).start()
    rig.commit(*_jobs(6))
    rig.empty()
    assert (plane.stats().unique, rig.failed) == (60, [])
