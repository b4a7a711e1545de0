"""
Durable calls: those who wait at the same time share one commit, and each returns with the commit that stored its event.

A gate before the queue says which commit is under way, and lets it go on. What is behind it is the real queue.
"""

from __future__ import annotations

import queue
import signal
import threading
import time

import pytest

from e2e.forking import assert_once, run
from e2e.harness import PATIENCE, assert_delivered, eventually
from eventspool._delivery import dispatcher
from eventspool._envelope import open_envelope


class Gate:
    """Holds up the commits of a client's queue, until each is let go."""

    def __init__(self, client):
        backend = client._beginning.ready.engine.backend
        self._commit, backend.commit = backend.commit, self._hold
        self._waiting, self._may_go = queue.SimpleQueue(), queue.SimpleQueue()
        self.is_open = False

    def _hold(self, jobs):
        if not self.is_open:
            self._waiting.put([event for job in jobs for event in open_envelope(job.payload).split()])
            self._may_go.get(timeout=PATIENCE)
        return self._commit(jobs)

    def await_commit(self):
        """Return the events of the next commit, which waits."""
        return self._waiting.get(timeout=PATIENCE)

    def let_go(self):
        """Let the commit that waits go on."""
        self._may_go.put(None)

    def open(self):
        """Hold up no commit any more."""
        self.is_open = True
        self.let_go()


class Caller(threading.Thread):
    """A thread that makes one durable call."""

    def __init__(self, client, user):
        super().__init__(daemon=True)
        self._call = lambda: client.track(user, "E")
        self.message_id = ""
        self.start()

    def run(self):
        self.message_id = self._call()

    @property
    def has_returned(self):
        """The call has."""
        self.join(0.0)
        return not self.is_alive()


@pytest.fixture
def client(clients, store):
    """A client that has stored one event, and delivers none."""
    client = clients(
        persistence=store.opts(is_multi_processor=True),
        process=False,
        durability="persisted",
        timeout=PATIENCE,
    )
    assert client.track("first", "E")
    return client


def test_calls_that_wait_at_the_same_time_share_the_next_commit(client, store):
    gate = Gate(client)
    callers = [Caller(client, "alone")]
    assert len(gate.await_commit()) == 1, "it waits for no company"
    callers += [Caller(client, f"u{number}") for number in range(12)]
    eventually(lambda: client.stats().buffered == 13, "all of them wait")
    gate.let_go()
    assert len(gate.await_commit()) == 12, "all that came during the first one"
    gate.open()
    for caller in callers:
        caller.join(PATIENCE)
    assert len({caller.message_id for caller in callers} - {None, ""}) == 13
    assert store.stored_events() == 14
    with store.open() as look:
        stored = [
            event["messageId"] for job in look.jobs("waiting", limit=100) for event in look.events(job.id)
        ]
    assert {caller.message_id for caller in callers} < set(stored), "each of them, and once"
    assert len(stored) == 14


def test_a_call_returns_with_its_own_commit_while_the_commits_of_others_go_on(client, store):
    gate = Gate(client)
    for number in range(5):
        caller = Caller(client, f"u{number}")
        [event] = gate.await_commit()
        assert b'"E"' in event
        other = Caller(client, "other")
        eventually(lambda: client.stats().buffered == 2, "its event waits for the next commit")
        assert not caller.has_returned
        gate.let_go()
        gate.await_commit()
        caller.join(PATIENCE)  # while the next commit is held up
        assert caller.message_id
        assert not other.has_returned, "its event is not stored"
        gate.let_go()
        other.join(PATIENCE)
        assert other.message_id
    assert store.stored_events() == 11
    gate.open()


def test_an_exception_of_the_hosts_amid_the_wait_comes_out_and_leaves_nothing_behind(client, store):
    class TimeLimit(BaseException):
        pass

    def stop(*_):
        raise TimeLimit

    gate, main = Gate(client), threading.main_thread()
    ledger = client._beginning.ready.ledger
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        for number in range(20):

            def interrupt():
                gate.await_commit()  # so its event has left the buffer, and the call waits for the reply
                signal.pthread_kill(main.ident, signal.SIGUSR1)

            interrupter = threading.Thread(target=interrupt, daemon=True)
            interrupter.start()
            with pytest.raises(TimeLimit):
                client.track(f"u{number}", "E")
            interrupter.join(PATIENCE)
            gate.let_go()
            eventually(
                lambda stored=number + 2: client.stats().persisted == stored, "it is stored all the same"
            )
            assert ledger._watchers._stored_calls == {}
            client._returned.add("id")  # for the count of calls after each test: this one returned nothing
    finally:
        signal.signal(signal.SIGUSR1, before)
    gate.open()
    assert client.track("last", "E")
    assert store.stored_events() == 22
    assert client.stats().unconfirmed == 0


