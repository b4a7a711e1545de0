"""Single-processor mode, the default: one process works the queue, in order; another stands by and takes over."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from e2e.harness import PATIENCE, Store, eventually, new_queue_name
from eventspool.testing import Rule

LEASE = 4.0
JOBS = {"visibility_timeout": LEASE}
WORKER = """
import json, sys, eventspool
url, key, opts = sys.argv[1:4]
client = eventspool.Client(key, data_plane_url=url, persistence=json.loads(opts), timeout=600,
                           max_batch_bytes=1024, max_event_bytes=512)
client.flush()
sys.stdin.read()
client.close(2)
"""


class Worker:
    """A process that works the queue until it is killed or told to end."""

    def __init__(self, plane, store):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, plane.url, plane.write_key, json.dumps(store.opts(job_opts=JOBS))],
            stdin=subprocess.PIPE,
        )

    def end(self, sig: int | None = None) -> None:
        """End by a signal, or politely."""
        if sig is not None:
            self.process.send_signal(sig)
        self.process.stdin.close()
        self.process.wait(PATIENCE)


@pytest.fixture
def workers(plane, store):
    made = []

    def start():
        made.append(Worker(plane, store))
        return made[-1]

    yield start
    for worker in made:
        if worker.process.poll() is None:
            worker.end(signal.SIGKILL)


def enqueue(clients, store, count, begin=0):
    """Put *count* jobs of one event each into the queue, none of which shares a request; return the message ids in order."""
    producer = clients(persistence=store.opts(), process=False)
    ids = []
    for n in range(begin, begin + count):
        ids.append(producer.track("u1", "E", {"n": n, "text": "x" * 700}))
        producer.flush(until="persisted")
    return ids


def test_only_one_process_sends_at_a_time(clients, plane, store):
    """Three clients on one queue: one connection at a time carries requests, and they come in order."""
    plane.script({"latency": 0.01})
    ids = enqueue(clients, store, 20)
    workers = [clients(persistence=store.opts(job_opts=JOBS)) for _ in range(3)]
    for worker in workers:
        worker.flush()
    assert plane.wait_for(20, timeout=PATIENCE)
    assert plane.unique_ids() == ids
    assert plane.stats().duplicates == 0
    eventually(lambda: sum(worker._pipe().processor.sent for worker in workers) == 20)
    sent = sorted(worker._pipe().processor.sent for worker in workers)
    assert sent[:2] == [0, 0], "the stand-bys sent nothing"
    with store.open() as queue:
        assert queue.stats().processors == 3


@pytest.mark.alone
def test_the_stand_by_takes_over_after_sigkill_within_the_lease_and_keeps_the_order(
    clients, plane, store, workers
):
    """It is killed while a request hangs that the data plane has recorded: that batch comes twice, no other."""
    ids = enqueue(clients, store, 30)
    plane.script(Rule(hang=600, record=True, next=1, predicate=lambda event: event["properties"]["n"] == 10))
    first = workers()
    assert plane.wait_for(11, timeout=PATIENCE)
    workers()
    with store.open() as queue:
        eventually(lambda: queue.stats().processors == 2, "the stand-by is there")
    before = plane.stats()
    assert (before.requests, before.connections) == (11, 1), "... and sends nothing"
    first.end(signal.SIGKILL)
    killed_at = time.time()
    assert plane.wait_for(30, timeout=PATIENCE)
    took_over = plane.requests[11].time - killed_at
    assert took_over < LEASE + 10.0, f"the lease is {LEASE} s, the take-over took {took_over:.2f} s"
    assert plane.unique_ids() == ids
    assert plane.stats().duplicates == 1


def test_the_stand_by_takes_over_at_once_after_a_polite_end(clients, plane, store, workers):
    """A close gives the queue back: nobody waits for a lease."""
    ids = enqueue(clients, store, 3)
    first = workers()
    assert plane.wait_for(3, timeout=PATIENCE)
    standby = clients(persistence=store.opts(job_opts={"visibility_timeout": 60.0}))
    standby.flush()
    first.end()
    ended_at = time.monotonic()
    ids += enqueue(clients, store, 3, begin=3)
    assert plane.wait_for(6, timeout=PATIENCE)
    assert time.monotonic() - ended_at < 30.0
    assert plane.unique_ids() == ids


def test_a_job_that_waits_for_its_retry_is_not_overtaken(clients, plane, store):
    """First in, first out also means: what failed first goes first."""
    plane.script({"status": 503, "next": 3})
    ids = enqueue(clients, store, 10)
    worker = clients(persistence=store.opts(job_opts={**JOBS, "backoff_initial": 0.1}))
    worker.flush()
    assert plane.wait_for(10, timeout=PATIENCE)
    assert plane.unique_ids() == ids


def test_a_stopped_process_that_comes_back_sends_nothing_out_of_order(clients, plane, store, workers):
    """SIGSTOP for longer than the lease, then SIGCONT: the queue is another's by then."""
    plane.script({"latency": 0.02})
    ids = enqueue(clients, store, 40)
    first = workers()
    assert plane.wait_for(5, timeout=PATIENCE)
    first.process.send_signal(signal.SIGSTOP)
    workers()
    assert plane.wait_for(20, timeout=PATIENCE)
    first.process.send_signal(signal.SIGCONT)
    assert plane.wait_for(40, timeout=PATIENCE)
    arrived = plane.unique_ids()
    assert set(arrived) == set(ids)
    assert arrived == ids
    assert plane.stats().duplicates <= 2
    assert store.failed_events() == 0


def test_queues_of_other_names_and_prefixes_are_worked_at_the_same_time(clients, plane, shared_redis):
    """The lease is on one queue; its neighbours on the same server have their own."""
    stores = [Store("redis", shared_redis.url, new_queue_name()) for _ in range(3)]
    for store in stores:
        clients(persistence=store.opts(job_opts={"visibility_timeout": 60.0})).track("u1", "E")
    assert plane.wait_for(3, timeout=PATIENCE)
