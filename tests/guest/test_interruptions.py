"""
Events from signal handlers and destructors, which come at any point of any other call, also of one of ours.

The programs are in ``programs/interrupted.py``. What depends on where an alarm happens to fall is a hunt; what every commit
runs has the handler come at each line in turn.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from e2e.harness import Store, new_queue_name, run_python

PROGRAM = Path(__file__).parent / "programs/interrupted.py"


def play(story, plane, store="", **told):
    """Run *story*, which is *told* the rest, without coverage: a handler may interrupt who holds its lock."""
    words = json.dumps({"name": story, **told})
    args = [words, plane.url, plane.write_key, *([store] if store else [])]
    return run_python(PROGRAM, *args, timeout=200.0, measured=False)


def count(story, plane, store="", **told):
    """Play *story*; fail unless its counts balance. Return them."""
    result = play(story, plane, store, **told)
    assert [line for line in result.stderr.splitlines() if not line.startswith("refused an event (")] == []
    counts = json.loads(result.stdout)
    # A call that could not wait for storage has returned None.
    returned = counts["accepted"] + counts["unconfirmed"]
    assert returned == counts["counted"] == counts["delivered"] == plane.stats().events
    assert counts["refused"] == counts["counted_refused"] + counts["unconfirmed"]
    return counts


@pytest.fixture
def sqlite(tmp_path):
    return Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name())


def test_a_handler_that_interrupts_event_methods(plane):
    """Accepted and refused events, each counted, at each line of another."""
    assert count("event_methods", plane)["reasons"] == ["invalid"]


def test_a_handler_that_interrupts_the_first_event_of_a_program(plane):
    """It comes before each import: its event is refused by name, and it raises nothing."""
    assert {"invalid", "starting"} <= set(count("the_first_event_of_a_program", plane)["reasons"])


def test_a_handler_that_interrupts_the_first_event_of_a_client(plane):
    """It comes at each line: its event is taken, or refused by name, and it raises nothing."""
    assert set(count("the_first_event", plane)["reasons"]) <= {"invalid", "starting", "closed"}


@pytest.mark.parametrize("when", ["a_persisted_event", "a_persisted_event_that_waits"])
def test_a_handler_that_interrupts_a_persisted_event(plane, sqlite, when):
    """Both wait for the same flusher, and neither for the other."""
    count(when, plane, sqlite.url)


@pytest.mark.hunt
@pytest.mark.alone
@pytest.mark.parametrize("what", ["event_methods", "the_first_event", "a_persisted_event"])
def test_a_handler_that_interrupts_wherever_an_alarm_falls(plane, sqlite, what):
    """Thousands of times, also amid itself."""
    count(f"{what}_by_alarms", plane, sqlite.url if what == "a_persisted_event" else "")


def test_a_first_call_that_is_interrupted_keeps_its_client(plane):
    """Its threads run by then, so the exit has to close it, although the program has dropped it."""
    play("a_first_call_that_drops_its_client", plane)


@pytest.mark.rotating
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
@pytest.mark.parametrize("closer", ["the next close", "another thread's", "the exit"])
def test_a_close_that_was_interrupted_is_done_by_the_next_one(plane, tmp_path, shared_redis, kind, closer):
    """Ctrl-C during a close: leases are given back, and nothing goes on working the queue."""
    url = shared_redis.url if kind == "redis" else f"sqlite:///{tmp_path}/queue.db"
    store = Store(kind, url, new_queue_name())
    opts = store.opts(is_multi_processor=True, job_opts={"visibility_timeout": 60.0})
    plane.script({"hang": 10.0})
    play("a_close", plane, opts=opts, next=closer)
    assert store.stored_events() == 1
    assert store.leased_jobs() == 0


def test_a_close_that_was_interrupted_while_it_stores_is_hurried_by_the_exit(plane, tmp_path):
    """It had a minute, and the exit has seconds; what is lost is said."""
    began = time.monotonic()
    result = play("a_close_while_it_stores", plane, f"unix://{tmp_path}/nobody")
    assert time.monotonic() - began < 45.0
    assert "3 events are lost" in result.stderr


@pytest.mark.parametrize("until", ["delivered", "persisted"])
def test_a_flush_that_was_interrupted_waits_no_longer(plane, tmp_path, until):
    """Its waiter would have the queue asked four times a second, for ever."""
    plane.script({"hang": 10.0})
    play("a_flush", plane, f"unix://{tmp_path}/nobody", until=until)


@pytest.mark.parametrize("does", ["close", "flush"])
@pytest.mark.parametrize("place", ["flusher", "processor"])
def test_a_destructor_that_closes_or_flushes_on_one_of_our_threads_does_not_wait_for_it(plane, place, does):
    """The host's object is collected in the midst of a batch, or of an outcome; all events arrive nevertheless."""
    count("a_destructor_that_waits", plane, place=place, does=does)


def test_destructors_that_track_during_garbage_collection(plane):
    """On whatever thread the collector happens to run, ours included."""
    assert count("destructors_that_track", plane)["accepted"] > 10_000


def test_a_destructor_on_the_storing_thread_does_not_wait_for_that_thread(plane, sqlite):
    """With durability="persisted" such a call cannot confirm anything; the event is stored all the same."""
    play("a_destructor_on_the_storing_thread", plane, sqlite.url)


def test_a_handler_that_interrupts_a_line_of_ours_disturbs_no_stream(plane):
    """Python's streams bear no second write on the same thread; the second line is written all the same."""
    assert play("a_line_of_ours", plane).stderr == ""
