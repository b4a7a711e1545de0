"""``durability="replicated"``: an id is returned once replicas have the event. And what a failover takes is told as lost."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from contextlib import closing

import pytest
import redis

from e2e.harness import PATIENCE, Calls, eventually
from eventspool import AsyncClient, Client, ConfigError, DeliveryError
from redis_servers import NEWEST, OLDEST, available_servers
from replicas import replicated

SERVERS = [name for name in (OLDEST, *NEWEST) if name in available_servers()]
QUICK = 2.0
"""Seconds that a call may take besides the wait for replicas, on a busy machine."""


@pytest.fixture
def pair():
    """A master and its replica."""
    with replicated(NEWEST[0]) as group:
        yield group


def queue_of(group, **options):
    return {"url": group.url, "is_multi_processor": True, **options}


def test_a_call_returns_when_a_replica_has_its_event(pair, clients):
    client = clients(durability="replicated", persistence=queue_of(pair), process=False)
    with redis.Redis.from_url(pair.replicas[0].url) as replica:
        for number in range(1, 6):
            assert client.track("u", "E")
            assert replica.hlen("hightouch:{hightouchEventsQueue:0}:d") == number


def test_a_call_waits_while_the_replica_is_away_and_returns_when_it_is_back(pair, clients):
    queue = queue_of(pair, replication_timeout=0.1)
    client = clients(durability="replicated", persistence=queue, process=False)
    assert client.track("u", "first")
    pair.links[0].hold()
    threading.Timer(1.0, pair.links[0].let_go).start()
    began = time.monotonic()
    assert client.track("u", "second")
    assert 0.9 < time.monotonic() - began < 1.0 + QUICK
    assert client.stats().unconfirmed == 0


def test_a_call_waits_for_the_clients_timeout_at_most(pair, clients, plane):
    """Also where the event is delivered meanwhile: it was not confirmed."""
    queue = queue_of(pair, replication_timeout=0.1)
    client = clients(durability="replicated", persistence=queue, timeout=1.0)
    assert client.track("u", "first")
    pair.links[0].hold()
    began = time.monotonic()
    assert client.track("u", "second") is None
    assert 0.9 < time.monotonic() - began < 1.0 + QUICK
    assert client.stats().unconfirmed == 1
    assert plane.wait_for(2)
    time.sleep(1.0)  # the client goes on trying, and stores nothing again
    pair.links[0].let_go()
    assert client.track("u", "third")
    assert client.flush(timeout=PATIENCE).pending == 0
    assert plane.wait_for(3)
    assert len(plane.events) == len(plane.unique_ids()) == 3


def test_a_call_is_refused_at_once_where_that_is_asked_for(pair, clients):
    queue = queue_of(pair, replication_timeout=0.3, when_unreplicated="refuse")
    client = clients(durability="replicated", persistence=queue, process=False, timeout=60.0)
    assert client.track("u", "first")
    pair.links[0].hold()
    for _ in range(3):
        began = time.monotonic()
        assert client.track("u", "second") is None
        assert time.monotonic() - began < 0.3 + QUICK
    pair.links[0].let_go()
    assert eventually(lambda: client.track("u", "third"))
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0


def test_a_replica_that_is_away_at_the_start_holds_up_no_more_than_acknowledgements(pair, clients, caplog):
    pair.links[0].hold()
    queue = queue_of(pair, replication_timeout=0.1)
    client = clients(durability="replicated", persistence=queue, process=False, timeout=0.5)
    assert client.track("u", "E") is None
    assert client.flush(until="persisted", timeout=0.3).pending == 1
    result = client.flush(until="persisted", timeout=0.3)
    assert "0 of 1 replicas have confirmed" in result.reason
    assert "0 of 1 replicas have confirmed" in caplog.text
    pair.links[0].let_go()
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    assert client.track("u", "E")


def test_threads_share_commits_and_their_confirmations(pair, clients):
    client = clients(durability="replicated", persistence=queue_of(pair), process=False)
    with redis.Redis.from_url(pair.master.url, protocol=2) as master:
        before = master.info("commandstats").get("cmdstat_wait", {"calls": 0})["calls"]
        told = Calls()
        threads = [
            threading.Thread(target=lambda: [told(client.track("u", "E")) for _ in range(20)])
            for _ in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert len({message_id for (message_id,) in told.await_calls(400)} - {None}) == 400
        assert master.info("commandstats")["cmdstat_wait"]["calls"] - before < 300


def test_large_batches_are_confirmed_too(pair, clients):
    client = clients(
        durability="replicated",
        persistence=queue_of(pair, replication_timeout=0.1),
        process=False,
        timeout=0.5,
    )
    large = {"text": "".join(map(str, range(8000)))}
    assert client.track("u", "E", large)
    pair.links[0].hold()
    assert client.track("u", "E", large) is None
    pair.links[0].let_go()
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0


@pytest.mark.rotating("spilled replicated events", seldom=True)
def test_a_spill_file_acknowledges_nothing_and_keeps_it(pair, clients, tmp_path):
    queue = queue_of(pair, replication_timeout=0.1)
    url = f"sqlite:///{tmp_path}/spill.db"
    client = clients(durability="replicated", persistence=queue, process=False, timeout=2.5, spill=url)
    assert client.track("u", "first")
    pair.address.lead_to(1)  # where nothing listens
    assert client.track("u", "second") is None
    assert eventually(lambda: client.stats().spilled) == 1
    assert client.track("u", "third") is None
    assert client.flush(until="persisted", timeout=0.2).pending == 2
    caller = Calls()
    threading.Thread(target=lambda: caller(client.track("u", "fourth"))).start()
    eventually(lambda: client.stats().spilled == 3)
    pair.address.lead_to(int(pair.master.url.rpartition(":")[2].partition("/")[0]))
    [(message_id,)] = caller.await_calls(1)
    assert message_id
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    assert client.stats().spilled == 0


def test_an_awaited_call_returns_when_a_replica_has_its_event(pair, plane):
    async def go():
        queue = queue_of(pair, replication_timeout=0.1)
        options = {"data_plane_url": plane.url, "process": False, "timeout": 0.5}
        async with AsyncClient("k", durability="replicated", persistence=queue, **options) as client:
            assert await client.track_persisted("u", "first")
            pair.links[0].hold()
            assert await client.track_persisted("u", "second") is None
            pair.links[0].let_go()
            await client.flush(until="persisted", timeout=PATIENCE)
            assert await client.track_persisted("u", "third")

    asyncio.run(go())


def test_a_store_without_replicas_refuses_the_level(tmp_path, plane):
    words = "durability='replicated' needs a queue in Redis"
    with pytest.raises(ConfigError, match=words):
        Client("k", durability="replicated", persistence=f"sqlite:///{tmp_path}/q.db")
    on_error = Calls()
    with closing(Client("k", data_plane_url=plane.url, durability="replicated", on_error=on_error)) as client:
        assert client.track("u", "E") is None
        [(error, _)] = on_error.await_calls(1)
        assert "durability='replicated' needs persistence" in str(error)
        with pytest.raises(ConfigError, match=words):
            client.create_persistence_queue({"url": f"sqlite:///{tmp_path}/q.db"})


# -- failovers ---------------------------------------------------------------------------------------------------------


class Load:
    """
    Some threads that track for as long as it is entered, with a callback for each event.

    Args:
        client: The client.
        count: How many threads.
    """

    def __init__(self, client, count=8):
        self.acknowledged: list[str] = []
        self.told = Calls()
        self._client = client
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._track) for _ in range(count)]

    def _track(self):
        while not self._over.is_set():
            if message_id := self._client.track("u", "E", callback=self.told):
                self.acknowledged.append(message_id)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)


def fail_over_under_load(group, client):
    """Kill the master when its replica has heard nothing for a second. Return the load that there was."""
    with Load(client) as load:
        eventually(lambda: len(load.acknowledged) > 1000)
        group.links[0].hold()
        time.sleep(1.0)  # this is how far the replica is behind
        group.fail_over()
        if client._opts.durability == "replicated":  # its new master has no replica
            return load
        count = len(load.acknowledged)
        eventually(lambda: len(load.acknowledged) > count + 50)
    return load


ROUNDS = [(name, number) for number, name in zip(range(10), itertools.cycle(SERVERS), strict=False)]


@pytest.mark.rotating("failovers", seldom=True)
@pytest.mark.parametrize(("server", "number"), ROUNDS)
def test_a_replica_that_was_a_second_behind_takes_nothing_that_was_acknowledged_as_replicated(
    server, number, clients, plane
):
    with replicated(server) as group:
        queue = queue_of(group, replication_timeout=0.5)
        producer = clients(durability="replicated", persistence=queue, process=False, timeout=3.0)
        load = fail_over_under_load(group, producer)
        consumer = clients(persistence=queue)
        consumer.flush(timeout=PATIENCE)
        eventually(
            lambda: set(load.acknowledged) <= set(plane.unique_ids()),
            "all that was acknowledged is delivered",
        )
        stored = len(load.acknowledged)
        assert producer.stats().unconfirmed > 0, "the replica was not behind"
        assert stored > 1000


@pytest.mark.rotating("failovers unconfirmed", seldom=True)
@pytest.mark.parametrize(("server", "number"), ROUNDS)
def test_what_a_failover_takes_without_replicated_is_told_as_lost(server, number, clients, plane):
    with replicated(server) as group:
        queue = queue_of(group)
        producer = clients(durability="persisted", persistence=queue, process=False)
        load = fail_over_under_load(group, producer)
        consumer = clients(persistence=queue)
        assert producer.flush(timeout=PATIENCE).pending == 0
        arrived = set(plane.unique_ids())
        outcomes = load.told.outcomes()
        lost = set(load.acknowledged) - arrived
        assert len(lost) > 50, "the replica was not behind"
        assert {message_id for message_id, error in outcomes.items() if error is None} <= arrived
        assert lost <= {message_id for message_id, error in outcomes.items() if is_lost(error)}
        assert producer.stats().lost == sum(map(is_lost, outcomes.values()))
        assert consumer.flush(timeout=PATIENCE).pending == 0


def is_lost(error):
    return isinstance(error, DeliveryError) and error.reason == "lost"


def test_an_event_that_a_failover_took_is_lost_and_one_that_was_delivered_is_not(
    pair, clients, plane, caplog
):
    told, on_error = Calls(), Calls()
    producer = clients(durability="persisted", persistence=queue_of(pair), process=False, on_error=on_error)
    delivered = producer.track("u", "first", callback=told)
    with closing(clients(persistence=queue_of(pair))):
        assert plane.wait_for(1)
    pair.await_link()
    pair.links[0].hold()
    lost = producer.track("u", "second", callback=told)
    pair.fail_over()
    result = producer.flush(timeout=PATIENCE)
    # A flush counts what it waited for: the producer may have heard of the first event before it.
    assert (result.failed, result.pending) == (1, 0)
    told.await_calls(2)
    outcomes = told.outcomes()
    assert outcomes[delivered] is None
    assert is_lost(outcomes[lost])
    assert (producer.stats().delivered, producer.stats().lost) == (1, 1)
    assert is_lost(on_error.await_calls(1)[0][0])
    assert "went back in time" in caplog.text


def test_what_this_process_has_delivered_stays_delivered(pair, clients, plane):
    told = Calls()
    client = clients(durability="persisted", persistence=queue_of(pair))
    assert client.track("u", "first")
    pair.await_link()
    pair.links[0].hold()
    ids = [client.track("u", "E", callback=told) for _ in range(3)]
    assert plane.wait_for(4)
    pair.fail_over()
    assert client.flush(timeout=PATIENCE).pending == 0
    told.await_calls(3)
    assert told.outcomes() == dict.fromkeys(ids)
    assert client.stats().lost == 0
