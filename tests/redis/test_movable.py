"""A partition is never larger than its cluster can move to another node. Else its slot is stuck between two of them."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from eventspool import Client
from eventspool._backends import create_backend
from eventspool._backends.redis.standing import find_movable
from eventspool._claim import ClaimTerms
from eventspool._config import QueueOpts
from eventspool._contract.tools import LONG, eventually, ids_of
from eventspool._job import NewJob, new_job_id
from redis_clusters import running_cluster
from redis_servers import NEWEST, OLDEST, available_servers, documented_acl, make_backend, new_queue_name

MOVABLE = 512 << 10
"""Half of what the servers take as one value."""
OLD = next(name for name in (OLDEST, NEWEST[0]) if name in available_servers())
COPIES = {"cluster_enabled": 1, "redis_version": "7.2.4"}

ROTATING = pytest.mark.rotating("topologies", "what a cluster can move")


@pytest.fixture(scope="module")
def cluster():
    with running_cluster(OLD, replicas=0, args=("--proto-max-bulk-len", "1mb")) as found:
        yield found


@pytest.fixture
def opts(cluster):
    return QueueOpts(url=cluster.url, queue_name=new_queue_name(), prefix="test", ordering="none")


@pytest.fixture
def open_queue(opts):
    opened = []

    def make(**options):
        opened.append(create_backend(replace(opts, **options)))
        opened[-1].open()
        return opened[-1]

    yield make
    for backend in opened:
        backend.close()


def large_jobs(count):
    return [NewJob(new_job_id(), os.urandom(100_000), 1) for _ in range(count)]


@pytest.mark.parametrize(
    ("info", "settings", "movable"),
    [
        (COPIES, {"proto-max-bulk-len": "1048576"}, MOVABLE),
        (COPIES, None, 256 << 20),
        (COPIES, {"proto-max-bulk-len": "?"}, 256 << 20),
        ({**COPIES, "valkey_version": "8.1.0"}, None, 256 << 20),
        ({**COPIES, "valkey_version": "9.0.0"}, None, float("inf")),
        ({**COPIES, "redis_version": "8.4.0"}, None, float("inf")),
        ({**COPIES, "cluster_enabled": 0}, None, float("inf")),
        ({}, None, float("inf")),
    ],
)
def test_only_a_cluster_that_copies_bounds_a_partition(info, settings, movable):
    assert find_movable(info, settings) == movable


@ROTATING
def test_a_partition_takes_no_more_than_can_be_moved_and_says_what_to_do(cluster, opts, open_queue):
    backend = open_queue()
    jobs = large_jobs(9)
    result = backend.commit(jobs)
    assert (result.accepted, result.rejected) == (5, tuple(ids_of(jobs[5:])))
    assert "`eventspool queue resize`" in result.advice
    assert "0.5 MB" in result.advice
    assert backend.commit(large_jobs(1)).advice == result.advice
    assert backend.stats().most_bytes == MOVABLE
    assert open_queue(max_bytes=300_000).commit(large_jobs(1)).advice == "", "its own option is smaller"

    cluster.move_slot(f"test:{{{opts.queue_name}:0}}:d")
    claimed = backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs
    assert ids_of(claimed) == ids_of(jobs[:5])
    backend.ack(ids_of(claimed))
    assert backend.commit(jobs[5:]).accepted == 4


@ROTATING
def test_a_queue_in_strict_order_is_not_sent_to_more_partitions(open_queue):
    advice = open_queue(ordering="fifo").commit(large_jobs(9)).advice
    assert "no strict order" in advice
    assert "resize" not in advice


@ROTATING
def test_more_partitions_give_it_room(opts, open_queue):
    backend = open_queue()
    jobs = large_jobs(12)
    left = backend.commit(jobs).rejected
    backend.resize(3)
    assert eventually(lambda: backend.commit([job for job in jobs if job.id in left]).accepted == len(left))
    assert backend.stats().most_bytes == 3 * MOVABLE
    assert {each.most_bytes for each in backend.partitions() if not each.sealed} == {MOVABLE}


@ROTATING
def test_a_client_keeps_what_does_not_fit_and_is_told_why(opts, open_queue, caplog):
    filler = open_queue()
    filler.commit(large_jobs(9))
    with Client("key", data_plane_url="http://127.0.0.1:9", persistence=opts, process=False) as client:
        for _ in range(20):
            client.track("u", "E", {"noise": os.urandom(9_000).hex()})
        assert "`eventspool queue resize`" in client.flush(timeout=1.0).reason
        filler.ack(ids_of(filler.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs))
        assert eventually(lambda: filler.stats().waiting.events == 20)
    assert "is full: its cluster moves no partition of more than 0.5 MB" in caplog.text


@ROTATING
def test_where_the_server_does_not_tell_its_default_counts(cluster, opts):
    for node in cluster.nodes:
        node.ask("ACL", "SETUSER", "least", "reset", "on", ">canary-word", "~test:*", *documented_acl())
    backend = make_backend(cluster.url.replace("://", "://least:canary-word@"), queue_name=opts.queue_name)
    backend.open()
    assert backend.stats().most_bytes == 256 << 20
    backend.close()
