"""A URL means what it says, or is refused: never another database, server or user than anybody meant."""

from __future__ import annotations

import pytest
import redis

from eventspool import Client, ConfigError, QueueError, QueueOpts, RedisOpts, open_queue
from eventspool._backends.redis.client import connect
from eventspool._backends.redis.errors import translate
from eventspool._contract.tools import new_job
from redis_clusters import running_cluster
from redis_servers import NEWEST, OLDEST, available_servers, make_backend, running

SECRET = "secret-1"
NONE = [
    f"{start}{rest}"
    for start, rests in {
        "/": (
            "one",
            "2/three",
            "2.5",
            "2/3",
            "2/3/4",
            "-2",
            "+2",
            "2_0",
            " 2",
            "%32%2f3",
            "/2",
            "\u0662",
            "0x2",
        ),
        "/2": ("147483648", "#3", "?db", "?3", "?db=one", "?db=3"),
        "?db=": ("one", "-2", "2.0", "", "2&db=3"),
    }.items()
    for rest in rests
]


def settings(url, **options):
    return connect(RedisOpts(url=url, **options)).connection_pool.connection_kwargs


@pytest.mark.parametrize(
    "start", ["redis://:secret-1@h", "rediss://h:7", "valkey://[::1]:7", "valkeys://u:secret-1@h"]
)
@pytest.mark.parametrize("tail", NONE)
def test_a_database_that_is_none_is_refused_in_every_form_of_url(start, tail):
    for make in (
        lambda url: RedisOpts(url=url),
        lambda url: QueueOpts(url=url),
        lambda url: Client("k", persistence=url),
        open_queue,
    ):
        with pytest.raises(ConfigError) as caught:
            make(start + tail)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize("tail", ["?db=one", "?db=-1", "?db=", "?db=1&db=2", "#1"])
def test_the_same_goes_for_sockets(tail):
    with pytest.raises(ConfigError):
        QueueOpts(url=f"unix:///run/redis.sock{tail}")


@pytest.mark.parametrize(
    ("tail", "database"),
    [
        ("", 0),
        ("/", 0),
        ("/3", 3),
        ("/3/", 3),
        ("/%33", 3),
        ("?db=3", 3),
        ("/3?db=3", 3),
        ("/03", 3),
        ("/9999", 9999),
    ],
)
def test_a_database_is_found_where_it_may_stand(tail, database):
    assert settings(f"redis://h{tail}").get("db", 0) == database


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret-1#x@h/1",
        "redis://:secret-1?x@h/1",
        "redis://:secret-1/x@h/1",
        "redis://h:0/1",
        "unix://run/redis.sock",
        "unix://?db=1",
        "unix:///",
    ],
)
def test_what_would_lead_to_another_server_is_refused(url):
    """redis-py drops what it does not understand, and then takes localhost, or half of a path."""
    with pytest.raises(ConfigError) as caught:
        RedisOpts(url=url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "username", "password"),
    [
        ("redis://app:p%40%3A%2F@h/1", "app", "p@:/"),
        ("redis://:p@h", None, "p"),
        ("redis://app@h", "app", None),
        ("redis://h?username=app&password=p", "app", "p"),
        ("unix://app:p@/run/redis.sock?db=2", "app", "p"),
        ("redis://h", None, None),
    ],
)
def test_user_and_password_are_read_wherever_they_stand(url, username, password):
    found = settings(url)
    assert (found.get("username"), found.get("password")) == (username, password)


def test_an_option_of_the_url_keeps_its_quoting():
    assert settings("rediss://h/1?ssl_ca_certs=%2Frun%2Fca+file&db=1")["ssl_ca_certs"] == "/run/ca file"


@pytest.mark.parametrize("name", [name for name in (OLDEST, *NEWEST) if name in available_servers()])
def test_a_database_that_the_server_has_not_is_told_for_what_it_is(name):
    with running(name, "--databases", "4") as server:
        backend = make_backend(server.url.replace("db=0", "db=3"))
        backend.open()
        backend.close()
        backend = make_backend(server.url.replace("db=0", "db=99"))
        for call in (backend.open, backend.stats, lambda: backend.wait(0.1)):
            with pytest.raises(QueueError, match="has no database 99") as caught:
                call()
            assert str(server.socket_path) in str(caught.value)
        backend.close()


@pytest.mark.parametrize("name", [name for name in (OLDEST, NEWEST[0]) if name in available_servers()])
def test_a_cluster_says_that_it_has_one_database(name):
    """Valkey 9 can have several."""
    with running(name, "--cluster-enabled", "yes") as server:
        backend = make_backend(server.url.replace("db=0", "db=1"))
        with pytest.raises(QueueError, match="has no database 1: a cluster has only database 0"):
            backend.open()
        backend.close()


def test_a_node_that_does_not_hold_the_queue_leads_to_the_one_that_does(caplog):
    """A cluster of two: one has no slots, the other has them all."""
    with running_cluster(NEWEST[1], masters=1, replicas=0, strangers=1) as cluster:
        owner, other = cluster.nodes
        backend = make_backend(other.url, queue_name="led on")
        backend.open()
        assert backend.commit([new_job()]).accepted == 1
        assert backend.stats().waiting.jobs == 1
        assert backend.wait(5.0)
        backend.close()
        said = [r.getMessage() for r in caplog.records if "redis+cluster://" in r.getMessage()]
        assert len(said) == 1
        assert f"127.0.0.1:{other.port} is a node of a cluster" in said[0]
        there = make_backend(owner.url, queue_name="led on")
        there.open()
        assert there.stats().waiting.jobs == 1
        there.close()


def test_a_slot_on_its_way_is_not_told_as_one_that_has_moved():
    assert "(MOVED)" in str(translate(redis.exceptions.MovedError("9 10.0.0.7:7002"), "q"))
    assert "(ASK)" in str(translate(redis.exceptions.AskError("9 10.0.0.7:7002"), "q"))
