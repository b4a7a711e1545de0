"""What goes wrong is heard: on the standard error where nobody has set up logging, and in the result of a flush."""

from __future__ import annotations

import re

import pytest

from e2e.harness import PATIENCE, eventually, run_python
from eventspool._guest.log import drain_log

PROGRAM = """
import sys, time
import eventspool
client = eventspool.Client(sys.argv[2], data_plane_url=sys.argv[1], flush_interval=0.02)
"""


def test_a_refused_key_a_refused_event_and_a_lost_one_are_on_the_standard_error(plane):
    code = f"""{PROGRAM}
client.track("u1", "E", {{"secret": "payload-1"}})
assert client.track("u1", "E", {{"bad": object()}}) is None
client.flush(timeout=2)
client.close(0.2)
"""
    said = run_python(code, plane.url, "not-the-key").stderr
    assert "check the write key" in said
    assert "answered 401" in said
    assert "refused an event (unencodable)" in said
    assert "1 events are lost" in said
    assert "payload-1" not in said
    assert "not-the-key" not in said


def test_what_the_end_of_the_process_loses_is_on_the_standard_error(tmp_path):
    """The last lines are written before the interpreter goes down."""
    code = """
import eventspool
client = eventspool.Client("key", persistence="unix:///%s/nobody", timeout=0.5)
for _ in range(7): client.track("u1", "E")
"""
    said = run_python(code % tmp_path).stderr
    assert "7 events are lost" in said


def test_the_first_failed_attempt_is_told_at_once_with_host_and_cause(plane, clients, caplog):
    """One line, before the breaker opens, and not a second one for the next failures."""
    plane.script({"status": 503})
    client = clients()
    client.track("u1", "E")
    eventually(lambda: "a delivery failed" in caplog.text, "a line about the first attempt")
    told = [record.message for record in caplog.records if "failed" in record.message]
    assert len(told) == 1
    assert re.search(r"127\.0\.0\.1:\d+.*503", told[0]), told
    assert plane.stats().requests < 5, "the breaker has not opened yet"


def test_events_that_are_given_up_are_told_by_reason_and_without_what_was_said_of_them(
    plane, clients, caplog
):
    plane.script({"reject": "events", "event": "Bad"})
    client = clients(flush_at=10_000, flush_interval=60.0)
    for name in ("Bad", "Good", "Bad"):
        client.track("u1", name)
    assert client.flush(timeout=PATIENCE).failed == 2
    eventually(lambda: "2 events were given up (rejected), in 1 batch" in caplog.text)


def test_a_callback_that_always_raises_is_not_logged_for_each_event(plane, clients, caplog):
    client = clients(flush_at=10_000, flush_interval=60.0)
    for _ in range(200):
        client.track("u1", "E", callback=lambda *_: 1 / 0)
    client.flush(timeout=PATIENCE)
    client.close()
    drain_log(PATIENCE)
    assert caplog.text.count("a callback raised ZeroDivisionError") == 1


def flush_until_it_says_why(client):
    """Return the result of a flush that knows what is in the way: the first may be over before anything has failed."""

    def flush():
        result = client.flush(timeout=0.5)
        return result if result.reason else None

    return eventually(flush, "a flush says why")


# -- the reason that a flush gives -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 500])
def test_a_flush_says_what_the_data_plane_answered(plane, clients, status):
    plane.script({"status": status})
    client = clients()
    client.track("u1", "E")
    result = flush_until_it_says_why(client)
    assert result.pending == 1
    assert f"answered {status}" in result.reason


def test_a_flush_says_that_the_queue_cannot_be_reached(clients, tmp_path):
    client = clients(persistence=f"unix://{tmp_path}/nobody")
    client.track("u1", "E")
    result = flush_until_it_says_why(client)
    assert result.pending == 1
    assert "cannot be reached" in result.reason


def test_a_flush_says_that_another_process_holds_the_queue(clients, plane, store):
    """In order, one processor works at a time."""
    plane.script({"hang": 300.0})
    holder = clients(persistence=store.opts(), timeout=200.0)
    holder.track("u1", "E")
    eventually(lambda: holder.stats().in_flight)
    client = clients(persistence=store.opts())
    client.track("u1", "E")
    result = flush_until_it_says_why(client)
    assert (result.pending, result.reason) == (1, "another process holds the queue")


def test_a_flush_says_that_an_operator_has_paused_the_queue(clients, store):
    client = clients(persistence=store.opts(is_multi_processor=True))
    with store.open() as queue:
        queue.pause()
        client.track("u1", "E")
        result = flush_until_it_says_why(client)
        assert (result.pending, result.reason) == (1, "an operator has paused the queue")
        queue.resume()
    assert client.flush(timeout=PATIENCE).reason == ""


def test_a_flush_says_that_this_client_only_stores(clients, store):
    client = clients(persistence=store.opts(), process=False)
    client.track("u1", "E")
    result = flush_until_it_says_why(client)
    assert result.pending == 1
    assert "process=False" in result.reason


def test_a_flush_says_why_events_were_given_up(clients, plane):
    plane.script({"status": 404})
    client = clients()
    client.track("u1", "E")
    result = client.flush(timeout=PATIENCE)
    assert result.failed == 1
    assert "404" in result.reason


def test_a_flush_that_all_went_well_has_nothing_to_say(clients):
    client = clients()
    client.track("u1", "E")
    assert client.flush(timeout=PATIENCE).reason == ""
