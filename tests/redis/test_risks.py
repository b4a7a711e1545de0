"""A process that stores events in a server that is set up to lose them is told so, once, when it opens the queue."""

from __future__ import annotations

import pytest
import redis

from eventspool import Client
from eventspool._contract.tools import eventually
from eventspool.testing import DataPlane
from redis_servers import NEWEST, OLDEST, available_servers, documented_acl, make_backend, running

SAFE = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "everysec", "save": ""}
VOLATILE = [f"volatile-{by}" for by in ("lru", "lfu", "ttl", "random")]
NONE_KEPT = "it takes no snapshots either, so a restart loses the whole queue"
SNAPSHOTS = "a crash loses what came after its last snapshot."


@pytest.fixture(scope="module", params=[name for name in (OLDEST, *NEWEST) if name in available_servers()])
def own(request):
    """A server whose settings are ours to change."""
    with running(request.param, aof="everysec") as server:
        yield server


@pytest.fixture
def warnings(own, caplog):
    """Configure the server, open a queue twice, and return the warnings: ``warnings({setting: value}, **options)``."""

    def open_with(settings, url=own.url, **options):
        with redis.Redis.from_url(own.url) as admin:
            for name, value in {**SAFE, **settings}.items():
                admin.config_set(name, value)
        backend = make_backend(url, **options)
        backend.open()
        backend.open()
        backend.close()
        assert {r.levelname for r in caplog.records} <= {"WARNING"}
        return [r.getMessage() for r in caplog.records if r.name == "eventspool.queue"]

    return open_with


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"maxmemory-policy": "allkeys-lru"}, "maxmemory-policy allkeys-lru"),
        ({"maxmemory-policy": "allkeys-random"}, "the whole queue would be lost"),
        *(({"maxmemory-policy": policy}, f"maxmemory-policy {policy}") for policy in VOLATILE),
        ({"appendonly": "no"}, NONE_KEPT),
        ({"appendonly": "no", "save": "3600 1"}, SNAPSHOTS),
        ({"appendfsync": "no"}, "appendfsync no"),
    ],
    ids=["evicting", "by chance", *VOLATILE, "keeping nothing", "snapshots only", "unsynced"],
)
def test_a_setting_that_loses_events_is_warned_of_once(warnings, settings, said):
    [warning] = warnings(settings, queue_name="precious")
    assert said in warning
    assert "queue 'precious'" in warning


@pytest.mark.parametrize(
    "settings",
    [{}, {"appendfsync": "always"}, {"save": "3600 1"}],
    ids=["everysec", "always", "snapshots too"],
)
def test_a_server_that_keeps_what_it_takes_is_not_warned_of(warnings, settings):
    assert warnings(settings) == []


def test_all_risks_are_named(warnings):
    assert len(warnings({"maxmemory-policy": "allkeys-lfu", "appendonly": "no"})) == 2


def test_who_only_looks_is_not_warned(warnings):
    assert warnings({"maxmemory-policy": "allkeys-lru", "appendonly": "no"}, ordering=None) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"appendonly": "no"}, ["if it takes any"]),
        ({"maxmemory-policy": "allkeys-lru"}, ["maxmemory-policy"]),
        ({"appendfsync": "no"}, []),
    ],
    ids=["no file", "evicting", "unsynced"],
)
def test_the_least_user_is_told_what_it_may_know(own, warnings, settings, said):
    """The ACL forbids it ``CONFIG GET``: whether there are snapshots, and how often is synced, stays unknown."""
    with redis.Redis.from_url(own.url) as admin:
        admin.execute_command("ACL", "SETUSER", "least", "on", ">secret", "~test:*", *documented_acl())
    found = warnings(settings, own.url.replace("unix://", "unix://least:secret@"))
    assert len(found) == len(said)
    assert all(part in warning for part, warning in zip(said, found, strict=True))


def test_a_server_without_the_command_is_used_all_the_same(caplog):
    """As hosted ones are."""
    with running(NEWEST[1], "--rename-command", "CONFIG", "", aof="always") as server:
        backend = make_backend(server)
        backend.open()
        backend.close()
    assert caplog.records == []


@pytest.mark.parametrize("options", [{"process": False}, {}], ids=["producer", "producer and processor"])
def test_a_client_that_is_given_its_queue_warns_with_the_first_event(options, caplog):
    with running(NEWEST[1]) as server, DataPlane() as plane:
        for _ in range(2):
            client = Client("k", data_plane_url=plane.url, persistence=server.url, **options)
            for _ in range(3):
                client.track("u1", "E")
                assert client.flush(until="persisted", timeout=60).pending == 0
            assert eventually(lambda: [r for r in caplog.records if NONE_KEPT in r.getMessage()])
            client.close(0.5)
            assert len([r for r in caplog.records if NONE_KEPT in r.getMessage()]) == 1
            caplog.clear()
