"""The degrade ladder on real parts: Redis goes away, a local file takes the events, Redis gets them in order."""

from __future__ import annotations

import logging
import os
import random
import signal
import time

import pytest

from e2e.harness import (
    PATIENCE,
    SLACK,
    Calls,
    Store,
    assert_delivered,
    eventually,
    new_queue_name,
    run_python,
)
from e2e.test_kill import SHARED, START_PATIENCE, Account, Child, drain
from eventspool import ConfigError, _closing, open_queue

QUICK = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}


@pytest.fixture
def spill(tmp_path):
    """The URL of a spill file that is not there yet."""
    return f"sqlite:///{tmp_path}/spill.db"


@pytest.fixture
def durable(redis_server):
    """A queue in order, on a server of the test's own."""
    return Store("redis", redis_server.url, new_queue_name())


def spilled_events(spill, store):
    """Return how many events are in the file, whoever put them there."""
    with open_queue(spill, queue_name=store.queue_name) as queue:
        stats = queue.stats()
    return stats.waiting.events + stats.leased.events


def listen_for(child, account, acked):
    """Let *child* go on until more than *acked* calls were acknowledged, and for a second at least."""
    child.listen(1.0)
    deadline = time.monotonic() + PATIENCE
    while len(account.acked) <= acked:
        assert time.monotonic() < deadline, f"{len(account.acked)} calls are acknowledged, not {acked}"
        child.listen(0.1)


def track(client, count, **options):
    ids = [client.track("u1", "E", {"n": n}, **options) for n in range(count)]
    assert None not in ids
    return ids


# -- one process -------------------------------------------------------------------------------------------------------


def test_events_of_an_outage_arrive_in_order_and_once(clients, plane, redis_server, durable, spill, caplog):
    """Before, while and after it: one order; callbacks fire once; one warning, and one line when it is over."""
    caplog.set_level(logging.INFO, "eventspool")
    callback = Calls()
    client = clients(persistence=durable.opts(), spill=spill)
    ids = track(client, 20, callback=callback)
    assert_delivered(client, 20)
    redis_server.kill()
    for _ in range(5):
        ids += track(client, 50, callback=callback)
        client.flush(until="persisted", timeout=PATIENCE)
    stats = client.stats()
    assert (stats.buffered, stats.persisted, stats.spilled) == (0, 250, 250)
    assert spilled_events(spill, durable) == 250
    redis_server.start()
    while client.stats().spilled:
        ids += track(client, 1, callback=callback)
        time.sleep(0.001)
    ids += track(client, 20, callback=callback)
    assert_delivered(client, len(ids))
    assert plane.unique_ids() == ids
    assert plane.stats().duplicates == 0
    callback.await_calls(len(ids))
    assert set(callback.outcomes().values()) == {None}
    eventually(
        lambda: spilled_events(spill, durable) == 0, "what was moved leaves the file after it was delivered"
    )
    assert client.stats().spilled == 0

    def lines():
        return [(r.levelname, r.getMessage()) for r in caplog.records if "spill file" in r.getMessage()]

    eventually(lambda: len(lines()) >= 2, "it says that the file is empty")
    assert [level for level, _ in lines()] == ["WARNING", "INFO"], lines()


def spill_events_of_seven_users(client, count):
    """Track *count* events, and return their ids and what is called back for each once the file has them."""
    callback = Calls()
    ids = [client.track(f"u{n % 7}", "E", {"n": n}, callback=callback) for n in range(count)]
    eventually(lambda: client.stats().spilled == count, "the file takes the events")
    return ids, callback


def test_what_becomes_of_batches_that_are_cut_by_users_behind_the_file_is_told_when_they_are_delivered(
    clients, plane, redis_server, durable, spill
):
    """Batches of an outage hold events of all users. The jobs that take their place in the queue have other ids."""
    redis_server.kill()
    plane.script({"outage": True})
    client = clients(persistence=durable.opts(ordering="per_user", partitions=2), spill=spill)
    ids, callback = spill_events_of_seven_users(client, 60)
    redis_server.start()
    eventually(lambda: client.stats().spilled == 0, "the queue takes the events")
    assert client.flush(timeout=1.0).pending == 60
    assert callback == []
    plane.script()
    assert client.flush(timeout=PATIENCE).pending == 0
    callback.await_calls(60)
    assert callback.outcomes() == dict.fromkeys(ids)
    assert sorted(plane.unique_ids()) == sorted(ids)
    assert plane.stats().duplicates == 0


