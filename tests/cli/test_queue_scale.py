"""``queue status`` is as quick for a million jobs as for one, and reads no payload."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest
import redis

from eventspool._backends import create_backend
from eventspool._claim import ClaimTerms
from eventspool._config import QueueOpts
from eventspool._envelope import seal
from eventspool._job import NewJob, Settlement, SettlementKind, new_job_id
from eventspool._redis_server import RedisServer

JOBS = 1_000_000
LIMIT = 0.2
NAME = "million"


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(kind, marks=pytest.mark.rotating("a million jobs", kind, seldom=True))
        for kind in ("sqlite", "redis")
    ],
)
def million(request, tmp_path_factory):
    """A queue of a million jobs, some of them delayed, leased and failed, with a worker; and its URL."""
    with RedisServer() as server:
        url = server.url
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('million')}/queue.db?synchronous=normal"
        opts = QueueOpts(url=url, queue_name=NAME, is_multi_processor=True, max_jobs=2 * JOBS)
        with closing(create_backend(opts)) as backend:
            backend.open()
            payload = seal([b'{"messageId":"m"}'], compress=False)
            for _ in range(JOBS // 1000):
                backend.commit([NewJob(new_job_id(), payload, 1) for _ in range(1000)])
            held = backend.claim("worker", ClaimTerms(limit=1000, visibility_timeout=600)).jobs
            delayed = [Settlement(job.id, SettlementKind.RETRY, delay=600) for job in held[:500]]
            failed = [Settlement(job.id, SettlementKind.FAIL) for job in held[500:900]]
            backend.settle("worker", [*delayed, *failed])
            backend.renew("worker", [], visibility_timeout=60, note="{}")
        yield url


def best(work, wanted, times=50):
    """Return what *work* returns, and the least of the seconds that it took, in seven times or until that is *wanted*."""
    taken = []
    while len(taken) < 7 or (min(taken) >= wanted and len(taken) < times):
        began = time.perf_counter()
        answer = work()
        taken.append(time.perf_counter() - began)
    return answer, min(taken)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_status_of_a_million_jobs_takes_less_than_200_ms(million, run):
    """The command itself, connecting included; and the whole process takes no longer than for an empty queue."""

    def process(name):
        command = ["queue", "status", "-q", million, "--queue-name", name]
        subprocess.run([sys.executable, "-m", "eventspool", *command], capture_output=True, check=True)

    done, command = best(lambda: run("queue", "status", "-q", million, "--queue-name", NAME, "--json"), LIMIT)
    empty = best(lambda: process("empty"), 0.0, times=7)[1]
    whole = best(lambda: process(NAME), empty + LIMIT / 2)[1]
    print(
        f"command {command * 1e3:.0f} ms, process {whole * 1e3:.0f} ms, for an empty queue {empty * 1e3:.0f} ms"
    )
    found = done.json

    assert sum(found[state]["jobs"] for state in ("waiting", "delayed", "leased", "failed")) == JOBS
    assert (found["delayed"]["jobs"], found["leased"]["jobs"], found["failed"]["jobs"]) == (500, 100, 400)
    assert command < LIMIT
    assert whole < empty + LIMIT / 2, (whole, empty)


@pytest.mark.slow
@pytest.mark.alone  # as the other one is, so that they share a queue
@pytest.mark.timeout(600)
def test_status_reads_no_payload(million, run, payload_reads):
    done = run("queue", "status", "-q", million, "--queue-name", NAME)

    assert done.status == 0, done
    assert payload_reads() == []
    job = json.loads(run("queue", "list", "-q", million, "--queue-name", NAME, "--limit", "1", "--json").out)[
        0
    ]
    run("queue", "show", job["id"], "-q", million, "--queue-name", NAME)
    assert payload_reads() != [], "and this would have been noticed"


@pytest.fixture
def payload_reads(million, monkeypatch):
    """Return a function that lists the reads of payloads since the beginning of the test."""
    if million.startswith("sqlite"):
        read = []
        connect = sqlite3.connect

        def authorize(action, table, column, *_):
            if (action, table, column) == (sqlite3.SQLITE_READ, "payloads", "payload"):
                read.append(table)
            return sqlite3.SQLITE_OK

        def watched(*arguments, **options):
            connection = connect(*arguments, **options)
            connection.set_authorizer(authorize)
            return connection

        monkeypatch.setattr("sqlite3.connect", watched)
        yield lambda: list(read)
        return
    with redis.Redis.from_url(million) as client, client.monitor() as monitor:
        key = f"hightouch:{{{NAME}:0}}:d"

        def reads():
            with redis.Redis.from_url(million) as other:
                other.echo("until here")
            found = []
            for each in monitor.listen():
                words = each["command"].split()
                if words[0] == "ECHO":
                    return found
                if words[0] in ("HGET", "HMGET", "HGETALL", "HVALS", "HSCAN") and words[1] == key:
                    found.append(words[0])
            raise AssertionError

        yield reads
