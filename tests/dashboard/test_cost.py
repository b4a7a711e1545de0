"""What an open dashboard costs Redis."""

from __future__ import annotations

import redis

from dashboard.site import TOKEN
from eventspool import QueueOpts, open_queue
from eventspool._backends import create_backend
from eventspool._envelope import seal
from eventspool._job import Failure, NewJob, Settlement, SettlementKind, new_job_id
from eventspool._redis_server import RedisServer
from eventspool.integrations.dashboard import create_app

JOBS = 20_000
SECONDS = 10


def test_an_open_page_costs_redis_less_than_a_hundredth_of_its_time(serve, monkeypatch):
    """Ten seconds of the overview, and of the failures beside it, by Redis' own account; 20,000 jobs, many failed."""
    payload = seal([b'{"type":"track"}'])
    with RedisServer() as server:
        backend = create_backend(QueueOpts(url=server.url, is_multi_processor=True))
        backend.open()
        for _ in range(JOBS // 500):
            backend.commit([NewJob(new_job_id(), payload, 1) for _ in range(500)])
        claimed = backend.claim("t", limit=500, visibility_timeout=60).jobs
        failure = Failure("rejected", "the data plane refused it with 400", 1)
        backend.settle("t", [Settlement(job.id, SettlementKind.FAIL, failure=failure) for job in claimed])
        backend.close()
        with open_queue(server.url) as queue, redis.Redis.from_url(server.url) as client:
            site = serve(create_app(queue, token=TOKEN))
            monkeypatch.setattr("eventspool._dashboard.history._EVERY_SECONDS", 0.0)  # time flies
            site.get("/api/overview")
            before = spent(client)
            for second in range(SECONDS):
                assert site.get("/api/overview").json["stats"]["failed"]["jobs"] == len(claimed)
                if second % 2:
                    assert site.get("/api/jobs?state=failed").json["reasons"][0]["jobs"] == len(claimed)
            seconds = spent(client) - before
    print(f"Redis spent {seconds / SECONDS:.2%} of its time")
    assert 0 < seconds < SECONDS / 100


def spent(client: redis.Redis) -> float:
    """Return the seconds that Redis has spent on commands."""
    stats = client.info("commandstats")
    return sum(each["usec"] for name, each in stats.items() if name != "cmdstat_info") / 1e6