def test_what_was_erased_in_the_file_from_a_batch_that_is_cut_by_users_is_told_as_purged(
    clients, plane, redis_server, durable, spill
):
    redis_server.kill()
    plane.script({"outage": True})
    client = clients(persistence=durable.opts(ordering="per_user", partitions=2), spill=spill)
    ids, callback = spill_events_of_seven_users(client, 35)
    with open_queue(spill, queue_name=durable.queue_name) as queue:
        assert queue.erase("u3").events == 5
    redis_server.start()
    eventually(lambda: client.stats().spilled == 0, "the queue takes the events")
    callback.await_calls(5)
    assert client.flush(timeout=0.5).pending == 30
    plane.script()
    assert client.flush(timeout=PATIENCE).pending == 0
    callback.await_calls(35)
    told = {message_id: error and error.reason for message_id, error in callback.outcomes().items()}
    assert told == {message_id: "purged" if n % 7 == 3 else None for n, message_id in enumerate(ids)}


def test_a_durable_call_is_acknowledged_while_redis_is_away(clients, plane, redis_server, durable, spill):
    """After a second at first, at once from then on; and it is in the file by then."""
    client = clients(persistence=durable.opts(), spill=spill, durability="persisted", timeout=PATIENCE)
    ids = track(client, 1)
    redis_server.kill()
    began = time.monotonic()
    ids += track(client, 1)
    assert 0.9 < time.monotonic() - began < PATIENCE / 2
    took = []
    for n in range(2, 12):
        began = time.monotonic()
        ids += track(client, 1)
        took.append(time.monotonic() - began)
        assert spilled_events(spill, durable) == n
    assert min(took) < 0.5, "or else each of them has waited for a second"
    assert client.stats().unconfirmed == 0
    redis_server.start()
    assert_delivered(client, 12)
    assert plane.unique_ids() == ids


def test_a_redis_that_was_never_there_is_bridged_too(clients, plane, redis_server, spill):
    """Also where the queue comes by create_persistence_queue."""
    url = redis_server.url
    redis_server.kill()
    client = clients(spill={"url": spill})
    client.create_persistence_queue({"url": url}, Calls())
    ids = track(client, 30)
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    assert client.stats().spilled == 30
    redis_server.start()
    assert_delivered(client, 30)
    assert plane.unique_ids() == ids


def test_a_buffer_that_is_half_full_spills_without_waiting_for_the_second(
    clients, redis_server, durable, spill, monkeypatch
):
    monkeypatch.setattr("eventspool._buffering.spill._SPILL_AFTER", 2 * PATIENCE)
    client = clients(persistence=durable.opts(), spill=spill, max_internal_queue_size=100)
    track(client, 1)
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    redis_server.kill()
    track(client, 60)
    eventually(lambda: client.stats().spilled)
    redis_server.start()
    assert client.flush(timeout=PATIENCE).pending == 0


def test_a_full_file_fills_memory_and_then_events_are_refused_and_counted(
    clients, plane, redis_server, durable, spill
):
    """The ladder's end. Everything that was accepted arrives, in order."""
    options = {"url": spill, "max_jobs": 3}
    client = clients(persistence=durable.opts(), spill=options, max_internal_queue_size=40, flush_at=1)
    redis_server.kill()
    accepted = []

    def refused():
        message_id = client.track("u1", "E")
        if message_id:
            accepted.append(message_id)
        return message_id is None

    assert not refused()
    eventually(
        lambda: client.stats().spilled
    )  # before memory is full, which on a busy machine it may be sooner
    eventually(refused)
    stats = client.stats()
    assert stats.refused == {"buffer_full": 1}
    assert stats.spilled + stats.buffered == stats.accepted == len(accepted)
    redis_server.start()
    assert_delivered(client, len(accepted))
    assert plane.unique_ids() == accepted


def test_a_file_that_cannot_be_used_is_no_worse_than_none(clients, plane, redis_server, durable, tmp_path):
    """Events wait in memory, and go to Redis when it is back."""
    (tmp_path / "folder").mkdir()
    client = clients(persistence=durable.opts(), spill=f"sqlite:///{tmp_path}/folder")
    redis_server.kill()
    ids = track(client, 20)
    client.flush(until="persisted", timeout=1.5)
    assert client.stats().buffered == 20
    redis_server.start()
    assert_delivered(client, 20)
    assert plane.unique_ids() == ids


