"""What an earlier process left in the queue is delivered without waiting for the first event, where that is wanted."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from e2e.harness import PATIENCE, eventually, run_python
from eventspool import Client

PROGRAM = Path(__file__).parent / "programs/beginning.py"


@pytest.fixture
def left(store, plane):
    """A queue in which a process has left one event, undelivered."""
    client = Client("key", data_plane_url="http://127.0.0.1:9", persistence=store.opts(), process=False)
    client.track("u1", "Left")
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    client.close(0.2)
    return store


def play(story, plane, store):
    """Play *story*, and return what it printed."""
    return run_python(PROGRAM, story, plane.url, plane.write_key, store.url, store.queue_name).stdout


def test_a_client_that_is_only_made_delivers_what_is_there(left, plane, clients):
    client = clients(persistence=left.opts())
    eventually(lambda: plane.stats().unique == 1, "the event that was left")
    assert client.stats().accepted == 0


def test_a_client_that_only_stores_delivers_nothing(left, plane, clients):
    client = clients(persistence=left.opts(), process=False)
    time.sleep(2.0)  # longer than another one takes to begin
    assert client._beginning.pipeline is None
    assert plane.stats().requests == 0


def test_a_client_that_was_dropped_unused_goes_at_once(left, plane):
    """Otherwise it would begin all the same, whenever the collector happens to come."""
    assert play("is_dropped", plane, left) == "None\n"


def test_a_command_that_only_makes_a_client_neither_claims_nor_ends_later(left, plane):
    plane.script({"hang": 10.0})
    assert float(play("only_makes_clients", plane, left)) < 5.0
    assert plane.stats().requests == 0
    assert left.leased_jobs() == 0


def test_of_a_master_that_forks_before_it_tracks_the_children_deliver(left, plane):
    """As gunicorn does with --preload. The master itself begins nothing."""
    assert play("forks_before_it_tracks", plane, left) == "[]\n"
    assert plane.stats().unique == 1
    assert left.leased_jobs() == 0


def test_a_master_that_has_begun_unasked_stands_down_when_it_forks(left, plane):
    """It had more than a second before it forked; its children work the queue, and it does no more."""
    plane.script("outage")
    play("stands_down", plane, left)
    assert left.stored_events() == 2


def test_one_that_has_begun_unasked_and_tracked_since_goes_on_when_it_forks(left, plane):
    plane.script("outage")
    play("goes_on", plane, left)
    assert left.stored_events() == 3
