"""A commit that waits for replicas, and a server that went back in time: on real servers, with real failovers."""

from __future__ import annotations

import contextlib
import time
from contextlib import closing

import pytest
import redis

from eventspool import QueueError, QueueUnavailable
from eventspool._backends.redis.replication import Replication
from eventspool._contract.tools import claim_soon, eventually, ids_of, new_job, new_jobs
from eventspool._job import LOST, MOVED
from redis_servers import NEWEST, OLDEST, available_servers, make_backend, running
from replicas import replicated

SERVERS = [name for name in (OLDEST, *NEWEST) if name in available_servers()]
LARGE = 20_000
"""Bytes of a job that goes by a transaction, and not through the script."""


@pytest.fixture(scope="module", params=SERVERS)
def pair(request):
    """A master and its replica, which nothing kills."""
    with replicated(request.param) as group:
        yield group


@pytest.fixture
def make(pair):
    made = []

    def factory(timeout=0.2, replicas=1, **options):
        made.append(make_backend(pair.url, replication=Replication(replicas, timeout), **options))
        return made[-1]

    yield factory
    pair.links[0].let_go()
    pair.await_link()
    for backend in made:
        backend.close()


@pytest.mark.parametrize("size", [10, LARGE], ids=["small", "transaction"])
def test_a_commit_is_acknowledged_once_a_replica_has_it(pair, make, size):
    backend = make(timeout=2.0)
    jobs = [new_job(filling="x" * size), new_job(filling="y" * size)]
    result = backend.commit(jobs)
    assert (result.accepted, result.duplicates) == (2, 0)
    assert result.epoch
    with redis.Redis.from_url(pair.replicas[0].url) as replica:
        assert replica.hmget(backend._payloads, ids_of(jobs)) == [job.payload for job in jobs]


@pytest.mark.parametrize("size", [10, LARGE], ids=["small", "transaction"])
def test_a_commit_that_no_replica_confirms_is_not_acknowledged_until_one_does(pair, make, size):
    backend = make()
    jobs = [new_job(filling="x" * size)]
    pair.links[0].hold()
    for _ in range(3):  # a repeat is no confirmation: the job is stored, and no replica has it
        began = time.monotonic()
        with pytest.raises(QueueUnavailable, match="0 of 1 replicas have confirmed"):
            backend.commit(jobs)
        assert 0.15 < time.monotonic() - began < 1.5
    assert backend.stats().waiting.jobs == 1
    pair.links[0].let_go()
    result = eventually(lambda: commit_or_none(backend, jobs))
    assert (result.accepted, result.duplicates) == (0, 1)
    assert backend.lookup(ids_of(jobs), epoch=result.epoch) == {jobs[0].id: None}


def test_a_duplicate_is_confirmed_by_replicas_and_not_by_being_one(pair, make):
    """Another connection, which has written nothing itself, must wait for what the first one wrote."""
    jobs = new_jobs(2)
    pair.links[0].hold()
    with closing(make_backend(pair.url, queue_name="twice")) as plain:
        assert plain.commit(jobs).accepted == 2
    for _ in range(2):
        with pytest.raises(QueueUnavailable, match="0 of 1"):
            make(queue_name="twice").commit(jobs)
    pair.links[0].let_go()
    assert eventually(lambda: commit_or_none(make(queue_name="twice"), jobs)).duplicates == 2


def test_what_was_delivered_before_it_was_confirmed_is_not_stored_again(pair, make):
    backend = make()
    [job] = new_jobs(1)
    pair.links[0].hold()
    with pytest.raises(QueueUnavailable):
        backend.commit([job])
    assert ids_of(claim_soon(backend, "t", limit=1)) == [job.id]
    backend.ack([job.id])
    with pytest.raises(QueueUnavailable):
        backend.commit([job])
    pair.links[0].let_go()
    late = new_job()
    result = eventually(lambda: commit_or_none(backend, [job, late]))
    assert (result.accepted, result.duplicates) == (1, 1)
    assert ids_of(claim_soon(backend, "t", limit=5)) == [late.id]


