"""What an earlier process left in the queue is delivered without waiting for the first event, where that is wanted."""

from __future__ import annotations

import textwrap
import time

import pytest

from e2e.harness import PATIENCE, eventually, run_python
from eventspool import Client

BEGINS_WITHIN = 2.0


@pytest.fixture
def left(store, plane):
    """A queue in which a process has left one event, undelivered."""
    client = Client("key", data_plane_url="http://127.0.0.1:9", persistence=store.opts(), process=False)
    client.track("u1", "Left")
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    client.close(0.2)
    return store


def test_a_client_that_is_only_made_delivers_what_is_there(left, plane, clients):
    client = clients(persistence=left.opts())
    began = time.monotonic()
    eventually(lambda: plane.stats().unique == 1, "the event that was left")
    assert time.monotonic() - began < BEGINS_WITHIN + 2.0  # the machine may be busy
    assert client.stats().accepted == 0


def test_a_client_that_only_stores_delivers_nothing(left, plane, clients):
    client = clients(persistence=left.opts(), process=False)
    time.sleep(BEGINS_WITHIN)
    assert client._beginning.pipeline is None
    assert plane.stats().requests == 0


def test_a_client_that_was_dropped_unused_goes_at_once(left):
    """Otherwise it would begin all the same, whenever the collector happens to come."""
    program = """
    import sys, weakref
    from eventspool import Client
    client = Client("key", persistence={"url": sys.argv[1], "queue_name": sys.argv[2]})
    known = weakref.ref(client)
    del client
    print(known())
    """
    assert run_python(textwrap.dedent(program), left.url, left.queue_name).stdout == "None\n"


PROGRAM = """
import os, sys, threading, time
import eventspool
url, key, queue, name = sys.argv[1:5]
def new_client():
    return eventspool.Client(key, data_plane_url=url, persistence={"url": queue, "queue_name": name})
"""


BEGUN_UNASKED = """
import warnings; warnings.simplefilter('ignore', DeprecationWarning)  # of forks beside threads
client = new_client()
names = lambda: [t.name for t in threading.enumerate()]
while "eventspool-processor" not in names(): time.sleep(0.01)
"""


def run(code, plane, store):
    began = time.monotonic()
    result = run_python(PROGRAM + code, plane.url, plane.write_key, store.url, store.queue_name)
    return result, time.monotonic() - began


def test_a_command_that_only_makes_a_client_neither_claims_nor_ends_later(left, plane):
    """Where it takes a second the machine was busy: then it is tried again."""
    plane.script({"hang": 10.0})
    code = """
new_client()
began = time.monotonic()
clients = [new_client(), new_client()]
import atexit, eventspool._guest.lifecycle
before = time.monotonic()
atexit.unregister(eventspool._guest.lifecycle._exit)
atexit.register(lambda: print(time.monotonic() - began, time.monotonic() - before))
atexit.register(eventspool._guest.lifecycle._exit)
"""
    for _ in range(10):
        took, took_to_end = map(float, run(code, plane, left)[0].stdout.split())
        if took - took_to_end < 0.8:
            break
    assert took_to_end < 1.0
    assert plane.stats().requests == 0
    assert left.leased_jobs() == 0


def test_of_a_master_that_forks_before_it_tracks_the_children_deliver(left, plane):
    """As gunicorn does with --preload. Also where the master had begun by then: it gives back what it holds."""
    code = """
client = new_client()
time.sleep(float(%r))
children = []
for _ in range(2):
    pid = os.fork()
    if not pid:
        time.sleep(4)
        os._exit(0)
    children.append(pid)
time.sleep(2.5)
print([t.name for t in threading.enumerate() if t.name in ("eventspool-processor", "eventspool-flusher")])
for pid in children: os.waitpid(pid, 0)
"""
    result, _ = run(
        "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n" + code % 0.0, plane, left
    )
    assert result.stdout == "[]\n"
    assert plane.stats().unique == 1
    assert left.leased_jobs() == 0


def test_a_master_that_has_begun_unasked_stands_down_when_it_forks(left, plane):
    """It had more than a second before it forked; its children work the queue, and it does no more."""
    plane.script("outage")
    code = """
if not os.fork():
    time.sleep(3)
    os._exit(0)
deadline = time.monotonic() + 20
while names := [t.name for t in threading.enumerate() if t.name in ("eventspool-processor", "eventspool-flusher")]:
    assert time.monotonic() < deadline, names
    time.sleep(0.05)
assert client.track("u1", "Asked") is not None
assert client.flush(until="persisted", timeout=10).pending == 0
os.wait()
"""
    run(BEGUN_UNASKED + code, plane, left)
    assert left.stored_events() == 2


def test_one_that_has_begun_unasked_and_tracked_since_goes_on_when_it_forks(left, plane):
    plane.script("outage")
    code = """
client.track("u1", "Asked", callback=lambda *_: None)
client.track("u1", "Asked")
if not os.fork():
    os._exit(0)
os.wait()
time.sleep(0.5)
assert client.stats().accepted == 2
assert "eventspool-processor" in names()
"""
    run(BEGUN_UNASKED + code, plane, left)
    assert left.stored_events() == 3