def test_a_call_that_gives_up_returns_none_and_its_event_is_stored_with_those_that_wait(clients, store):
    client = clients(
        persistence=store.opts(is_multi_processor=True), process=False, durability="persisted", timeout=0.5
    )
    client.track("first", "E")  # a busy machine may take longer to store it
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    before = client.stats().unconfirmed
    gate = Gate(client)
    assert client.track("held up", "E") is None
    assert client.track("behind it", "E") is None
    gate.await_commit()
    gate.open()
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    assert store.stored_events() == 3
    assert client.stats().unconfirmed - before == 2


def test_several_clients_store_their_own(clients, store):
    """Each has a flusher of its own, and none waits for another one's commit."""
    several = [
        clients(
            persistence=store.opts(is_multi_processor=True),
            process=False,
            durability="persisted",
            timeout=PATIENCE,
        )
        for _ in range(3)
    ]
    for client in several:
        assert client.track("first", "E")
    gate = Gate(several[0])
    held_up = Caller(several[0], "held up")
    gate.await_commit()
    callers = [Caller(client, f"u{number}") for client in several[1:] for number in range(8)]
    for caller in callers:
        caller.join(PATIENCE)
    assert None not in {caller.message_id for caller in callers}
    assert not held_up.has_returned
    gate.open()
    held_up.join(PATIENCE)
    assert held_up.message_id
    assert store.stored_events() == 3 + 16 + 1


def test_many_durable_calls_of_a_process_that_delivers_arrive_once_and_in_the_order_of_each_thread(
    clients, plane, store
):
    client = clients(persistence=store.opts(), durability="persisted", timeout=PATIENCE)
    accepted = {user: [] for user in "abcd"}

    def work(user):
        accepted[user] += [client.track(user, "E", {"n": number}) for number in range(100)]

    threads = [threading.Thread(target=work, args=(user,)) for user in accepted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert_delivered(client, 400)
    arrived = plane.unique_ids()
    assert len(arrived) == 400
    for ids in accepted.values():
        assert [message_id for message_id in arrived if message_id in set(ids)] == ids


def test_no_durable_call_is_left_behind_in_the_pause_between_two_claims(clients, store, monkeypatch):
    """No wake-up is heard in that pause. Here nothing else would have the processor look again."""
    monkeypatch.setattr(dispatcher, "_LONGEST_IDLE", 10 * PATIENCE)
    client = clients(persistence=store.opts(), durability="persisted", timeout=PATIENCE)
    assert client.track("u", "E")
    client._beginning.ready.processor.exchange.rouse = lambda: None
    accepted = 1
    for number in range(150):
        for _ in range(1 + number % 3):
            assert client.track("u", "E")
            accepted += 1
        eventually(lambda most=accepted: client.stats().delivered == most, f"round {number}")


def test_a_flush_waits_for_no_pause_between_two_claims(clients, store, monkeypatch):
    monkeypatch.setattr(dispatcher, "_DURABLE_PACE", 10 * PATIENCE)
    client = clients(persistence=store.opts(), durability="persisted", timeout=PATIENCE)
    for number in range(1, 20):
        assert client.track("u", "E")
        assert client.track("u", "E")
        assert client.flush(timeout=PATIENCE).pending == 0, f"round {number}"
    assert_delivered(client, 38)


def test_what_durable_calls_store_is_claimed_in_groups(clients, store):
    client = clients(persistence=store.opts(), durability="persisted", timeout=PATIENCE)
    assert client.track("u", "E")
    backend = client._beginning.ready.engine.backend
    claims, claim = [], backend.claim

    def note(*args, **kwargs):
        claims.append(claim(*args, **kwargs))
        return claims[-1]

    backend.claim = note
    began = time.monotonic()
    for _ in range(300):
        assert client.track("u", "E")
    most = (time.monotonic() - began) / dispatcher._DURABLE_PACE
    # A claim that finds nothing is followed at once by the next when a job comes, and so is one that brings a backlog.
    backlogs = sum(len(each.jobs) >= 8 for each in claims)
    assert len(claims) - backlogs <= 2 * most + 10
    assert_delivered(client, 301)


def test_a_fork_amid_the_wait_leaves_the_event_to_the_parent(plane, store):
    """A signal handler forks on the very thread that waits."""
    parents, children = run("amid_a_durable_call", [plane.url, plane.write_key, store.url, store.queue_name])
    assert (len(parents), len(children)) == (3, 1)
    assert_once(plane, parents + children)
