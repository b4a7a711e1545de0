"""Ways to the server: URLs, ready clients, few permissions, forks, missing packages."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from eventspool import Client, ConfigError, QueueError, open_queue
from eventspool._backends.redis.client import connect
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering, RedisOpts
from eventspool._contract.tools import (
    LONG,
    claim_soon,
    drain,
    fail,
    ids_of,
    new_job,
    new_jobs,
    release,
    retry,
)
from eventspool._job import JobState
from redis_servers import NEWEST, documented_acl, make_backend, new_queue_name, running


@pytest.mark.parametrize(
    ("url", "secure"),
    [
        ("redis://h:1/2", False),
        ("valkey://h:1/2", False),
        ("rediss://h:1/2", True),
        ("valkeys://h:1/2", True),
    ],
)
def test_each_scheme_is_understood(url, secure):
    pool = connect(RedisOpts(url=url)).connection_pool
    assert issubclass(pool.connection_class, redis.SSLConnection) is secure
    assert (pool.connection_kwargs["host"], pool.connection_kwargs["port"]) == ("h", 1)
    assert pool.connection_kwargs["db"] == 2


def test_options_reach_the_connection():
    opts = RedisOpts(
        host="h",
        port=7,
        db=3,
        username="u",
        password="p",
        ssl=True,
        ssl_check_hostname=False,
        socket_timeout=1.5,
    )
    kwargs = connect(opts).connection_pool.connection_kwargs
    wanted = {"host": "h", "port": 7, "db": 3, "username": "u", "password": "p", "socket_timeout": 1.5}
    assert wanted.items() <= kwargs.items()
    assert kwargs["ssl_check_hostname"] is False


def test_the_urls_own_options_win():
    kwargs = connect(RedisOpts(url="redis://h?socket_timeout=0.5&db=4")).connection_pool.connection_kwargs
    assert (kwargs["socket_timeout"], kwargs["db"]) == (0.5, 4)


def test_a_url_that_makes_no_sense_is_an_error_without_the_password():
    backend = make_backend("redis://:secret-1@h/?color=red")
    with pytest.raises(QueueError) as caught:
        backend.open()
    ours = caught.value.__context__
    assert isinstance(ours, ConfigError)
    assert ours.__context__ is None
    assert "secret-1" not in f"{caught.value} {ours}"


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("redis://:secret-1@h/0?socket_timeout=1&color=red", "color"),
        ("redis://:secret-1@h?socket_timeout=soon", "socket_timeout"),
        ("valkeys://:secret-1@h?ssl_check_hostname=false&retries=secret-1", "retries"),
        ("unix://:secret-1@/redis.sock?db=1&socket_keepalive=1", "socket_keepalive"),
    ],
)
def test_an_option_of_the_url_that_makes_no_sense_is_named_at_once(url, named):
    for make in (
        lambda: Client("k", persistence=url),
        lambda: Client("k").create_persistence_queue({"redis_opts": {"url": url}}, callback=print),
        lambda: open_queue(url),
    ):
        with pytest.raises(ConfigError, match=f"'{named}'") as caught:
            make()
        assert "secret-1" not in str(caught.value)
        assert "secret-1" not in str(caught.value.__context__)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("decode_responses=true", "decode_responses"),
        ("decode_responses=false", "decode_responses"),
        ("socket_timeout=0", "socket_timeout"),
        ("socket_timeout=-1", "socket_timeout"),
        ("socket_timeout=nan", "socket_timeout"),
        ("socket_connect_timeout=0", "socket_connect_timeout"),
        ("socket_connect_timeout=inf", "socket_connect_timeout"),
        ("max_connections=3", "max_connections"),
    ],
)
def test_an_option_with_which_nothing_would_be_delivered_is_refused_at_once(option, named):
    """redis-py takes all of these."""
    url = f"redis://:secret-1@h?{option}"
    for make in (
        lambda: Client("k", persistence=url),
        lambda: Client("k").create_persistence_queue(url, callback=print),
        lambda: open_queue(url),
    ):
        with pytest.raises(ConfigError, match=named) as caught:
            make()
        assert "secret-1" not in str(caught.value)


def test_as_many_connections_as_are_asked_for_suffice(server):
    """One waits, two work, and one is asked how the queue fares: all at once."""
    separator = "&" if "?" in server.url else "?"
    backend = make_backend(f"{server.url}{separator}max_connections=4")
    backend.open()
    jobs = new_jobs(60)
    with ThreadPoolExecutor(4) as pool:
        waits = pool.submit(lambda: [backend.wait(0.05) for _ in range(10)])
        commits = pool.submit(lambda: [backend.commit([job]) for job in jobs])
        claims = pool.submit(lambda: [drain(backend, "t") for _ in range(60)])
        looks = pool.submit(lambda: [backend.stats() for _ in range(60)])
        for each in (waits, commits, claims, looks):
            each.result()
    drain(backend, "t")
    assert backend.stats().leased.jobs == 60
    backend.close()


def test_without_the_driver_a_client_is_refused_at_once(monkeypatch):
    """Otherwise it would take events, and store none."""
    monkeypatch.setitem(sys.modules, "redis", None)
    url = "redis://localhost"
    for make in (
        lambda: Client("k", persistence=url),
        lambda: Client("k").create_persistence_queue(url, callback=print),
        lambda: open_queue(url),
    ):
        with pytest.raises(ConfigError, match=r"pip install 'eventspool\[redis\]'"):
            make()


def test_without_the_driver_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(QueueError, match=r"eventspool\[redis\]"):
        make_backend("redis://localhost").open()


@pytest.mark.parametrize("name", NEWEST)
def test_a_newer_protocol_in_the_url_changes_nothing(unused_port, name):
    with running(name, port=unused_port) as server:
        backend = make_backend(server.url + "?protocol=3")
        backend.open()
        jobs = new_jobs(3)
        backend.commit(jobs)
        [first, *_] = claim_soon(backend, "t", limit=3)
        backend.settle("t", [retry(first.id, delay=LONG), fail(jobs[1].id)])
        backend._connection.execute("HSET", backend._payloads, "orphan", b"x")
        assert backend.repair() == 1
        assert backend.stats().delayed.jobs == 1
        assert len(backend.jobs(JobState.FAILED, limit=1)) == 1
        backend.wait(0.01)
        backend.close()


def test_the_documented_permissions_suffice(server, raw, caplog):
    rules = documented_acl()
    assert len(rules) > 20
    raw.execute_command("ACL", "SETUSER", "least", "reset", "on", ">pw", "~test:*", *rules)
    caplog.set_level("WARNING")
    for ordering in Ordering:
        url = f"unix://least:pw@{server.socket_path}?db=1"
        backend = make_backend(url, ordering=ordering)
        backend.open()
        jobs = new_jobs(4)
        backend.commit(jobs)
        backend.wait(0.01)
        claim_soon(backend, "t", limit=4)
        backend.renew("t", ids_of(jobs), visibility_timeout=LONG)
        backend.settle(
            "t", [retry(jobs[0].id, progress="x"), fail(jobs[1].id, payload=b"r"), release(jobs[2].id)]
        )
        backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG, probe=True))
        backend.lookup(ids_of(jobs))
        backend.stats()
        for state in JobState:
            backend.jobs(state, limit=5, after=jobs[0].id)
        backend.payload(jobs[0].id)
        backend.replay([jobs[1].id])
        backend._connection.execute("HSETNX", backend._payloads, "orphan", b"x")
        backend._connection.execute("HDEL", backend._prefix + "m", "events")
        assert backend.repair() == 1
        backend.leave("t")
        backend.purge(JobState.WAITING, ids_of(jobs))
        backend.ack(ids_of(jobs))
        standby = make_backend(url, ordering=ordering, queue_name="acl")
        standby.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
        standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG))
        standby.leave("t")
        standby.close()
        backend.close()
    expected = ("without an index", "no append-only file")
    assert [r for r in caplog.records if not any(part in r.getMessage() for part in expected)] == []
    outside = make_backend(url, prefix="other")
    with pytest.raises(QueueError, match="PERMISSION"):
        outside.commit([new_job()])
    outside.close()


def test_a_forked_child_leaves_the_parents_connections_alone(make, server):
    backend = make()
    backend.commit(new_jobs(2))
    backend.wait(0.01)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            backend.abandon()
            backend.open()
            [job] = backend.claim("child", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs
            status = 0 if backend.ack([job.id]) == 1 else 2
            backend.close()
        finally:
            os._exit(status)
    for _ in range(50):
        assert backend.stats() is not None
    assert os.waitpid(pid, 0)[1] == 0
    assert len(drain(backend, "t")) == 1


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_no_command_takes_the_reply_to_one_that_was_cut_off(server, monkeypatch, error):
    """What comes between a command and its reply leaves a connection on which a reply is still to come."""
    backend = make_backend(server.url)
    backend.open()
    read = redis.connection.AbstractConnection.read_response
    thrown = []

    def cut_off(self, *args, **kwargs):
        if not thrown:
            thrown.append(error())
            raise thrown[0]
        return read(self, *args, **kwargs)

    monkeypatch.setattr(redis.connection.AbstractConnection, "read_response", cut_off)
    with pytest.raises((error, QueueError)):
        backend._connection.execute("BLPOP", "nothing", 0.3)
    assert thrown
    assert backend._connection.execute("ECHO", "mine") == b"mine"
    backend.close()


def test_nothing_is_connected_before_it_is_needed():
    backend = make_backend("redis://nowhere.invalid", queue_name=new_queue_name())
    backend.interrupt()
    backend.abandon()
    backend.close()
    backend.close()
