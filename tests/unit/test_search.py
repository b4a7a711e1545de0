"""A search looks through lists and payloads in bounded steps, and says after each how far it has come."""

from __future__ import annotations

import itertools

import pytest

from eventspool import ConfigError, Queue
from eventspool._backends.memory import MemoryBackend
from eventspool._claim import ClaimTerms
from eventspool._envelope import seal
from eventspool._job import Failure, JobState, NewJob, Settlement, SettlementKind
from eventspool._operate.selection import PAGE, Selection

MANY = 2 * PAGE + 100


@pytest.fixture
def backend():
    return MemoryBackend()


@pytest.fixture
def queue(backend):
    return Queue(backend)


@pytest.fixture
def store(backend):
    """Store a job for each payload, one millisecond after the other; return the ids."""
    numbers = itertools.count(1)

    def store(*payloads):
        jobs = [NewJob(f"{next(numbers):012x}{0:016x}", payload, 2) for payload in payloads]
        assert backend.commit(jobs).accepted == len(jobs)
        return [job.id for job in jobs]

    return store


def batch(*names):
    return seal([b'{"type":"track","event":"%s"}' % name.encode() for name in names])


@pytest.fixture
def many(store):
    """Waiting jobs, of which each hundredth holds an order, beside another event."""
    return store(*(batch("View", "View" if n % 100 else "Order") for n in range(MANY)))[::100]


def test_each_step_says_what_it_looked_at_and_found(queue, many):
    looks = list(queue.search("waiting", event="Order"))

    assert [job.id for look in looks for job in look.jobs] == many
    assert {places for look in looks for places in look.places.values()} == {(1,)}
    assert [look.looked_at for look in looks] == [PAGE // 2] * 4 + [100]


def test_a_search_ends_where_its_limit_is_reached(queue, backend, many, monkeypatch):
    read = []
    payloads = backend.payloads
    monkeypatch.setattr(backend, "payloads", lambda ids: read.append(len(ids)) or payloads(ids))

    assert [job.id for look in queue.search("waiting", event="Order", limit=3) for job in look.jobs] == many[
        :3
    ]
    assert read == [PAGE // 2], "and not the whole queue"


def test_jobs_that_cannot_be_read_are_counted_and_not_found(queue, store):
    [junk, _] = store(b"junk", batch("View", "Order"))
    [look] = queue.search("waiting", event="Order")

    assert (len(look.jobs), look.unreadable) == (1, [junk])
    assert [look.unreadable for look in queue.search("waiting")] == [()], "nothing had to be read"


def test_a_job_that_goes_meanwhile_is_not_called_unreadable(queue, backend, store, monkeypatch):
    store(batch("Order", "Order"))
    payloads = backend.payloads
    monkeypatch.setattr(backend, "payloads", lambda ids: backend.ack(ids) and payloads(ids))

    [look] = queue.search("waiting", event="Order")
    assert (look.looked_at, look.jobs, look.unreadable) == (1, [], [])


def test_only_the_first_jobs_are_retried_to_see_what_becomes_of_them(queue, backend, many):
    claimed = backend.claim("t", ClaimTerms(limit=MANY, visibility_timeout=60)).jobs
    failure = Failure("rejected", "no such FIELD: x", 2)
    backend.settle("t", [Settlement(job.id, SettlementKind.FAIL, failure=failure) for job in claimed])

    seen = []
    assert queue.retry_failed(error="field: X", event="Order", limit=3, on_job=seen.append) == 3
    assert [job.id for job in queue.jobs("waiting")] == many[:3]
    assert sum(seen) == PAGE // 2
    assert queue.retry_failed(error="nothing of the kind") == 0
    assert queue.purge(event="Order") == len(many) - 3
    assert queue.purge(ids=many[:1], event="View") == 0
    assert queue.purge("waiting", ids=many[:2], event="View", limit=1) == 1


def test_only_matching_events_are_exported(queue, many, tmp_path):
    assert queue.export(tmp_path / "all", "waiting", limit=2) == 4
    assert queue.export(tmp_path / "orders", "waiting", event="Order") == len(many)
    assert (tmp_path / "orders").read_bytes().count(b'"Order"') == len(many)


def test_a_time_is_between_two_ages(backend, store):
    ids = store(*[batch("A", "B")] * 5)  # at 1 ms, 2 ms, ...
    some = Selection((JobState.WAITING,), older_than=1.001, newer_than=1.004, now=1.0055)
    assert [job.id for page in some.pages(backend) for job in page] == ids[1:4]


def test_a_search_goes_on_behind_a_job(queue, many):
    assert [
        job.id for look in queue.search("waiting", after=many[0], event="Order") for job in look.jobs
    ] == many[1:]


def test_what_is_no_condition_is_refused(queue):
    with pytest.raises(TypeError, match="evnt"):
        queue.purge(evnt="Order")
    with pytest.raises(ConfigError, match="limit"):
        queue.retry_failed(limit=0)
