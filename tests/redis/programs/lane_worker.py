"""
Delivers jobs of a queue that keeps the order per user, until it is killed: ``lane_worker.py URL QUEUE FILE SEED``.

A delivery is a line in FILE, written before the job is acknowledged. One of twenty attempts fails: it is tried again, and what
was leased behind it is given back, as a dispatcher does.
"""

from __future__ import annotations

import os
import random
import sys

from eventspool._backends.redis.backend import RedisBackend
from eventspool._claim import ClaimTerms, new_token
from eventspool._config import Ordering, RedisOpts
from eventspool._delivery.chains import chain_up
from eventspool._exceptions import QueueUnavailable
from eventspool._job import Settlement, SettlementKind

url, queue, path, seed = sys.argv[1:]
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
token = new_token()
log = os.open(path, os.O_WRONLY | os.O_APPEND)
while True:
    try:
        claim = backend.claim(
            token,
            ClaimTerms(limit=dice.choice((1, 4, 16)), visibility_timeout=1.0, chain=dice.choice((1, 4))),
        )
        if not claim.jobs:
            backend.wait(min(claim.wait or 0.2, 0.2))
            continue
        chains, behind = chain_up(claim.jobs, {job.id for job in claim.jobs})
        assert not behind
        for chain in chains:
            done, failed = [], []
            for job in chain:
                if dice.random() < 0.05:
                    failed = chain[len(done) :]
                    break
                os.write(log, (job.id + "\n").encode())
                done.append(job.id)
            backend.ack(done)
            kinds = [SettlementKind.RETRY, *[SettlementKind.RELEASE] * len(failed)]
            backend.settle(
                token, [Settlement(job.id, kind, 0.02) for job, kind in zip(failed, kinds, strict=False)]
            )
            backend.renew(token, [job.id for each in chains for job in each], visibility_timeout=1.0)
    except QueueUnavailable:
        continue
