"""``before_send``: the host's last word on each event."""

from __future__ import annotations

import asyncio
from collections import UserDict
from contextvars import copy_context
from decimal import Decimal
from types import SimpleNamespace

import pytest

from eventspool import Client, ConfigError, EventError
from eventspool._events import last_word
from eventspool.testing import capture_events


def sent(
    before_send,
    call=lambda client: client.track("u", "e", {"card": "4711", "total": Decimal("0.10")}),
    **options,
):
    """Return what *call* returned, the events that would be sent, and the client's counts."""
    with capture_events() as captured, Client("key", before_send=before_send, **options) as client:
        returned = call(client)
        return returned, list(captured), client.stats()


def test_it_sees_the_event_as_it_would_be_sent_and_what_it_returns_is_sent():
    seen = []

    def redact(event):
        seen.append({**event, "properties": dict(event["properties"])})
        del event["properties"]["card"]
        event["context"]["region"] = "eu"
        return event

    message_id, [event], _ = sent(redact)

    assert seen[0]["properties"] == {"card": "4711", "total": Decimal("0.10")}
    assert event["properties"] == {"total": 0.1}
    assert event["context"]["region"] == "eu"
    assert event["context"]["library"]["name"] == "eventspool"
    assert event["messageId"] == message_id == seen[0]["messageId"]


def test_numbers_stay_exact(monkeypatch):
    taken = []
    recorder = SimpleNamespace(take=lambda client, encoded: taken.append(encoded))
    monkeypatch.setattr("eventspool._events.methods.capture", recorder)
    numbers = {"total": Decimal("0.10"), "much": 10**400, "float": 0.1}
    with Client("key", before_send=lambda event: event) as client:
        client.track("u", "e", numbers)

    assert f'{{"total":0.10,"much":1{"0" * 400},"float":0.1}}'.encode() in taken[0]


def test_every_kind_of_event_comes_by():
    kinds = []

    def note(event):
        kinds.append(event["type"])
        return event

    def call(client):
        client.track("u", "e")
        client.identify("u")
        client.page("u")
        client.screen("u")
        client.group("u", "g")
        client.alias("old", "new")

    _, events, _ = sent(note, call)

    assert kinds == [event["type"] for event in events]
    assert kinds == ["track", "identify", "page", "screen", "group", "alias"]


def test_the_caller_s_objects_are_copies_to_it():
    properties = {"card": {"number": "4711"}}

    def redact(event):
        event["properties"]["card"].clear()
        return event

    _, [event], _ = sent(redact, lambda client: client.track("u", "e", properties))

    assert event["properties"] == {"card": {}}
    assert properties == {"card": {"number": "4711"}}


def test_none_drops_the_event_and_is_counted_as_such():
    told = []
    returned, events, stats = sent(
        lambda event: None,
        lambda client: client.track("u", "e", callback=lambda *args: told.append(args)),
        on_error=lambda *args: told.append(args),
        strict=True,
    )

    assert (returned, events, told) == (None, [], [])
    assert (stats.dropped, stats.refused, stats.discarded) == (1, {}, 0)


def raising(event):
    raise ValueError(event["properties"])


async def waiting(event):
    return event


WRONG = {
    "raises": raising,
    "returns text": lambda event: "event",
    "returns a list": lambda event: [event],
    "returns true": lambda event: True,
    "loses the type": lambda event: {k: v for k, v in event.items() if k != "type"},
    "makes up a type": lambda event: {**event, "type": "purchase"},
    "loses the name": lambda event: {**event, "event": None},
    "loses the ids": lambda event: {k: v for k, v in event.items() if k != "userId"},
    "empties the id": lambda event: {**event, "userId": "", "anonymousId": "a"},
    "loses the message id": lambda event: {**event, "messageId": ""},
    "loses the time": lambda event: {k: v for k, v in event.items() if k != "timestamp"},
    "exits": lambda event: event[0],
}


