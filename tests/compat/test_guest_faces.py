"""No face harms its host, whatever the host's objects do."""

from __future__ import annotations

import subprocess
import sys

import pytest

import eventspool
from compat.programs_of_peers import MODULES, run_program
from eventspool._events.scope import identifying
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle
from eventspool.testing import capture_events


class Hostile:
    def __bool__(self):
        raise RuntimeError("payload-1")

    def __str__(self):
        raise RuntimeError("payload-2")

    __repr__ = __str__


class HostileStr(str):
    __slots__ = ()

    def __str__(self):
        raise RuntimeError("payload-3")


@pytest.mark.parametrize(
    "call",
    [
        lambda client, loop: client.track(HostileStr("user"), "Event", message_id=Hostile()),
        lambda client, loop: client.track("user", "Event", loop),
        lambda client, loop: client.track("user", "Event", {"a": {"b": loop}}),
        lambda client, loop: client.track("user", "Event", {"x": [0] * 5_000_000}),
        lambda client, loop: client.track("user", ""),
        lambda client, loop: client.track("user", "Event", {(1, 2): 3}),
        lambda client, loop: client.track(10**5000, "Event"),
    ],
    ids=["hostile id", "loop", "loop further down", "too many values", "no name", "key", "long number"],
)
def test_what_cannot_be_sent_is_refused_and_raises_nothing(client, caplog, call):
    loop = {}
    loop["loop"] = loop
    ok, message = call(client, loop)
    assert ok is False
    assert message["type"] == "track"
    assert sum(client.client.stats().refused.values()) == 1
    assert "refused an event" in caplog.text
    assert "payload" not in caplog.text


def test_an_object_that_is_neither_true_nor_false_is_no_id(client):
    with pytest.raises(
        AssertionError, match="user_id or anonymous_id must be a string or a number, not NoneType"
    ):
        client.track(Hostile(), "Event")
    with pytest.raises(AssertionError, match=r"^properties must be dict, not NoneType"):
        client.track("user", "Event", Hostile())


class Unasked:
    """Raises where it is asked for its class, which ``isinstance`` does."""

    def __getattribute__(self, name):
        raise RuntimeError("payload-4")


def test_an_object_that_raises_where_it_is_asked_for_its_class_is_of_a_wrong_kind(client):
    for wrong in ({"event": Unasked()}, {"event": "Event", "timestamp": Unasked()}):
        with pytest.raises(AssertionError, match=r"^(event|timestamp) must be (str|datetime), not Unasked$"):
            client.track("user", **wrong)
    with pytest.raises(AssertionError, match=r"^name must be str, not Unasked$"):
        client.page("user", name=Unasked())


def test_bytes_that_are_no_text_are_left_out(client, eventspool_dataplane, caplog, monkeypatch):
    monkeypatch.setattr("eventspool.compat._values._throttle", Throttle(Log("eventspool")))
    assert client.track("user", "Event", {"bad": b"\xff", "good": 1, "nan": float("nan")})[0] is True
    client.flush()
    assert eventspool_dataplane.events[0]["properties"] == {"good": 1, "nan": None}
    assert "left a value out of an event" in caplog.text


def test_an_interruption_of_the_host_comes_out_of_the_call(client):
    class Limit(BaseException):
        pass

    class Slow:
        def __str__(self):
            raise Limit

    with pytest.raises(Limit):
        client.track("user", "Event", message_id=Slow())


def test_events_of_a_face_can_be_captured(face):
    face.write_key, face.host = "key", "https://events.example.com"
    with capture_events() as captured:
        face.track("user", "Event", {"a": 1})
    captured.assert_tracked("Event", user_id="user", properties_contains={"a": 1})


def test_a_scope_gives_what_a_call_leaves_out(client, eventspool_dataplane):
    with eventspool.context(user_id="scoped", context={"ip": "1.2.3.4"}, properties={"tenant": "acme"}):
        assert client.track(event="Event", properties={"a": 1})[0] is True
    with pytest.raises(AssertionError, match="user_id or anonymous_id"):
        client.track(event="Event")
    client.flush()
    [event] = eventspool_dataplane.events
    assert (event["userId"], event["context"]["ip"]) == ("scoped", "1.2.3.4")
    assert event["properties"] == {"tenant": "acme", "a": 1}


def test_a_scope_that_gives_message_ids_gives_those_of_a_face(client, eventspool_dataplane):
    """So that a task of Celery's that runs once more repeats them."""
    said = []
    with identifying(lambda content: said.append(content) or f"id-{len(set(said))}"):
        results = [client.track("user", "Event", {"a": 1}) for _ in range(2)]
        results.append(client.track("user", "Event", {"a": 1}, message_id="mine"))
    client.flush()
    ids = [message["messageId"] for _, message in results]
    assert ids == ["id-1", "id-1", "mine"]
    assert [event["messageId"] for event in eventspool_dataplane.events] == ids


def test_what_before_send_drops_was_not_taken(face, eventspool_dataplane):
    client = face.Client("key", host=eventspool_dataplane.url, before_send=lambda event: None)
    assert client.track("user", "Event")[0] is False
    client.shutdown()
    assert eventspool_dataplane.stats().events == 0


def test_importing_a_face_starts_nothing_and_needs_no_package(tmp_path):
    code = """
import sys
before = set(sys.modules)
import eventspool.compat.segment, eventspool.compat.rudder, eventspool.compat.htevents
import eventspool.compat.segment.client, eventspool.compat.rudder.client, eventspool.compat.htevents.client
assert len(sys._current_frames()) == 1
heavy = {"asyncio", "http.client", "sqlite3", "ssl", "requests", "dateutil"} & set(sys.modules) - before
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=60)


@pytest.mark.parametrize("sdk", MODULES)
def test_a_forked_child_sends_through_the_client_of_its_parent(sdk):
    run = run_program(sys.executable, sdk, "forked", changes_import=True)

    assert sorted(event["event"] for event in run.events) == ["Child", "Parent", "Parent Again"]
