"""Stores one job once it is told a line: ``producer.py URL QUEUE``."""

from __future__ import annotations

import sys

from eventspool._backends.redis.backend import RedisBackend
from eventspool._config import Ordering, RedisOpts
from eventspool._job import NewJob, new_job_id

url, queue = sys.argv[1:]
backend = RedisBackend(
    RedisOpts(url=url), queue_name=queue, prefix="test", ordering=Ordering.NONE, max_jobs=9, max_bytes=999
)
backend.open()
print("ready", flush=True)
sys.stdin.readline()
backend.commit([NewJob(new_job_id(), b"x", 1)])
backend.close()
