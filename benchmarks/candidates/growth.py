"""
What one step costs in queues of different lengths: ``growth.py '{"rounds": 5, "steps": 200, "queues": {"100": URL, ...}}'``.

Each queue is filled once. Then they are measured in turns: a step enqueues, claims and acknowledges as many jobs as a
processor handles at once, so its queue has the same length after it as before. URL is null for memory.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

from eventspool._backends import create_backend
from eventspool._backends.memory import MemoryBackend
from eventspool._claim import ClaimTerms, new_token
from eventspool._config import QueueOpts
from eventspool._job import Failure, JobState, NewJob, Settlement, SettlementKind, new_job_id

if TYPE_CHECKING:
    from eventspool._backends import Backend

STEP_JOBS = 16
"""What a processor with the default concurrency claims at most."""
FAILED_JOBS = 100
PAGE = 50
PAYLOAD_BYTES = 200  # so that a million jobs fit into memory
_MAX_JOBS = 10_000_000
_LEASE = 60.0

Costs = dict[str, float]


def make_jobs(count: int) -> list[NewJob]:
    """Return new jobs. Nothing here opens a payload, so random bytes will do."""
    return [NewJob(new_job_id(), os.urandom(PAYLOAD_BYTES), 1) for _ in range(count)]


def filled(size: int, url: str | None, token: str) -> Backend:
    """Return a queue of *size* waiting and a few failed jobs."""
    backend: Backend
    if url is None:
        backend = MemoryBackend(max_jobs=_MAX_JOBS)
    else:
        opts = QueueOpts(url=url, queue_name=f"growth{size}", is_multi_processor=True, max_jobs=_MAX_JOBS)
        backend = create_backend(opts)
    backend.open()
    backend.commit(make_jobs(FAILED_JOBS))
    failure = Failure("rejected", "the data plane answered 400", 1, status=400)
    claim = backend.claim(token, ClaimTerms(limit=FAILED_JOBS, visibility_timeout=_LEASE))
    backend.settle(token, [Settlement(job.id, SettlementKind.FAIL, failure=failure) for job in claim.jobs])
    for start in range(0, size, 1000):
        backend.commit(make_jobs(min(1000, size - start)))
    return backend


def measure(backend: Backend, size: int, steps: int, token: str) -> Costs:
    """Return the mean cost of each step: per job, and of one call of what is called for the queue as a whole."""
    clock = time.perf_counter
    enqueue = claim = ack = stats = failed = 0.0
    for _ in range(steps):
        jobs = make_jobs(STEP_JOBS)
        begin = clock()
        backend.commit(jobs)
        committed = clock()
        claimed = backend.claim(token, ClaimTerms(limit=STEP_JOBS, visibility_timeout=_LEASE)).jobs
        leased = clock()
        acknowledged = backend.ack([job.id for job in claimed])
        gone = clock()
        depth = backend.stats()
        counted = clock()
        page = backend.jobs(JobState.FAILED, limit=PAGE)
        listed = clock()
        enqueue, claim, ack = enqueue + committed - begin, claim + leased - committed, ack + gone - leased
        stats, failed = stats + counted - gone, failed + listed - counted
        found = (acknowledged, depth.waiting.jobs, depth.failed.jobs, len(page))
        if found != (STEP_JOBS, size, FAILED_JOBS, PAGE):
            sys.exit(f"a queue of {size} jobs is not as it was: {found}")
    jobs_done = steps * STEP_JOBS
    return {
        "job_us": (enqueue + claim + ack) / jobs_done * 1e6,
        "enqueue_us": enqueue / jobs_done * 1e6,
        "claim_us": claim / jobs_done * 1e6,
        "ack_us": ack / jobs_done * 1e6,
        "stats_us": stats / steps * 1e6,
        "failed_us": failed / steps * 1e6,
    }


def await_rewrite(url: str | None) -> None:
    """Wait until Redis has done rewriting its log, which the filling has set off."""
    if url is not None and not url.startswith("sqlite"):
        import redis

        client = redis.Redis.from_url(url)
        while client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.05)
        client.close()


def main(plan: dict[str, object]) -> None:
    """Measure, and print the costs of every round by the queue's length."""
    rounds, steps, urls = plan["rounds"], plan["steps"], plan["queues"]
    assert isinstance(rounds, int) and isinstance(steps, int) and isinstance(urls, dict)  # noqa: PT018
    token = new_token()
    begin = time.perf_counter()
    queues = {int(size): filled(int(size), url, token) for size, url in urls.items()}
    fill_seconds = time.perf_counter() - begin
    for url in urls.values():
        await_rewrite(url)
    for size, backend in queues.items():
        measure(backend, size, max(steps // 5, 1), token)  # warm: statements, scripts, caches
    costs: list[dict[int, Costs]] = []
    for number in range(rounds):
        order = list(queues)
        if number % 2:
            order.reverse()
        costs.append({size: measure(queues[size], size, steps, token) for size in order})
    for backend in queues.values():
        backend.close()
    print(json.dumps({"rounds": costs, "fill_seconds": fill_seconds}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