def test_a_producer_without_a_processor_moves_its_events_on(clients, plane, redis_server, durable, spill):
    """And hears of the delivery by another client: look-ups do not take a spilled job for a delivered one."""
    callback = Calls()
    producer = clients(persistence=durable.opts(), spill=spill, process=False)
    redis_server.kill()
    track(producer, 5, callback=callback)
    assert producer.flush(until="persisted", timeout=PATIENCE).pending == 0
    assert producer.flush(timeout=1.0).pending == 5
    assert callback == []
    redis_server.start()
    eventually(lambda: not producer.stats().spilled)
    clients(persistence=durable.opts()).flush()
    assert_delivered(producer, 5)
    callback.await_calls(5)


# -- the end of a process ----------------------------------------------------------------------------------------------


def test_a_client_that_closes_amid_an_outage_loses_nothing(clients, plane, redis_server, durable, spill):
    """It does not wait for the second to pass; the next client with the same file delivers, old events first."""
    client = clients(persistence=durable.opts(), spill=spill, flush_interval=60.0, flush_at=1000)
    redis_server.kill()
    ids = track(client, 300)
    client.close(timeout=0.5)
    assert (client.stats().lost, client.stats().spilled) == (0, 300)
    late = clients(persistence=durable.opts(), spill=spill)
    ids += track(late, 10)
    redis_server.start()
    assert late.flush(timeout=PATIENCE).pending == 0
    assert plane.wait_for(310, timeout=PATIENCE)
    assert plane.unique_ids() == ids


def test_a_client_that_closes_while_redis_hangs_loses_nothing(clients, plane, redis_server, durable, spill):
    """The commit under way is not waited for: its batch goes into the file under the same id."""
    opts = durable.opts(redis_opts={"url": durable.url, "socket_timeout": 30.0})
    del opts["url"]
    client = clients(persistence=opts, spill=spill)
    ids = track(client, 10)
    assert_delivered(client, 10)
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        ids += track(client, 50)
        time.sleep(0.1)  # the flusher is in the midst of its commit; a test that finds it earlier passes too
        ids += track(client, 50)
        began = time.monotonic()
        client.close(timeout=3.0)
        assert time.monotonic() - began < 3.0 + SLACK
        assert client.stats().lost == 0
        assert spilled_events(spill, durable) == 100
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    clients(persistence=durable.opts(), spill=spill).flush()
    assert plane.wait_for(110, timeout=PATIENCE)
    assert plane.unique_ids() == ids


def test_a_process_that_is_killed_leaves_its_events_to_the_next(plane, clients, redis_server, durable, spill):
    """SIGKILL with events in the file and Redis away: all that was acknowledged arrives, nothing is invented."""
    account = Account()
    child = Child(plane, durable, account, "persisted", "spill", spill=spill, **SHARED)
    child.listen(START_PATIENCE, until_line=True)
    child.listen(0.3)
    redis_server.kill()
    before = len(account.acked)
    listen_for(child, account, before + 20)  # calls are acknowledged in the outage
    child.kill()
    assert spilled_events(spill, durable) > 20
    redis_server.start()
    clients(persistence=durable.opts(is_multi_processor=True), spill=spill).flush()
    eventually(lambda: account.acked <= set(plane.unique_ids()), "what was acknowledged arrives")
    assert set(plane.unique_ids()) <= set(account.issued)


@pytest.mark.rotating
@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_kills_while_events_go_into_the_file_and_out_of_it_lose_nothing(
    plane, clients, redis_server, durable, spill, seed
):
    """Two processes share the file; one after the other is killed at random, as is Redis. Twelve kills in all."""
    dice, account = random.Random(seed), Account()
    children = [Child(plane, durable, account, "persisted", f"s{n}", spill=spill, **SHARED) for n in range(2)]
    for number in range(2, 6):
        for child in children:
            child.listen(0.05)
        redis_server.kill()
        children[1].listen(dice.uniform(0.5, 2.0))
        listen_for(children[1], account, len(account.acked) + 20)
        redis_server.start()
        children[1].listen(dice.uniform(0.0, 0.5))
        children.pop(0).kill()
        children.append(Child(plane, durable, account, "persisted", f"s{number}", spill=spill, **SHARED))
        children[-1].listen(START_PATIENCE, until_line=True)
    for child in children:
        child.kill()
    clients(persistence=durable.opts(is_multi_processor=True), spill=spill).flush()
    eventually(lambda: not spilled_events(spill, durable), "the file empties")
    drain(plane, durable, account, **SHARED)
    assert len(account.acked) > 80
    assert account.acked <= set(plane.unique_ids()) <= set(account.issued)


