"""
Stores jobs of one lane, of two, or of all, in a queue that keeps the order per user:
``lane_producer.py URL QUEUE SEED JOBS``.

It prints the ids of the jobs in their order when all of them are stored.
"""

from __future__ import annotations

import random
import sys
import time

from eventspool._backends.redis.backend import RedisBackend
from eventspool._config import Ordering, RedisOpts
from eventspool._job import NewJob, new_job_id
from eventspool._routing import ALL_LANES, LANES

url, queue, seed, number = sys.argv[1:]
dice = random.Random(seed)
backend = RedisBackend(
    RedisOpts(url=url),
    queue_name=queue,
    prefix="test",
    ordering=Ordering.PER_USER,
    max_jobs=1_000_000,
    max_bytes=1 << 30,
)
backend.open()
stored: list[str] = []
while len(stored) < int(number):
    jobs = []
    for _ in range(dice.choice((1, 2, 8))):
        lanes = 1 << dice.randrange(LANES)
        if dice.random() < 0.1:
            lanes = dice.choice((lanes | 1 << dice.randrange(LANES), ALL_LANES))
        jobs.append(NewJob(new_job_id(lanes), b"x" * 100, 1))
    assert backend.commit(jobs).accepted == len(jobs)
    stored += [job.id for job in jobs]
    time.sleep(dice.random() * 0.01)
backend.close()
print("\n".join(stored))
