"""
Processes that work on a queue file: ``stories.py STORY PATH [ARGUMENTS]``. What each prints, its test reads.

One that is to be killed goes on, or sleeps, until that comes.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sqlite3
import sys
import time
from pathlib import Path

from eventspool._backends.sqlite import handle
from eventspool._backends.sqlite.backend import SQLiteBackend
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering, SQLiteOpts
from eventspool._contract.tools import ids_of, new_job, new_jobs, release
from eventspool._exceptions import QueueError, QueueUnavailable

story, path, *arguments = sys.argv[1:]


def make(where=path, ordering=Ordering.NONE):
    options = {"queue_name": "q", "prefix": "p", "ordering": ordering, "max_jobs": 10**9, "max_bytes": 10**12}
    backend = SQLiteBackend(SQLiteOpts(path=where), **options)
    backend.open()
    return backend


def stay():
    time.sleep(600)


def commit_for_seconds():
    backend, latencies = make(), []
    print("ready", flush=True)
    end = time.monotonic() + float(arguments[0])
    while time.monotonic() < end:
        started = time.monotonic()
        backend.commit([new_job(filling="x" * int(arguments[1]))])
        latencies.append(time.monotonic() - started)
    backend.close()
    print(json.dumps(latencies))


def commit_for_ever():
    backend = make()
    while True:
        jobs = new_jobs(3)
        backend.commit(jobs)
        print(*ids_of(jobs), flush=True)
        claimed = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60))
        backend.settle("t", [release(job.id) for job in claimed.jobs])


def wait_for_a_commit():
    backend = make()
    assert backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60)).jobs == ()
    print("waiting", flush=True)
    assert backend.wait(60.0)
    print(*ids_of(backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60)).jobs))


def hold_the_lock():
    backend = make()
    backend._file.lock.acquire()
    print("held", flush=True)
    stay()


def fork_with_the_lock():
    backend = make()
    backend._file.lock.acquire()
    if os.fork() == 0:
        backend.abandon()
        print("abandoned", os.getpid(), flush=True)
    stay()


def deliver():
    backend = make()
    while jobs := backend.claim(str(os.getpid()), ClaimTerms(limit=4, visibility_timeout=60)).jobs:
        assert backend.ack(ids_of(jobs)) == len(jobs)
        print(*ids_of(jobs))


def claim_in_order():
    backend = make(ordering=Ordering.FIFO)
    print(*ids_of(backend.claim("dead", ClaimTerms(limit=2, visibility_timeout=0.5)).jobs), flush=True)
    stay()


def write():
    backend = make()
    for _ in range(30):
        backend.commit([new_job(filling="x" * 2000) for _ in range(20)])
        backend.ack(ids_of(backend.claim("t", ClaimTerms(limit=5, visibility_timeout=60)).jobs))
    print("written", flush=True)
    stay()


def copy_slowly():
    content = Path(arguments[0]).read_bytes()
    with Path(path).open("wb", buffering=0) as target:
        for at in range(0, len(content), 8192):
            target.write(content[at : at + 8192])
            if at == 8192:
                print("begun", flush=True)
            time.sleep(0.02)


def read():
    db = sqlite3.connect(path)
    db.execute("begin")
    db.execute("select count(*) from jobs").fetchone()
    print("reading", flush=True)
    stay()


def fill_the_disk():
    handle._LONG_LOG_BYTES = 6 << 20  # a small disk wants a small log
    resource.setrlimit(resource.RLIMIT_FSIZE, (12 << 20, 12 << 20))
    backend, stored, error = make(), [], ""
    for _ in range(5000):
        job = new_job(filling="x" * 20_000)
        try:
            backend.commit([job])
        except QueueUnavailable as full:
            error = str(full)
            break
        stored.append(job.id)
    claimed = ids_of(backend.claim("t", ClaimTerms(limit=5, visibility_timeout=60)).jobs)
    assert claimed == stored[:5], "a full disk must not stop deliveries"
    assert backend.ack(claimed) == 5
    print(json.dumps([error, stored[5:]]), flush=True)
    os._exit(0)


def end():
    """End a connection in one of the ways; the interpreter must have nothing left to close."""
    backend, way = make(), arguments[0]
    backend.commit(new_jobs(1))
    if way.startswith("forked"):
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        elif "never" in way:
            return
        if "never" not in way:
            backend.stats()
    elif way == "reopened":
        backend.close()
        backend.stats()
    elif way == "abandoned":
        backend.abandon()
        backend.stats()
    elif way == "refused":
        with contextlib.closing(sqlite3.connect(path + "2")) as other:
            other.execute("create table t (a)")
        with contextlib.suppress(QueueError):
            make(path + "2")
    elif way == "damaged":
        backend.close()
        with Path(path).open("r+b") as file:
            file.write(b"x" * 5000)
        backend.stats()
    backend.close()


if __name__ == "__main__":
    globals()[story]()