def test_a_child_that_is_forked_amid_an_outage_spills_for_itself(plane, redis_server, durable, spill):
    """Parent and child share the file; each one's events arrive once."""
    redis_server.kill()
    code = """
import os, sys, time, eventspool
url, key, redis, name, spill = sys.argv[1:]
client = eventspool.Client(key, data_plane_url=url, persistence=dict(url=redis, queue_name=name), spill=spill,
                           flush_interval=0.02, durability="persisted")
assert client.track("u1", "Parent", message_id="p1")
for n in range(5):
    pid = os.fork()
    if not pid:
        assert client.track("u1", "Child", message_id=f"c{n}")
        assert client.stats().spilled == client.stats().accepted == 1, client.stats()
        os._exit(0)
    assert client.track("u1", "Parent", message_id=f"p{n + 2}")
    assert os.waitpid(pid, 0)[1] == 0
assert client.stats().spilled == 6
os._exit(0)
"""
    run_python(code, plane.url, plane.write_key, durable.url, durable.queue_name, spill)
    assert spilled_events(spill, durable) == 11
    redis_server.start()
    code = """
import sys, eventspool
url, key, redis, name, spill = sys.argv[1:]
client = eventspool.Client(key, data_plane_url=url, persistence=dict(url=redis, queue_name=name), spill=spill)
client.flush()
sys.stdin.read(0)
import time
deadline = time.monotonic() + 60
while client.stats().sent < 11 and time.monotonic() < deadline: time.sleep(0.01)
client.close()
"""
    run_python(code, plane.url, plane.write_key, durable.url, durable.queue_name, spill)
    assert sorted(plane.unique_ids()) == sorted([f"p{n}" for n in range(1, 7)] + [f"c{n}" for n in range(5)])
    assert plane.stats().duplicates == 0


# -- what is not for everybody to read ---------------------------------------------------------------------------------


def test_the_file_is_its_owners_and_encrypted_where_the_queue_is(
    clients, plane, redis_server, durable, spill, tmp_path
):
    key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    client = clients(persistence=durable.opts(encryption_key=key), spill=spill)
    redis_server.kill()
    ids = [client.track("u1", "canary-4711", {"n": n}) for n in range(5)]
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    with open_queue(spill, queue_name=durable.queue_name, encryption_key=key) as queue:
        [job, *_] = queue.jobs("waiting")
        assert queue.events(job.id)[0]["event"] == "canary-4711"
    with (
        open_queue(spill, queue_name=durable.queue_name) as queue,
        pytest.raises(Exception, match="encrypted"),
    ):
        queue.events(job.id)
    assert (tmp_path / "spill.db").stat().st_mode & 0o777 == 0o600
    redis_server.start()
    assert_delivered(client, 5)
    assert plane.unique_ids() == ids


def test_a_client_for_a_queue_in_a_file_refuses_a_spill_file(tmp_path, spill):
    from eventspool import Client

    with pytest.raises(ConfigError, match="spill"):
        Client("key", persistence=f"sqlite:///{tmp_path}/queue.db", spill=spill)


@pytest.mark.parametrize("timeout", [0.0, 0.05])
def test_the_shortest_close_puts_into_the_file_what_redis_refuses(clients, tmp_path, monkeypatch, timeout):
    """The close is over before the turn that would have done so."""
    monkeypatch.setattr(_closing, "_STORE_BUDGET", PATIENCE)  # a busy machine may need more than its second
    for number in range(8):
        spill = f"sqlite:///{tmp_path}/{number}.db"
        client = clients(persistence=f"unix://{tmp_path}/nobody", spill=spill, flush_interval=3600.0)
        for _ in range(5):
            client.track("u1", "E")
        client.close(timeout=timeout)
        assert client.stats().lost == 0
        assert client.stats().spilled == 5