def test_two_replicas_are_asked_for_and_only_one_is_there(make):
    with pytest.raises(QueueUnavailable, match="1 of 2 replicas have confirmed"):
        make(replicas=2).commit(new_jobs(1))


def test_the_wait_ends_before_the_socket_gives_up(pair, make):
    backend = make(timeout=60.0)
    pair.links[0].hold()
    began = time.monotonic()
    with pytest.raises(QueueUnavailable, match="0 of 1"):
        backend.commit(new_jobs(1))
    assert time.monotonic() - began < 2.95


@pytest.mark.parametrize("kind", ["renamed", "denied"])
def test_a_server_that_refuses_to_wait_is_told_of_and_stores_nothing_twice(kind):
    args = ("--rename-command", "WAIT", "") if kind == "renamed" else ()
    with running(NEWEST[0], *args) as server:
        if kind == "denied":
            with redis.Redis.from_url(server.url) as admin:
                admin.execute_command("ACL", "SETUSER", "default", "-wait")
        with closing(make_backend(server, replication=Replication(1, 0.2))) as backend:
            words = "it has no WAIT" if kind == "renamed" else "it may not call WAIT"
            with pytest.raises(QueueError, match=words):
                backend.open()
            [job] = new_jobs(1)
            with pytest.raises(QueueError, match=words):
                backend.commit([job])
            claim_soon(backend, "t", limit=1)
            backend.ack([job.id])
            with pytest.raises(QueueError, match=words):
                backend.commit([job])
            assert backend.stats().waiting.jobs == 0
        with closing(make_backend(server)) as backend:  # which waits for no replica
            backend.open()
            assert backend.commit(new_jobs(1)).accepted == 1


def commit_or_none(backend, jobs):
    try:
        return backend.commit(jobs)
    except QueueUnavailable:
        return None


# -- a server that went back in time -----------------------------------------------------------------------------------


@pytest.fixture
def group():
    """A master and its replica, of which the test kills one."""
    with replicated(NEWEST[1]) as group:
        yield group


@pytest.mark.parametrize(
    "first", ["a look-up", "a commit", "another producer's commit", "a commit whose reply is lost"]
)
def test_a_failover_is_noticed_at_the_first_contact_and_exactly_what_it_took_is_lost(
    group, first, monkeypatch, caplog
):
    backend = make_backend(group.url, queue_name="q")
    kept, delivered, lost, large = *new_jobs(3), new_job(filling="x" * LARGE)
    epoch = backend.commit([kept, delivered]).epoch
    claim_soon(backend, "t", limit=2)
    backend.leave("t")
    backend.ack([delivered.id])
    group.await_link()
    group.links[0].hold()
    assert backend.commit([lost]).epoch == epoch
    assert backend.commit([large]).accepted == 1
    group.fail_over()
    after = new_jobs(1)
    if first == "a commit":
        assert eventually(lambda: commit_or_none(backend, after)).epoch == epoch
    elif first == "another producer's commit":
        with closing(make_backend(group.url, queue_name="q")) as other:
            assert eventually(lambda: commit_or_none(other, new_jobs(20))).accepted == 20
    elif first == "a commit whose reply is lost":
        assert eventually(lambda: reached(backend))
        send = backend._connection.run_on
        with monkeypatch.context() as patch:
            patch.setattr(backend._connection, "run_on", lambda *args: (send(*args), fail())[1])
            with pytest.raises(QueueUnavailable):
                backend.commit(after)
    jobs = [kept, delivered, lost, large]
    assert eventually(lambda: found(backend, jobs, epoch)) == {kept.id: None, lost.id: LOST, large.id: LOST}
    assert found(backend, jobs, epoch) == {kept.id: None, lost.id: LOST, large.id: LOST}, (
        "the next look says the same"
    )
    assert caplog.text.count("went back in time") == 1
    assert "the last 2 batches" in caplog.text
    assert backend.commit([lost]).accepted == 1
    assert found(backend, jobs, epoch) == {kept.id: None, lost.id: None, large.id: LOST}
    backend.close()


def reached(backend):
    try:
        return backend.stats()
    except QueueUnavailable:
        return None


