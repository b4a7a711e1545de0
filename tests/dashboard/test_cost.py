"""What an open dashboard costs Redis."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest
import redis

from dashboard.site import TOKEN
from eventspool import QueueOpts, open_queue
from eventspool._backends import create_backend
from eventspool._claim import ClaimTerms
from eventspool._dashboard.seldom import Seldom
from eventspool._envelope import seal
from eventspool._job import Failure, NewJob, Settlement, SettlementKind, new_job_id
from eventspool._redis_server import RedisServer
from eventspool.integrations.dashboard import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventspool import Queue

JOBS = 20_000
SECONDS = 10


@pytest.fixture
def flown(monkeypatch) -> list[float]:
    """The seconds by which the dashboard believes that more time has passed."""
    seconds = [0.0]
    monkeypatch.setattr("eventspool._dashboard.history._EVERY_SECONDS", 0.0)
    monkeypatch.setattr(Seldom.__init__, "__defaults__", (lambda: time.monotonic() + seconds[0],))
    return seconds


@contextlib.contextmanager
def stored(jobs: int, failed: int) -> Iterator[tuple[Queue, redis.Redis]]:
    payload = seal([b'{"type":"track"}'])
    failure = Failure("rejected", "the data plane refused it with 400", 1)
    with RedisServer() as server:
        backend = create_backend(QueueOpts(url=server.url, is_multi_processor=True))
        backend.open()
        for _ in range(jobs // 500):
            backend.commit([NewJob(new_job_id(), payload, 1) for _ in range(500)])
        for _ in range(failed // 500):
            claimed = backend.claim("t", ClaimTerms(limit=500, visibility_timeout=60)).jobs
            backend.settle("t", [Settlement(job.id, SettlementKind.FAIL, failure=failure) for job in claimed])
        backend.close()
        with open_queue(server.url) as queue, redis.Redis.from_url(server.url) as client:
            assert queue.stats().failed.jobs == failed
            yield queue, client


def test_an_open_page_costs_redis_less_than_a_hundredth_of_its_time(serve, flown):
    """Ten seconds of the overview, and of the failures beside it, by Redis' own account; 20,000 jobs, many failed."""
    with stored(JOBS, 500) as (queue, client):
        site = serve(create_app(queue, token=TOKEN))
        site.get("/api/overview")
        before = worked(client)
        for second in range(SECONDS):
            flown[0] += 1
            assert site.get("/api/overview").json["stats"]["failed"]["jobs"] == 500
            if second % 2:
                assert site.get("/api/jobs?state=failed").json["reasons"][0]["jobs"] == 500
        seconds = worked(client) - before
    print(f"Redis spent {seconds / SECONDS:.2%} of its time")
    assert 0 < seconds < SECONDS / 100


def test_a_filter_without_hits_costs_redis_less_than_a_hundredth_of_its_time(serve, flown):
    """Three pages that look for three reasons among 6,000 failed jobs, each every two seconds, for a minute."""
    with stored(6000, 6000) as (queue, client):
        site = serve(create_app(queue, token=TOKEN))
        before = worked(client)
        for _ in range(30):
            flown[0] += 2
            for reason in ("stalled", "corrupt", "missing"):
                assert site.get(f"/api/jobs?state=failed&reason={reason}").json["jobs"] == []
        seconds = worked(client) - before
    print(f"Redis spent {seconds / 60:.2%} of its time")
    assert 0 < seconds < 60 / 100


def test_pages_that_show_the_same_share_one_look(serve, monkeypatch):
    monkeypatch.setattr(Seldom.__init__, "__defaults__", (lambda: 0.0,))  # time stands still
    with stored(500, 500) as (queue, client):
        site = serve(create_app(queue, token=TOKEN))
        site.get("/api/jobs?state=failed&reason=stalled")
        before = spent(client)
        for _ in range(5):
            site.get("/api/jobs?state=failed&reason=stalled")
        assert spent(client) == before


def spent(client: redis.Redis) -> float:
    """Return the seconds that Redis has spent on commands."""
    stats = client.info("commandstats")
    return sum(each["usec"] for name, each in stats.items() if name != "cmdstat_info") / 1e6


def worked(client: redis.Redis) -> float:
    """Return the seconds of a processor that Redis has used. The time of commands has waits for a processor in it."""
    used = client.info("cpu")
    return used["used_cpu_user"] + used["used_cpu_sys"]
