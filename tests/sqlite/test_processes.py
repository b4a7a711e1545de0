"""Several processes on one file: none waits long, none loses a job, none sees another's half step."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from e2e.programs.quiet import fork_past_python
from eventspool._config import Ordering
from eventspool._contract.tools import (
    LONG,
    SOON,
    claim_soon,
    drain,
    eventually,
    ids_of,
    listen,
    new_job,
    new_jobs,
)
from eventspool._exceptions import QueueError, QueueUnavailable
from eventspool._guest import process as _process
from eventspool._guest.process import before_fork
from eventspool._job import JobState

STARVED = 8.0
"""Seconds: a process that waits for the lock gives up after ten, and on a busy machine each commit takes one."""


def check_integrity(path):
    with sqlite3.connect(path) as db:
        assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
    db.close()


@pytest.mark.alone
@pytest.mark.parametrize("size", [8_000, 60_000])
def test_four_committing_processes_do_not_stall_each_other(path, make, spawn, size):
    stored, shares = 0, []
    while len(shares) < 3 and min(shares, default=0.0) < 0.25:  # a busy machine may let one of them run less
        processes = [spawn("commit_for_seconds", 2.0, size) for _ in range(4)]
        latencies = [json.loads(p.communicate()[0].splitlines()[-1]) for p in processes]
        assert max(max(each) for each in latencies) < STARVED
        shares.append(min(map(len, latencies)) / max(map(len, latencies)))
        stored += sum(map(len, latencies))
    assert max(shares) > 0.25, "each time one of them got less than a quarter of another's share"
    assert make().stats().waiting.jobs == stored
    check_integrity(path)


def test_a_killed_process_loses_no_acknowledged_commit(path, make, spawn):
    acknowledged = []
    for _ in range(10):
        process = spawn("commit_for_ever")
        acknowledged += [job_id for _ in range(5) for job_id in process.stdout.readline().split()]
        process.kill()
        *lines, torn = process.stdout.read().split("\n")
        acknowledged += [job_id for line in lines for job_id in line.split()]
        assert len(torn) < 90
    backend = make()
    assert len(acknowledged) >= 10 * 5 * 3
    assert backend.lookup(acknowledged) == dict.fromkeys(acknowledged)
    stats = backend.stats()
    assert stats.waiting.jobs + stats.leased.jobs >= len(acknowledged)
    assert len(backend.jobs(JobState.WAITING, limit=10**6)) == stats.waiting.jobs
    check_integrity(path)


def test_a_commit_wakes_another_process(make, spawn):
    process = spawn("wait_for_a_commit")
    assert process.stdout.readline() == "waiting\n"
    job = new_job()
    started = time.monotonic()
    make().commit([job])
    assert process.communicate()[0].split() == [job.id]
    assert time.monotonic() - started < SOON


def test_a_stopped_holder_is_an_outage_and_not_a_hang(make, spawn, monkeypatch):
    process = spawn("hold_the_lock")
    assert process.stdout.readline() == "held\n"
    process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr("eventspool._backends.sqlite.lock.TIMEOUT", 0.3)
    backend = make(opened=False)
    with pytest.raises(QueueUnavailable, match="another process"):
        backend.open()
    process.kill()
    process.wait()
    backend.open()  # the lock died with its holder
    assert backend.commit(new_jobs(1)).accepted == 1


forks = pytest.mark.parametrize("how", [os.fork, fork_past_python], ids=["os.fork", "past Python"])


def fork(child, how=os.fork):
    """Run *child* in a forked process and return its exit code."""
    pid = how()
    if pid == 0:
        code = 1
        try:
            child()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + SOON
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hung"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@forks
def test_parent_and_child_both_use_the_queue_after_a_fork(path, make, how):
    backend = make()
    before, from_parent, from_child = new_jobs(3)
    backend.commit([before])

    def child():
        backend.commit([from_child])
        assert backend.lookup([before.id]) == {before.id: None}
        backend.close()

    assert fork(child, how) == 0
    backend.commit([from_parent])
    everything = ids_of([before, from_parent, from_child])
    assert backend.lookup(everything) == dict.fromkeys(everything)
    backend.close()
    assert sorted(ids_of(drain(make(), "t"))) == sorted(everything)
    check_integrity(path)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_closing_ends_a_wait(backend):
    with ThreadPoolExecutor(1) as pool:
        waiting = listen(pool, backend)
        started = time.monotonic()
        backend.close()
        assert waiting.result() is False
        assert time.monotonic() - started < SOON


@forks
def test_a_child_goes_on_when_its_parent_closes(path, make, how):
    """SQLite would take the parent for the last one, and let it delete the log that the child writes to."""
    backend = make()
    jobs = new_jobs(3)
    backend.commit(jobs[:1])
    to_parent, to_child = os.pipe(), os.pipe()
    pid = how()
    if pid == 0:
        try:
            backend.commit(jobs[1:2])
            os.write(to_parent[1], b".")
            os.read(to_child[0], 1)
            backend.commit(jobs[2:])
        finally:
            os._exit(0)
    os.read(to_parent[0], 1)
    backend.close()
    os.write(to_child[1], b".")
    os.waitpid(pid, 0)
    for fd in (*to_parent, *to_child):
        os.close(fd)
    assert ids_of(drain(make(), "t")) == ids_of(jobs)
    check_integrity(path)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_forked_amid_a_step_refuses_rather_than_lose_jobs(make):
    backend = make()

    def child():
        with pytest.raises(QueueError, match="forked amid a step"):
            backend.commit(new_jobs(1))

    backend._file.run(
        lambda _db: fork(child, fork_past_python) == 0 or pytest.fail("the child"), durable=False
    )


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_waits_for_a_step_and_the_next_step_for_the_fork(make):
    """No lock is held meanwhile: what Python does before it forks may need another lock, and its holder may call us."""
    backend = make()
    stepping, go_on = threading.Event(), threading.Event()

    def step(_db):
        stepping.set()
        assert go_on.wait(SOON)
        time.sleep(0.05)
        steps.append("first")

    steps = []
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(backend._file.run, step, durable=False)
        assert stepping.wait(SOON)
        before_fork(lambda _deadline: steps.append("hooks"))
        try:
            go_on.set()
            assert fork(lambda: backend.commit(new_jobs(1)) and None) == 0
        finally:
            _process._before.pop()
        first.result()
    assert steps == ["first", "hooks"]
    assert backend.stats().waiting.jobs == 1


def test_a_step_goes_ahead_where_a_fork_waits_for_it(make, monkeypatch):
    """The thread that steps may hold the lock of ``logging``, for which Python waits before it forks."""
    backend = make()
    backend.commit(new_jobs(1))
    stopped = threading.Event()
    thread = threading.Thread(
        target=lambda: (_process._before_fork(), stopped.wait(2 * SOON), _process._after_fork())
    )
    thread.start()
    eventually(lambda: thread.ident in _process._forking)
    assert backend.stats().waiting.jobs == 1
    assert _process._forking[thread.ident] <= time.monotonic(), "the fork is waited for until it is late"
    stopped.set()
    thread.join()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_no_connection_is_open_while_the_process_forks(make):
    """SQLite in the child would believe that it holds locks which only the parent has."""
    backend = make()
    backend.commit(new_jobs(1))

    def child():
        assert backend._file._handle.connection is None

    assert fork(child) == 0
    assert backend._file._handle.connection is None
    assert backend.stats().waiting.jobs == 1


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_does_not_keep_the_lock_of_a_dead_parent(make, spawn):
    process = spawn("fork_with_the_lock")
    word, child = process.stdout.readline().split()
    assert word == "abandoned"
    process.kill()
    process.wait()
    try:
        assert make().commit(new_jobs(1)).accepted == 1
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_a_lock_file_that_was_deleted_still_excludes(path, make, spawn):
    backend = make()
    backend.commit(new_jobs(1))
    path.with_name(path.name + "-lock").unlink()
    process = spawn("hold_the_lock")
    assert process.stdout.readline() == "held\n"
    with pytest.raises(QueueUnavailable):
        backend._file.lock.acquire(timeout=0.2)


def test_two_processes_deliver_each_job_once(make, spawn):
    jobs = new_jobs(300)
    make().commit(jobs)
    outputs = [process.communicate()[0].split() for process in [spawn("deliver"), spawn("deliver")]]
    assert sorted(outputs[0] + outputs[1]) == sorted(ids_of(jobs))


def test_a_first_in_first_out_queue_passes_to_another_process(make, spawn):
    jobs = new_jobs(3)
    make(ordering=Ordering.FIFO).commit(jobs)
    process = spawn("claim_in_order")
    assert process.stdout.readline().split() == ids_of(jobs[:2])
    process.kill()
    claimed = claim_soon(make(ordering=Ordering.FIFO), "heir", limit=9, visibility_timeout=LONG)
    assert [(j.id, j.stalled) for j in claimed] == [
        (jobs[0].id, True),
        (jobs[1].id, True),
        (jobs[2].id, False),
    ]
