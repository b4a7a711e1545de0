"""Jobs that come out of another queue into one that keeps the order per user are cut by user, and none comes twice."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace

import pytest

from eventspool import QueueOpts
from eventspool._backends import create_backend
from eventspool._backends.memory import MemoryBackend
from eventspool._backends.mover import Mover
from eventspool._backends.parting import commit_foreign, part_by_user
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import fail, ids_of
from eventspool._delivery.attempt import fail_rest
from eventspool._envelope import open_envelope, seal
from eventspool._events.owner import owner_of
from eventspool._job import JobState, NewJob, Rewrite, lanes_of, new_job_id
from eventspool._routing import Route, Routing
from redis_servers import new_queue_name


def make_job(users):
    events = [
        json.dumps({"userId": user, "n": n}, separators=(",", ":")).encode() for n, user in enumerate(users)
    ]
    return NewJob(new_job_id(), seal(events), len(events), is_foreign=True)


@pytest.fixture
def factory(server):
    name = new_queue_name()
    with ExitStack() as stack:

        def make():
            opts = QueueOpts(url=server.url, queue_name=name, ordering="per_user", partitions=4)
            backend = create_backend(opts)
            stack.callback(backend.close)
            backend.open()
            return backend

        yield make


def stored_users(backend):
    """Return the events of each user in the order in which they are stored, by partition."""
    found = {}
    for job in backend.jobs(JobState.WAITING, limit=1000):
        for event in open_envelope(backend.payload(job.id)).split():
            found.setdefault(owner_of(event), []).append(json.loads(event)["n"])
    return found


def test_the_parts_hold_all_events_each_in_its_partition_and_lane():
    routing = Routing(3, 4)
    job = make_job([f"u{n % 7}" for n in range(50)])
    parts = part_by_user(job, routing)
    assert sum(part.events for part in parts) == 50
    for part in parts:
        assert part.route.generation == 3
        for event in open_envelope(part.payload).split():
            partition, lane = routing.place(owner_of(event))
            assert partition == part.route.partition
            assert lanes_of(part.id) & 1 << lane


def test_the_ids_of_the_parts_are_the_same_each_time_and_others_in_another_division():
    job = make_job(["a", "b", "c", "d"])
    assert part_by_user(job, Routing(1, 4)) == part_by_user(job, Routing(1, 4))
    assert not set(ids_of(part_by_user(job, Routing(1, 4)))) & set(ids_of(part_by_user(job, Routing(2, 4))))


def test_a_job_whose_users_belong_to_one_partition_stays_the_job_that_it_is():
    job = replace(make_job(["a", "b", "a"]), attempts=2)
    assert part_by_user(job, Routing(1, 1)) == [replace(job, route=Route(1, 0))]
    [begun] = part_by_user(replace(job, progress="1-2|"), Routing(1, 1))
    assert begun.id != job.id, "the events of what is left of it have other places"
    one = make_job(["a"])
    partition, lane = Routing(1, 4).place(owner_of(open_envelope(one.payload).split()[0]))
    narrow = replace(one, id=new_job_id(1 << lane))
    assert part_by_user(narrow, Routing(1, 4)) == [replace(narrow, route=Route(1, partition))]
    other = replace(narrow, id=new_job_id(1 << (lane + 1) % 16))
    assert ids_of(part_by_user(other, Routing(1, 4))) != [other.id]


def test_a_part_that_is_stored_is_not_stored_again_while_another_one_is_refused(factory, monkeypatch):
    source, target = MemoryBackend(ordering=Ordering.FIFO), factory()
    job = make_job([f"u{n}" for n in range(20)])
    source.commit([job])
    told = []
    mover = Mover(
        source,
        target,
        limit=50,
        lease=60.0,
        fail_rest=fail_rest,
        on_stored=lambda jobs, _, placed: told.append(placed),
    )
    parts = part_by_user(job, target.find_routing())
    away = parts[0].id
    store = target.commit

    def refuse_one(jobs):
        result = store([each for each in jobs if each.id != away])
        return replace(result, away=(away,) if away in ids_of(jobs) else ())

    with monkeypatch.context() as patch:
        patch.setattr(target, "commit", refuse_one)
        assert mover.step().left == (job.id,)
        mover.leave()
        assert target.ack(ids_of(parts)) == len(parts) - 1
        assert mover.step().left == (job.id,)
        mover.leave()
    assert target.stats().waiting.jobs == 0
    assert ids_of(mover.step().moved) == [job.id]
    assert ids_of(target.jobs(JobState.WAITING, limit=9)) == [away]
    assert told[:2] == [{}, {}]
    placed = told[2][job.id]
    assert [(part, events) for part, events, _ in placed.parts] == [(part.id, part.events) for part in parts]
    for part, _, epoch in placed.parts:
        assert target.lookup([part], epoch=epoch) == ({part: None} if part == away else {})
    events = open_envelope(job.payload).split()
    assert [events[at] for at in placed.order] == [
        event for part in parts for event in open_envelope(part.payload).split()
    ]


def test_a_job_is_stored_by_user_once_however_often_it_comes(factory):
    jobs = [make_job([f"u{n % 9}" for n in range(30)]) for _ in range(3)]
    first = commit_foreign(factory(), jobs)
    assert (first.accepted, first.rejected, first.stale) == (3, (), ())
    commit_foreign(factory(), jobs)
    backend = factory()
    assert backend.stats().waiting.events == 90
    assert all(
        numbers == sorted(numbers[: len(numbers) // 3]) * 3 for numbers in stored_users(backend).values()
    )


def test_a_mover_brings_what_is_left_of_each_batch(factory):
    source = MemoryBackend(ordering=Ordering.FIFO)
    jobs = [make_job([f"u{n % 9}" for n in range(30)]) for _ in range(3)]
    source.commit(jobs)
    mover = Mover(source, target := factory(), limit=50, lease=60.0, fail_rest=fail_rest)
    step = mover.step()
    assert (len(step.moved), step.left) == (3, ())
    assert source.stats().waiting.jobs == 0
    assert target.stats().waiting.events == 90


def test_what_an_operator_erases_from_a_failed_batch_while_it_moves_is_not_moved(factory, monkeypatch):
    source, target = MemoryBackend(ordering=Ordering.FIFO), factory()
    job = make_job(["a", "b", "c", "d"])
    source.commit([job])
    source.claim("t", ClaimTerms(limit=1, visibility_timeout=60))
    source.settle("t", [fail(job.id)])
    mover = Mover(source, target, limit=10, lease=30, fail_rest=fail_rest)
    store = target.commit

    def erase_and_store(jobs):
        rest = seal(open_envelope(job.payload).split()[1:])
        source.rewrite([Rewrite(job.id, job.payload, rest, 3, (0,))])
        return store(jobs)

    with monkeypatch.context() as patch:
        patch.setattr(target, "commit", erase_and_store)
        mover.step_failed(None)
    assert target.stats().failed.jobs == 0
    assert source.stats().failed.events == 3
    mover.step_failed(None)
    assert (source.stats().failed.jobs, target.stats().failed.events) == (0, 3)