def found(backend, jobs, epoch):
    try:
        return backend.lookup(ids_of(jobs), epoch=epoch)
    except QueueUnavailable:
        return None


def fail():
    raise QueueUnavailable("the reply was lost")


def test_what_a_replica_had_not_confirmed_is_stored_anew_by_the_next_try(group):
    backend = make_backend(group.url, replication=Replication(1, 0.2), queue_name="q")
    first, second = new_jobs(2)

    def is_confirmed():
        with contextlib.suppress(QueueUnavailable):  # a machine that is busy with other tests may need longer
            backend.commit([first])
            return True
        return False

    eventually(is_confirmed)
    group.links[0].hold()
    with pytest.raises(QueueUnavailable):
        backend.commit([second])
    group.fail_over()
    eventually(lambda: reached(backend))
    for stored in (1, 2, 2):  # the first try notices what is lost
        with pytest.raises(QueueUnavailable, match="0 of 1"):  # the new master has no replica itself
            backend.commit([second])
        assert backend.stats().waiting.jobs == stored
    backend.close()


def test_a_server_that_came_back_with_its_data_has_lost_nothing():
    with running(NEWEST[0], aof="always") as server:
        backend = make_backend(server)
        jobs = new_jobs(2)
        epoch = backend.commit(jobs).epoch
        backend.ack([jobs[0].id])
        server.restart()
        assert eventually(lambda: found(backend, jobs, epoch)) == {jobs[1].id: None}
        assert backend.commit(new_jobs(1)).accepted == 1
        backend.close()


def test_a_commit_that_arrived_although_its_reply_was_lost_is_no_sign_of_anything(monkeypatch, caplog):
    with running(NEWEST[0]) as server:
        backend = make_backend(server)
        first, second = new_jobs(2)
        epoch = backend.commit([first]).epoch
        send = backend._connection.run_on
        with monkeypatch.context() as patch:
            patch.setattr(backend._connection, "run_on", lambda *args: (send(*args), fail())[1])
            with pytest.raises(QueueUnavailable):
                backend.commit([second])
        assert backend.commit([second]).duplicates == 1
        backend.ack([first.id, second.id])
        assert found(backend, [first, second], epoch) == {}
        assert "went back" not in caplog.text
        backend.close()


def test_a_job_that_was_moved_is_moved_and_not_lost(caplog):
    with running(NEWEST[0]) as server:
        backend = make_backend(server)
        [job] = new_jobs(1)
        epoch = backend.commit([job]).epoch
        backend.pass_on([job.id])
        assert found(backend, [job], epoch) == {job.id: MOVED}
        backend.close()


def test_thousands_of_producers_leave_a_bounded_trace_and_accuse_no_server(caplog):
    with running(NEWEST[0]) as server, redis.Redis.from_url(server.url) as raw:
        old = make_backend(server, queue_name="q")
        [job] = new_jobs(1)
        epoch = old.commit([job]).epoch
        old.ack([job.id])
        key, fresh = "test:{q:0}:c", make_backend(server, queue_name="q")
        raw.hset(
            key,
            mapping={f"producer {number}": str(int(old._history.told) + number) for number in range(4_999)},
        )
        fresh.commit(new_jobs(1))
        assert raw.hlen(key) == 4_000 + 1 + 1, "the last 4,000, the new one, and the long field"
        assert not raw.hexists(key, old._history.token), "it is idle for longest"
        assert raw.hexists(key, fresh._history.token)
        assert raw.object("encoding", key) == b"hashtable"
        assert found(old, [job], epoch) == {}
        assert old.commit(new_jobs(1)).accepted == 1
        assert old.commit(new_jobs(1)).accepted == 1
        assert "went back" not in caplog.text
        old.close()
        fresh.close()


def test_a_child_is_a_producer_of_its_own():
    with running(NEWEST[0]) as server:
        backend = make_backend(server)
        backend.commit(new_jobs(1))
        parent = backend._history.token
        backend.abandon()
        assert backend._history.token != parent
        assert backend.commit(new_jobs(1)).accepted == 1
        backend.close()