@pytest.mark.parametrize("before_send", WRONG.values(), ids=WRONG)
def test_whatever_is_no_event_refuses_it_so_that_nothing_goes_out_unseen(before_send, caplog):
    returned, events, stats = sent(before_send)

    assert (returned, events, stats.refused, stats.dropped) == (None, [], {"before_send": 1}, 0)
    assert "before_send" in caplog.text
    assert "4711" not in caplog.text


def test_what_cannot_be_encoded_or_is_too_large_is_refused_for_that_reason():
    reasons = {}
    for value in (object(), "x" * 40_000):
        _, events, stats = sent(lambda event, value=value: {**event, "extra": value})
        assert events == []
        reasons |= stats.refused

    assert reasons == {"unencodable": 1, "too_large": 1}


def test_a_strict_client_raises():
    with pytest.raises(EventError, match="before_send raised ValueError"):
        sent(raising, strict=True)


def test_an_event_that_it_tracks_itself_is_refused_and_none_is_asked_about_without_end():
    clients = []

    def tracking(event):
        clients[0].track("u", "inner")
        return event

    def call(client):
        clients.append(client)
        return client.track("u", "outer")

    _, events, stats = sent(tracking, call)

    assert [event["event"] for event in events] == ["outer"]
    assert stats.refused == {"before_send": 1}


def test_what_it_has_begun_may_track_afterwards():
    """A task or a timer has a copy of the context, in which the function was being asked when it was begun."""
    begun = []

    def begin(event):
        begun.append(copy_context())
        return event

    def call(client):
        return client.track("u", "e"), begun[0].run(client.track, "u", "later")

    returned, events, _ = sent(begin, call)

    assert None not in returned
    assert [event["event"] for event in events] == ["e", "later"]


def test_a_time_limit_right_before_it_is_asked_does_not_refuse_what_comes_later(monkeypatch):
    variable = last_word._question

    class Interrupting:
        get = variable.get

        def set(self, value):
            variable.set(value)
            monkeypatch.undo()
            raise SystemExit("time limit")

    with Client("key", before_send=lambda event: event, strict=True, enable=False) as client:
        monkeypatch.setattr(last_word, "_question", Interrupting())
        with pytest.raises(SystemExit):
            client.track("u", "e")
        assert client.track("u", "e")


def test_what_it_returns_gets_the_form_that_arguments_get():
    def change(event):
        return {**event, "userId": 42, "context": None, "properties": UserDict(total=1)}

    _, [event], _ = sent(change)

    assert event["userId"] == "42"
    assert event["context"] == {}
    assert event["properties"] == {"total": 1}


@pytest.mark.parametrize(
    "wrong", [{"properties": "x"}, {"context": [1]}, {"integrations": 1}, {"event": 7}, {"name": 1}]
)
def test_an_event_whose_fields_are_of_a_wrong_kind_is_refused(wrong):
    returned, events, stats = sent(lambda event: {**event, **wrong})

    assert (returned, events) == (None, [])
    assert stats.refused == {"before_send": 1}


def test_the_event_that_it_returns_is_not_changed():
    """It may be one that it returns each time."""
    mine = {
        "type": "track",
        "event": "e",
        "userId": 5,
        "timestamp": 1.0,
        "originalTimestamp": 1.0,
        "messageId": 7,
    }
    before = dict(mine)

    _, [event], _ = sent(lambda _: mine)

    assert event["messageId"] == "7"
    assert mine == before


def test_a_changed_message_id_is_the_one_that_is_returned():
    returned, [event], _ = sent(lambda event: {**event, "messageId": "order-17"})

    assert returned == event["messageId"] == "order-17"


@pytest.mark.parametrize("base", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_what_is_no_exception_comes_out_of_the_call(base):
    def interrupted(event):
        raise base

    with pytest.raises(base):
        sent(interrupted)


@pytest.mark.parametrize("wrong", ["text", 1, waiting])
def test_what_cannot_be_called_at_once_is_a_config_error(wrong):
    with pytest.raises(ConfigError, match="before_send must be"):
        Client("key", before_send=wrong)
