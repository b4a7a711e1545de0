"""The end of a process stores everybody's events before it delivers anybody's, and says what is lost."""

from __future__ import annotations

import threading
import time

import pytest

from e2e.harness import PATIENCE, Calls, eventually, run_python
from eventspool import Client, _closing, open_queue
from eventspool._closing import Closing

CLIENTS = 5
EVENTS = 12

PROGRAM = f"""
import os, signal, sys, time
import eventspool
url, key, folder, ending = sys.argv[1:5]
clients = [eventspool.Client(key, data_plane_url=url, persistence=f"sqlite:///{{folder}}/{{i}}.db", handle_sigterm=True)
           for i in range({CLIENTS})]
for client in clients:
    for _ in range({EVENTS}): client.track("u1", "E")
if ending == "SIGTERM":
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
"""


def stored_in(path):
    with open_queue(f"sqlite:///{path}") as queue:
        stats = queue.stats()
    return stats.waiting.events + stats.delayed.events + stats.leased.events, stats.leased.jobs


@pytest.mark.parametrize("ending", ["exit", "SIGTERM"])
def test_every_client_stores_before_any_waits_for_a_data_plane_that_hangs(plane, tmp_path, ending):
    plane.script({"hang": 60.0})
    began = time.monotonic()
    run_python(PROGRAM, plane.url, plane.write_key, str(tmp_path), ending, check=False)
    assert [stored_in(tmp_path / f"{i}.db") for i in range(CLIENTS)] == [(EVENTS, 0)] * CLIENTS
    assert time.monotonic() - began < 20.0


@pytest.mark.parametrize("timeout", [0.0, 0.001, 0.1])
def test_the_shortest_close_stores_where_the_queue_takes_it(plane, store, monkeypatch, timeout):
    monkeypatch.setattr(_closing, "_STORE_BUDGET", PATIENCE)  # a busy machine may need more than its second
    plane.script({"hang": 60.0})
    client = Client(plane.write_key, data_plane_url=plane.url, persistence=store.opts(), flush_interval=60.0)
    for _ in range(EVENTS):
        client.track("u1", "E")
    began = time.monotonic()
    client.close(timeout)
    assert time.monotonic() - began < 15.0
    assert (client.stats().lost, store.stored_events()) == (0, EVENTS)


def test_a_short_close_gives_up_when_the_queue_has_refused(plane, tmp_path):
    """It does not use up the second that it might."""
    client = Client(plane.write_key, data_plane_url=plane.url, persistence=f"unix://{tmp_path}/nobody")
    client.track("u1", "E")
    began = time.monotonic()
    client.close(0.05)
    assert time.monotonic() - began < 15.0
    assert client.stats().lost == 1


def test_a_close_that_another_thread_does_and_is_late_with_is_waited_for(plane, tmp_path, monkeypatch):
    """It says what is lost after its deadline; an exit that waits for it no longer than that would end it before."""
    client = Client(plane.write_key, data_plane_url=plane.url, persistence=f"unix://{tmp_path}/nobody")
    client.track("u1", "E")
    leaving, give_back = threading.Event(), Closing.give_back

    def give_back_late(closing):
        leaving.set()
        time.sleep(0.5)
        give_back(closing)

    monkeypatch.setattr(Closing, "give_back", give_back_late)
    first = threading.Thread(target=client.close, args=(0.0,))
    first.start()
    assert leaving.wait(PATIENCE)
    client.close(0.0)
    assert client.stats().lost == 1
    first.join(PATIENCE)


@pytest.mark.parametrize("kind", ["unix://{}/nobody", "redis://127.0.0.1:9/0"])
def test_a_durable_call_whose_event_is_lost_by_a_close_returns_no_id(plane, tmp_path, kind):
    client = Client(
        plane.write_key,
        data_plane_url=plane.url,
        persistence=kind.format(tmp_path),
        durability="persisted",
        timeout=PATIENCE,
    )
    returned = Calls()
    threads = [threading.Thread(target=lambda: returned(client.track("u1", "E"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually(lambda: client.stats().accepted == 3)
    client.close(0.2)
    assert returned.await_calls(3) == [(None,)] * 3
    assert client.stats().lost == 3
    for thread in threads:
        thread.join(PATIENCE)


def test_a_durable_call_is_acknowledged_by_the_commit_of_its_own_event(plane, store):
    """And not kept waiting by an event that came after it."""
    client = Client(
        plane.write_key, data_plane_url=plane.url, persistence=store.opts(), durability="persisted"
    )
    assert client.track("u1", "First")
    backend = client._beginning.pipeline.backend
    stop, ids = threading.Event(), []

    def go_on():
        while not stop.is_set():
            ids.append(client.track("u2", "E"))

    threads = [threading.Thread(target=go_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    mine = [client.track("u1", "Mine") for _ in range(20)]
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert all(mine)
    assert all(ids)
    assert backend is client._beginning.pipeline.backend
    client.close(PATIENCE)
    assert plane.stats().unique == 1 + 20 + len(ids)


CLOSES_IN_A_CALLBACK = """
import eventspool, sys, threading, time
fired = []
client = eventspool.Client("key", data_plane_url="http://127.0.0.1:9", flush_interval=60.0)
def told(error, message_id):
    time.sleep(0.02)
    fired.append(message_id)
ids = [client.track("u1", "E", callback=told) for _ in range(15)]
closed = threading.Event()
def close(error, result):
    client.close(0.3)
    closed.set()
client.flush(close, timeout=0.05)
closed.wait(60)
%s
import atexit
atexit.register(lambda: print(sorted(fired) == sorted(ids)))
"""


@pytest.mark.parametrize("again", ["client.close(10)", ""], ids=["closed again", "left to the exit"])
def test_callbacks_fire_once_also_when_one_of_them_closes(again):
    """Whoever closes next, at last the exit, waits for what is owed."""
    code = CLOSES_IN_A_CALLBACK % again
    if not again:  # our exit handler runs after those that were registered later
        code = code.replace(
            "import atexit\natexit.register(lambda: print",
            "import atexit, eventspool._guest.lifecycle\n"
            "atexit.unregister(eventspool._guest.lifecycle._exit)\natexit.register(lambda: print",
        )
        code += "\natexit.register(eventspool._guest.lifecycle._exit)\n"
    assert run_python(code).stdout == "True\n"
