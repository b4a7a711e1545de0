"""``eventspool queue move``: from anywhere to anywhere, while clients run, killed at any moment, without loss."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time

import pytest

from eventspool import Client, ConfigError, QueueError, QueueOpts
from eventspool._backends import create_backend
from eventspool._backends.memory import MemoryBackend
from eventspool._backends.mover import Mover
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import rewrite
from eventspool._delivery.attempt import fail_rest
from eventspool._envelope import open_envelope, seal
from eventspool._job import (
    MOVED,
    CommitResult,
    Failure,
    JobState,
    NewJob,
    Settlement,
    SettlementKind,
    new_job_id,
)
from eventspool._operate.move import move_jobs
from eventspool._redis_server import RedisServer

pytestmark = pytest.mark.rotating("moving a queue", turns=3)

KEY = "canary-write-key"


@pytest.fixture
def urls(queue, tmp_path):
    """Where from and where to: SQLite to Redis and Redis to Redis."""
    with RedisServer() as other:
        yield queue["EVENTSPOOL_QUEUE"], other.url, queue["EVENTSPOOL_QUEUE_NAME"]


@contextlib.contextmanager
def opened(url, name, *, multi=True, **options):
    backend = create_backend(QueueOpts(url=url, queue_name=name, is_multi_processor=multi, **options))
    backend.open()
    try:
        yield backend
    finally:
        backend.close()


def new_jobs(count):
    return [NewJob(new_job_id(), seal([b'{"messageId":"m%d"}' % i]), 1) for i in range(count)]


def stored(url, name):
    """Return the ids of the unfinished jobs at *url*."""
    with opened(url, name) as backend:
        states = (JobState.WAITING, JobState.DELAYED, JobState.LEASED)
        return [job.id for state in states for job in backend.jobs(state, limit=1000)]


def move(run, urls, *arguments):
    source, target, name = urls
    return run(
        "queue",
        "move",
        "--multi",
        "--queue",
        source,
        "--queue-name",
        name,
        "--to",
        target,
        "--json",
        *arguments,
    )


def test_everything_unfinished_arrives_with_its_bytes_and_its_id(run, urls):
    source, target, name = urls
    jobs = new_jobs(120)
    with opened(source, name) as backend:
        backend.commit(jobs)
        backend.claim("w", ClaimTerms(limit=3, visibility_timeout=60))
        backend.settle("w", [Settlement(jobs[0].id, SettlementKind.RETRY, delay=600)])
        backend.settle(
            "w", [Settlement(jobs[1].id, SettlementKind.FAIL, failure=Failure("rejected", "why", 1))]
        )
        backend.settle("w", [Settlement(jobs[2].id, SettlementKind.RELEASE)])

    assert move(run, urls, "--dry-run").json == {"jobs": 119, "failed_left": 1, "dry_run": True}
    done = move(run, urls)

    assert done.status == 0, done
    assert done.json == {
        "jobs": 119,
        "events": 119,
        "known": 0,
        "failed": 0,
        "unreadable": 0,
        "too_large": 0,
        "failed_left": 1,
        "is_complete": True,
    }
    assert set(stored(target, name)) == {job.id for job in jobs} - {jobs[1].id}
    assert stored(source, name) == []
    with opened(source, name) as backend:
        assert backend.stats().purged_events == 0
        assert backend.lookup([jobs[0].id]) == {jobs[0].id: MOVED}
        stats = backend.stats()
        assert (stats.accepted_events, stats.delivered_events, stats.moved_events) == (120, 0, 119)
    with opened(target, name) as backend:
        assert all(backend.payload(job.id) == job.payload for job in jobs if job is not jobs[1])


def test_strict_order_is_kept(run, urls):
    source, target, name = urls
    jobs = new_jobs(120)
    with opened(source, name, multi=False) as backend:
        backend.commit(jobs)
    done = run("queue", "move", "-q", source, "--queue-name", name, "--to", target, "--json")

    assert (done.status, done.json["jobs"]) == (0, 120)
    assert stored(target, name) == [job.id for job in jobs]


def test_encrypted_batches_stay_readable(run, urls):
    source, target, name = urls
    key = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA="
    with opened(source, name, encryption_key=key) as backend:
        backend.commit(jobs := new_jobs(2))
    command = ("queue", "move", "--multi", "-q", source, "--queue-name", name, "--to", target)

    assert run(*command, EVENTSPOOL_ENCRYPTION_KEY=key).status == 0
    with opened(target, name, encryption_key=key) as backend:
        assert open_envelope(backend.payload(jobs[1].id)).split() == [b'{"messageId":"m1"}']


@pytest.mark.parametrize("alias", ["the same", "another name of it"])
def test_a_queue_is_not_moved_onto_itself(run, queue, enqueue, tmp_path, alias):
    """Its jobs would be found to be there already, and then be forgotten."""
    enqueue("a", "b")
    url, name = queue["EVENTSPOOL_QUEUE"], queue["EVENTSPOOL_QUEUE_NAME"]
    other = url
    if alias != "the same":
        other = (
            url.replace("s?db=0", "./s?db=0")
            if url.startswith("unix")
            else url.replace("queue.db", "./queue.db")
        )
    done = run("queue", "move", "--queue", url, "--queue-name", name, "--to", other)

    assert (done.status, "same queue" in done.err) == (2, True), done
    assert len(stored(url, name)) == 2


def test_a_target_that_is_full_keeps_the_rest_here():
    source, target = MemoryBackend(), MemoryBackend(max_jobs=70)
    jobs = new_jobs(100)
    source.commit(jobs)

    with pytest.raises(QueueError, match="full after 70 jobs"):
        move_jobs(source, target)
    left = {job.id for job in source.jobs(JobState.WAITING, limit=1000)}
    there = {job.id for job in target.jobs(JobState.WAITING, limit=1000)}
    assert (left | there, left & there) == ({job.id for job in jobs}, set())


def test_an_interrupted_move_goes_on():
    """Stored there but not yet forgotten here: the state of things after a kill between the two."""
    source, target = MemoryBackend(), MemoryBackend()
    jobs = new_jobs(100)
    source.commit(jobs)
    target.commit(jobs[:30])
    moved = move_jobs(source, target)

    assert (moved.jobs, moved.known, moved.is_complete) == (100, 30, True)
    assert target.stats().waiting.jobs == 100
    assert source.stats().waiting.jobs == 0


def test_what_a_job_went_through_comes_along():
    """Otherwise delivered events would be delivered again, and a poisonous batch would begin anew with each move."""
    source, target = MemoryBackend(), MemoryBackend()
    [job] = new_jobs(1)
    source.commit([job])
    source.claim("w", ClaimTerms(limit=1, visibility_timeout=60))
    source.settle("w", [Settlement(job.id, SettlementKind.RETRY, 600.0, "1-2|0:422")])
    move_jobs(source, target)
    [claimed] = target.claim("w", ClaimTerms(limit=1, visibility_timeout=60)).jobs

    assert (claimed.attempts, claimed.progress, claimed.payload) == (1, "1-2|0:422", job.payload)


def test_a_mover_that_dies_costs_no_attempt():
    now = [1_700_000_000.0]
    source, target = MemoryBackend(clock=lambda: now[0]), MemoryBackend()
    [job] = new_jobs(1)
    source.commit([job])
    for _ in range(3):
        dead = Mover(source, Broken(), limit=1, lease=1.0, fail_rest=fail_rest)
        with pytest.raises(QueueError):
            dead.step()
        now[0] += 2.0
    step = Mover(source, target, limit=1, lease=1.0, fail_rest=fail_rest).step()

    assert [moved.attempts for moved in step.moved] == [0]


class Broken(MemoryBackend):
    """A target that is not there."""

    def commit(self, jobs):
        raise QueueError("away")


class Small(MemoryBackend):
    """A target that can never take a payload of more than 60 bytes."""

    def commit(self, jobs):
        fitting = [job for job in jobs if len(job.payload) <= 60]
        result = super().commit(fitting)
        return CommitResult(
            result.accepted,
            impossible=tuple(job.id for job in jobs if job not in fitting),
            epoch=result.epoch,
        )


def test_a_batch_that_can_never_fit_there_fails_here_and_holds_nothing_up():
    source, target = MemoryBackend(ordering=Ordering.FIFO), Small(ordering=Ordering.FIFO)
    huge = NewJob(new_job_id(), seal([b"x" * 100], compress=False), 1)
    rest = new_jobs(2)
    source.commit([huge, *rest])
    moved = move_jobs(source, target)

    assert (moved.jobs, moved.too_large, moved.is_complete) == (2, 1, True)
    assert source.lookup([huge.id])[huge.id].reason == "too_large"
    assert len(source.jobs(JobState.FAILED, limit=9)) == 1


def test_what_was_delivered_of_a_batch_that_can_never_fit_there_has_not_failed():
    source, target = MemoryBackend(), Small()
    events = [b'{"messageId":"m%d","filling":"%s"}' % (n, b"x" * 50) for n in range(3)]
    job = NewJob(new_job_id(), seal(events, compress=False), 3)
    source.commit([job])
    source.claim("w", ClaimTerms(limit=1, visibility_timeout=60))
    source.settle("w", [Settlement(job.id, SettlementKind.RETRY, progress="1-2|2:422")])
    moved = move_jobs(source, target)

    assert (moved.jobs, moved.too_large) == (0, 1)
    failure = source.lookup([job.id])[job.id]
    assert (failure.reason, failure.events, failure.indices) == ("too_large", 2, (1, 2))
    assert open_envelope(source.payload(job.id)).split() == events[1:]
    stats = source.stats()
    assert (stats.delivered_events, stats.failed_events) == (1, 2)


def test_what_does_not_fit_now_is_given_back_with_its_progress():
    source, target = MemoryBackend(), MemoryBackend(max_jobs=0)
    [job] = new_jobs(1)
    source.commit([job])
    source.claim("w", ClaimTerms(limit=1, visibility_timeout=60))
    source.settle("w", [Settlement(job.id, SettlementKind.RELEASE, progress="0-1|")])
    with pytest.raises(QueueError, match="full"):
        move_jobs(source, target)
    [claimed] = source.claim("w", ClaimTerms(limit=1, visibility_timeout=60)).jobs

    assert (claimed.progress, claimed.attempts) == ("0-1|", 0)


@pytest.mark.parametrize("again", [False, True], ids=["at once", "after an interruption"])
def test_failed_jobs_stay_failed_for_their_reason_and_since_their_time(run, urls, again):
    source, target, name = urls
    jobs = new_jobs(60)
    failure = Failure("rejected", "why", 1, status=422)
    with opened(source, name) as backend:
        backend.commit(jobs)
        backend.claim("w", ClaimTerms(limit=59, visibility_timeout=60))
        backend.settle("w", [Settlement(job.id, SettlementKind.FAIL, failure=failure) for job in jobs[:59]])
        before = {job.id: job for job in backend.jobs(JobState.FAILED, limit=99)}
    if again:
        with opened(target, name) as backend:
            backend.commit(
                [NewJob(jobs[0].id, jobs[0].payload, 1, 1, failure=failure, failed_at=time.time())]
            )

    assert move(run, urls, "--failed", "--dry-run").json == {"jobs": 60, "failed_left": 0, "dry_run": True}
    done = move(run, urls, "--failed")

    assert (done.status, done.json["jobs"], done.json["failed"], done.json["known"]) == (
        0,
        60,
        59,
        int(again),
    ), done
    with opened(target, name) as backend:
        there = {job.id: job for job in backend.jobs(JobState.FAILED, limit=99)}
        assert there.keys() == before.keys()
        for job in jobs[1:59]:
            assert (there[job.id].reason, there[job.id].error, there[job.id].attempts) == (
                "rejected",
                "why",
                1,
            )
            assert there[job.id].failed_at == pytest.approx(before[job.id].failed_at, abs=0.001)
        assert backend.lookup([jobs[1].id])[jobs[1].id].status == 422
        assert backend.stats().failed_events == 0
    with opened(source, name) as backend:
        assert backend.stats().failed.jobs == 0
        assert backend.stats().moved_events == 60


def test_failed_jobs_that_cannot_be_moved_stay_and_end_the_move():
    source, target = MemoryBackend(), MemoryBackend()
    source.commit(jobs := new_jobs(120))
    source.claim("w", ClaimTerms(limit=120, visibility_timeout=60))
    source.settle(
        "w", [Settlement(job.id, SettlementKind.FAIL, failure=Failure("rejected", "", 1)) for job in jobs]
    )
    for job in jobs[:60:2]:
        source._entries.failed[job.id].payload = b""
    moved = move_jobs(source, target, failed=True)

    assert (moved.jobs, moved.failed, moved.failed_left, moved.is_complete) == (90, 90, 30, True)


def test_events_that_are_erased_while_their_failed_job_is_moved_are_erased_there_too():
    source = MemoryBackend()
    [job] = new_jobs(1)

    class Slow(MemoryBackend):
        def commit(self, jobs):
            result = super().commit(jobs)
            rewrite(source, job.id, job.payload, b"less", 1)
            return result

    target = Slow()
    source.commit([job])
    source.claim("w", ClaimTerms(limit=1, visibility_timeout=60))
    source.settle("w", [Settlement(job.id, SettlementKind.FAIL, failure=Failure("rejected", "", 1))])
    move_jobs(source, target, failed=True)

    assert target.payload(job.id) == b"less"
    assert source.payload(job.id) is None


def test_a_paused_queue_says_why_it_does_not_move(run, urls, enqueue):
    source, _, name = urls
    enqueue("a")
    with opened(source, name) as backend:
        backend.pause(True)
    done = move(run, urls)

    assert (done.status, "resume" in done.err) == (1, True)
    assert len(stored(source, name)) == 1


def test_two_memories_that_are_one_are_refused():
    memory = MemoryBackend()
    memory.commit(new_jobs(1))
    with pytest.raises(ConfigError, match="same queue"):
        move_jobs(memory, memory)
    assert memory.stats().waiting.jobs == 1


def test_while_clients_produce_and_workers_deliver_nothing_is_lost(urls, start, plane, target):
    """A producer stores here, workers deliver here and there, and the mover is killed every now and then."""
    source, destination, name = urls
    accepted: list[str] = []
    stop = threading.Event()
    opts = QueueOpts(url=source, queue_name=name, is_multi_processor=True)

    def produce():
        with Client(KEY, process=False, persistence=opts, flush_at=1, flush_interval=0.01) as client:
            while not stop.wait(0.002):
                accepted.append(client.track("u1", "E"))
            assert client.flush(until="persisted", timeout=60).pending == 0

    producer = threading.Thread(target=produce)
    producer.start()
    workers = [
        start("worker", "--multi", "-q", url, "--queue-name", name, env=target, stderr=subprocess.DEVNULL)
        for url in (source, destination)
    ]
    assert plane.wait_for(1, timeout=60), "nothing was moved yet: the worker at the source is there"
    arguments = ("queue", "move", "--multi", "-q", source, "--queue-name", name, "--to", destination)
    kills = 0
    for pause in (0.7, 0.9, 1.1, 1.3):
        mover = start(*arguments, "--follow", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            mover.wait(pause)
        kills += mover.poll() is None
        mover.kill()
        mover.wait()
    stop.set()
    producer.join(60)
    workers[0].send_signal(signal.SIGTERM)
    assert workers[0].wait(60) == 0
    with opened(source, name) as backend:  # what dead movers hold comes due by itself; a test has not so long
        for token, *_ in backend.processors():
            backend.leave(token)
    last = start(*arguments, stdout=subprocess.DEVNULL)
    assert last.wait(60) == 0, last.stderr.read()
    deadline = time.monotonic() + 60
    while not set(accepted) <= set(plane.unique_ids()) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert set(accepted) - set(plane.unique_ids()) == set()
    assert stored(source, name) == []
    assert kills >= 3
    assert len(accepted) > 100


def test_a_move_that_is_told_to_stop_ends_between_two_batches(start, urls):
    source, destination, name = urls
    with opened(source, name) as backend:
        backend.commit(new_jobs(10))
    command = ("queue", "move", "--multi", "--follow", "--json", "-q", source, "--queue-name", name)
    process = start(*command, "--to", destination)
    deadline = time.monotonic() + 60
    while len(stored(destination, name)) < 10:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert (process.returncode, json.loads(out)["jobs"]) == (0, 10), err
    with opened(source, name) as backend:
        assert backend.processors() == []
