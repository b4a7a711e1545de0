"""Whether a server takes writes is asked without writing, and ages go by its clock where producers' clocks are apart."""

from __future__ import annotations

import time

import pytest
import redis

from eventspool._backends import create_backend
from eventspool._backends.redis import clocks
from eventspool._claim import ClaimTerms
from eventspool._config import QueueOpts
from eventspool._job import NewJob
from eventspool._redis_server import RedisServer
from redis_servers import documented_acl


@pytest.fixture
def server():
    with RedisServer() as server:
        yield server


@pytest.fixture
def make(server):
    made = []

    def make(name="orders", url=None, **options):
        opts = QueueOpts(url=url or server.url, queue_name=name, is_multi_processor=True, **options)
        backend = create_backend(opts)
        made.append(backend)
        return backend

    yield make
    for backend in made:
        backend.close()


def job(ahead=0.0):
    made_at = int((time.time() + ahead) * 1000)
    return NewJob(f"{made_at:012x}{'ab' * 8}", b"payload", 1)


def test_a_look_changes_nothing(server, make):
    with redis.Redis.from_url(server.url) as client:
        make().condition()
        assert client.keys() == []


def test_a_refusal_that_is_not_known_is_not_taken_for_a_replica(tmp_path):
    with RedisServer(args=("--rename-command", "HSETNX", "hidden")) as server:
        opts = QueueOpts(url=server.url, queue_name="orders", is_multi_processor=True)
        backend = create_backend(opts, observe=True)
        backend.open()
        seen = backend.condition()
        backend.close()

    assert (seen.refuses, seen.drains) == ("refused", True)


@pytest.mark.parametrize(
    ("command", "refuses", "drains"),
    [
        ("CONFIG SET maxmemory 1", "full", True),
        ("CONFIG SET min-replicas-to-write 1", "replicas", False),
        ("REPLICAOF 127.0.0.1 9", "read_only", False),
    ],
)
def test_the_server_says_whether_it_takes_writes(server, make, command, refuses, drains):
    backend = make()
    backend.commit([job()])
    assert (backend.condition().refuses, backend.condition().drains) == ("", True)
    with redis.Redis.from_url(server.url) as client:
        client.execute_command(*command.split())
    found = backend.condition()

    assert (found.refuses, found.drains) == (refuses, drains)
    assert "the Redis server of queue 'orders' at" in found.because


def test_a_user_that_may_not_write_is_told_so_and_the_least_user_may_look(server, make):
    with redis.Redis.from_url(server.url) as admin:
        for name, rules in (("least", documented_acl()), ("reader", ("+@read", "+multi", "+time"))):
            admin.execute_command("ACL", "SETUSER", name, "on", ">secret", "~hightouch:*", *rules)
    reader = make(url=server.url.replace("unix://", "unix://reader:secret@"))
    least = make(url=server.url.replace("unix://", "unix://least:secret@"))

    assert [reader.condition().refuses for _ in range(3)] == ["permission"] * 3
    assert [least.condition().refuses for _ in range(3)] == [""] * 3


def test_the_other_queues_are_named_and_those_of_other_databases(server, make):
    make("mails").commit([job()])
    make("bills", prefix="shop").commit([job()])
    make("old", url=server.url.replace("db=0", "db=3")).commit([job()])
    found = make("mail").condition()

    assert not found.is_used
    assert found.others == ("bills (with the prefix shop)", "mails", "old (in database 3)")
    assert make("mails").condition().others == ()


@pytest.mark.parametrize("ahead", [10_800.0, -7_200.0])
def test_an_age_is_by_the_servers_clock_where_a_producers_is_apart(make, monkeypatch, ahead):
    backend = make()
    monkeypatch.setattr(clocks, "_read_clock", lambda _: ahead)
    backend.commit([job(ahead)])
    time.sleep(0.05)

    assert 0.04 < backend.stats().oldest_age < 60.0
    [found] = backend.condition().clocks.values()
    assert found == pytest.approx(ahead)
    backend.claim("token", ClaimTerms(limit=1, visibility_timeout=60.0))
    assert backend.stats().leased.jobs == 1


def test_a_clock_that_is_right_again_is_no_longer_told(make, monkeypatch):
    monkeypatch.setattr(clocks, "_EVERY", 0.0)
    backend = make()
    backend.commit([job()])
    assert backend.condition().clocks == {}
    monkeypatch.setattr(clocks, "_read_clock", lambda _: 99.0)
    backend.commit([job(1.0)])
    assert backend.condition().clocks
    monkeypatch.undo()
    monkeypatch.setattr(clocks, "_EVERY", 0.0)
    backend._members.root.backend._clock._until = 0.0
    backend.commit([job(2.0)])
    assert backend.condition().clocks == {}
