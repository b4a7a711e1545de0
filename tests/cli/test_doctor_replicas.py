"""``eventspool doctor`` looks after the replicas that ``durability="replicated"`` waits for."""

from __future__ import annotations

import pytest
import redis

from e2e.harness import eventually
from eventspool._config import ClientOpts, QueueOpts
from eventspool._doctor import examine
from redis_servers import NEWEST, running
from replicas import replicated


@pytest.fixture
def look(run):
    """Return a function that examines a queue and returns its findings on replicas and commands: what, how bad and the sentence."""

    def look(url, *arguments, **env):
        done = run(
            "doctor", "--queue", url, "--no-data-plane", "--interval", "0", "--json", *arguments, **env
        )
        found = done.json["findings"]
        checks = ("redis.replicas", "redis.acl", "redis.commands")
        return [(each["check"], each["severity"], each["what"]) for each in found if each["check"] in checks]

    return look


def test_it_says_that_nothing_is_acknowledged_where_replicas_are_missing_and_warns_of_one_alone(look):
    with replicated(NEWEST[0]) as group, redis.Redis.from_url(group.master.url) as master:
        assert look(group.url) == []
        assert look(group.url, "--replicas", "0") == []
        [(check, severity, sentence)] = look(group.url, "--replicas", "1")
        assert (check, severity) == ("redis.replicas", "warning")
        assert "has 1 replica, and" in sentence
        assert "while one of them is away no event is acknowledged" in sentence
        [(check, severity, sentence)] = look(group.url, EVENTSPOOL_REPLICAS="2")
        assert (check, severity) == ("redis.replicas", "error")
        assert "no event is acknowledged now" in sentence
        group.replicas[0].kill()
        eventually(lambda: master.info("replication")["connected_slaves"] == 0)
        [(_, severity, sentence)] = look(group.url, "--replicas", "1")
        assert severity == "error"
        assert "has 0 replicas" in sentence


def test_it_is_content_with_one_replica_more_than_is_asked_for(look):
    with replicated(NEWEST[1], 2) as group:
        assert look(group.url, "--replicas", "1") == []
        [(_, severity, _)] = look(group.url, "--replicas", "2")
        assert severity == "warning"


def test_a_server_that_does_not_wait_is_found_where_it_matters(look):
    with running(NEWEST[0], "--rename-command", "WAIT", "") as server:
        assert look(server.url) == []
        found = look(server.url, "--replicas", "1")
        assert ("redis.commands", "error") in [each[:2] for each in found]
        assert any("it has no WAIT" in sentence for _, _, sentence in found)


def test_a_clients_own_options_say_how_many():
    opts = ClientOpts(write_key="k", data_plane_url="http://127.0.0.1:1", durability="replicated")
    with running(NEWEST[0]) as server:
        found = examine(QueueOpts(url=server.url, replicas=3), opts, interval=0.0).findings
        assert any("asks for 3" in each.what for each in found)
