"""A server that evicts what expires takes nothing from a queue: nothing of it that counts expires."""

from __future__ import annotations

import contextlib
import os

import pytest
import redis

from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import LONG, bury, claim_soon, eventually, ids_of, new_jobs, retry
from redis_servers import NEWEST, OLDEST, available_servers, make_backend, running


@pytest.mark.parametrize("name", [name for name in (OLDEST, *NEWEST) if name in available_servers()])
@pytest.mark.parametrize("policy", ["volatile-lru", "volatile-ttl", "volatile-random", "volatile-lfu"])
def test_a_holder_keeps_the_queue_while_all_that_expires_is_evicted(name, policy):
    with (
        running(name, "--maxmemory-policy", policy, "--maxmemory", "6mb") as server,
        redis.Redis.from_url(server.url) as other,
    ):
        holder, standby = (
            make_backend(server, ordering=Ordering.FIFO, queue_name="evicted") for _ in range(2)
        )
        jobs = new_jobs(3)
        holder.commit(jobs)
        claim_soon(holder, "t", limit=2)

        def fill():
            with contextlib.suppress(redis.ResponseError):
                for _ in range(200):
                    other.set(os.urandom(8), bytes(2000))
            return other.info("stats")["evicted_keys"]

        assert eventually(fill), "there was something that expired"
        assert standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs == ()
        assert holder.renew("t", ids_of(jobs[:2]), visibility_timeout=LONG) == set()
        assert holder.settle("t", [retry(jobs[0].id)]) == [True]
        assert standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs == ()
        holder.leave("t")
        assert len(standby.claim("u", ClaimTerms(limit=3, visibility_timeout=LONG, probe=True)).jobs) == 3
        holder.close()
        standby.close()


def test_a_stand_by_waits_for_as_long_as_an_evicted_lease_had_to_run(make, raw):
    holder, standby = make(ordering=Ordering.FIFO), make(ordering=Ordering.FIFO)
    [job] = new_jobs(1)
    holder.commit([job])
    claim_soon(holder, "t", visibility_timeout=1.5)
    raw.delete(make.prefix + "l")
    early = standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG))
    assert early.jobs == ()
    assert 0 < early.wait <= 1.5
    assert claim_soon(standby, "u")[0].id == job.id, "its holder was dead"


def test_one_key_alone_expires(make, raw):
    backend = make(ordering=Ordering.FIFO)
    bury(backend, 1)
    backend.commit(new_jobs(3))
    claim_soon(backend, "t", limit=2)
    backend.renew("t", [], visibility_timeout=LONG, note="{}")
    expiring = [key for key in raw.keys(make.prefix + "*") if raw.ttl(key) != -1]
    assert expiring == [(make.prefix + "l").encode()]


@pytest.mark.parametrize("damage", ["junk", ":", "x:y", "9999999999999999:ghost", "1:ghost", ""])
def test_a_damaged_holder_shuts_nobody_out(make, raw, damage):
    backend = make(ordering=Ordering.FIFO)
    backend.commit(new_jobs(1))
    raw.hset(make.prefix + "m", "holder", damage)
    assert len(backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs) == 1
