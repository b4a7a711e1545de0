"""What tests assert of captured events, what the messages say, and what a captured client answers."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType
from unittest import mock

import pytest

import eventspool
from eventspool import AsyncClient, Client, ConfigError, FlushResult, _default
from eventspool._events import methods
from eventspool.testing import Capture, capture_events
from lasting_threads import lasting_threads


@pytest.fixture
def client():
    with Client("WRITE_KEY", data_plane_url="http://127.0.0.1:9") as client:
        yield client


def message_of(assertion, *args, **wanted):
    with pytest.raises(AssertionError) as caught:
        assertion(*args, **wanted)
    return str(caught.value)


# -- assertions --------------------------------------------------------------------------------------------------------


def test_each_kind_of_event_has_its_assertion_and_they_have_one_shape(client, eventspool_capture):
    client.track("u1", "Order", {"total": 10}, {"ip": "1.2.3.4"})
    client.identify("u1", {"plan": "pro"})
    client.group("u1", "g1", {"seats": 5})
    client.page("u1", "Docs", "Home", {"path": "/"})
    client.screen("u1", "App", "Start", {"first": True})
    client.alias("a1", "u1")
    capture = eventspool_capture

    found = [
        capture.assert_tracked(
            "Order", properties_contains={"total": 10}, context_contains={"ip": "1.2.3.4"}
        ),
        capture.assert_identified("u1", traits_contains={"plan": "pro"}),
        capture.assert_grouped("g1", user_id="u1", traits_contains={"seats": 5}),
        capture.assert_paged("Home", category="Docs", user_id="u1", properties_contains={"path": "/"}),
        capture.assert_screened("Start", category="App", properties_contains={"first": True}),
        capture.assert_aliased("a1", "u1"),
    ]
    assert found == list(capture)


def test_what_is_not_given_may_be_anything(client, eventspool_capture):
    client.identify(None, anonymous_id="a1")
    client.group("u1", "g1")
    client.page("u1")

    assert eventspool_capture.assert_identified(anonymous_id="a1") is eventspool_capture[0]
    assert eventspool_capture.assert_grouped() is eventspool_capture[1]
    assert eventspool_capture.assert_paged() is eventspool_capture[2]


def test_values_are_compared_as_they_were_given_or_as_they_are_sent(client, eventspool_capture):
    at = datetime(2026, 11, 23, 17, 26, tzinfo=UTC)
    client.track(42, "Order", {"total": Decimal("9.99"), "at": at, "tags": {"b", "a"}, "id": "random"})
    sent = {"total": 9.99, "at": "2026-11-23T17:26:00.000Z", "tags": ["a", "b"], "id": mock.ANY}

    for total in (Decimal("9.99"), 9.99):
        eventspool_capture.assert_tracked("Order", user_id=42, properties_contains={"total": total})
    eventspool_capture.assert_tracked("Order", properties_contains={"at": at, "tags": {"a", "b"}})
    eventspool_capture.assert_tracked("Order", user_id="42", properties_contains=sent)
    eventspool_capture.assert_tracked("Order", properties_contains={"total": pytest.approx(10, abs=0.1)})
    message_of(eventspool_capture.assert_tracked, "Order", properties_contains={"total": Decimal("9.98")})


@pytest.mark.parametrize(
    ("assertion", "wanted", "message"),
    [
        ("identified", {"user_id": "u9"}, "'u9' was not identified; identified: 'u1'"),
        (
            "identified",
            {"user_id": "u1", "traits_contains": {"plan": "free"}},
            "'u1' was identified, but in the closest one traits.plan is 'pro', not 'free'",
        ),
        (
            "identified",
            {"traits_contains": {"plan": "free"}},
            "nothing identified is what was asked for: in the closest one traits.plan is 'pro', not 'free'",
        ),
        ("grouped", {"group_id": "g2"}, "'g2' was not grouped; grouped: 'g1'"),
        (
            "grouped",
            {"group_id": "g1", "user_id": "u2"},
            "'g1' was grouped, but in the closest one userId is 'u1', not 'u2'",
        ),
        ("paged", {"name": "Hom"}, "'Hom' was not paged; paged: 'Home', None"),
        (
            "paged",
            {"name": "Home", "category": "Blog"},
            "'Home' was paged, but in the closest one category is 'Docs', not 'Blog'",
        ),
        ("screened", {"name": "Start"}, "'Start' was not screened; screened: nothing"),
        ("screened", {}, "nothing was screened; screened: nothing"),
        ("aliased", {"previous_id": "a2"}, "'a2' was not aliased; aliased: 'a1'"),
        (
            "aliased",
            {"user_id": "u2"},
            "nothing aliased is what was asked for: in the closest one userId is 'u1', not 'u2'",
        ),
    ],
)
def test_a_message_says_what_came_closest(client, eventspool_capture, assertion, wanted, message):
    client.identify("u1", {"plan": "pro"})
    client.group("u1", "g1", {"plan": "free"})
    client.page("u1", "Docs", "Home")
    client.page("u1", "Docs")
    client.alias("a1", "u1")

    assert message_of(getattr(eventspool_capture, f"assert_{assertion}"), **wanted) == message


def test_a_message_shows_what_differs_and_nothing_else(client, eventspool_capture):
    client.track("u1", "Order", {"card": "4111", "to": {"city": "Ulm", "street": "secret"}, "items": [1, 2]})
    client.track("u1", "Order", {"card": "4111", "text": "x" * 10_000, "n": 1})
    fails = eventspool_capture.assert_tracked

    wanted = {"to": {"city": "Bonn", "street": "secret"}, "items": [1, 3]}
    said = message_of(fails, "Order", properties_contains=wanted)
    assert said.endswith("one properties.to.city is 'Ulm', not 'Bonn'; properties.items[1] is 2, not 3")
    assert "to.zip is missing" in message_of(
        fails, "Order", properties_contains={"to": {"city": "Ulm", "street": "secret", "zip": 1}}
    )
    assert "to.street is 'secret', not missing" in message_of(
        fails, "Order", properties_contains={"to": {"city": "Ulm"}}
    )
    assert len(message_of(fails, "Order", properties_contains={"n": 1, "text": "y"})) < 200
    many = {f"p{number}": 1 for number in range(10)}
    assert message_of(fails, "Order", properties_contains=many).endswith(
        "properties.p2 is missing and 7 more"
    )


def test_of_many_names_a_message_lists_some(client, eventspool_capture):
    for number in range(20):
        client.track("u1", f"Event {number:02}")

    assert message_of(eventspool_capture.assert_tracked, "X").endswith("'Event 09' and 10 more")


def test_what_must_not_be_tracked(client, eventspool_capture):
    capture = eventspool_capture
    capture.assert_not_tracked()
    client.track("u1", "Order", {"total": 10})
    client.track(None, "Order", {"total": 20}, anonymous_id="a1")
    client.identify("u1")

    capture.assert_not_tracked("Refund")
    capture.assert_not_tracked("Order", user_id="u2")
    capture.assert_not_tracked("Order", properties_contains={"total": 11})
    assert message_of(capture.assert_not_tracked) == "tracked: 'Order' 2 times, the first of userId 'u1'"
    assert (
        message_of(capture.assert_not_tracked, "Order", properties_contains={"total": 20})
        == "tracked: 'Order', the first of anonymousId 'a1'"
    )


# -- snapshots -----------------------------------------------------------------------------------------------------------


def test_a_snapshot_is_the_same_in_each_run(client):
    def play():
        with capture_events() as captured:
            client.identify("u1", {"plan": "pro"}, {"ip": "1.2.3.4"})
            client.track("u1", "Order", {"total": 10, "id": object.__hash__(captured)})
            return captured.snapshot(without=["properties.id", "context.nothing.there", "nothing"])

    assert play() == play()
    assert play() == [
        {
            "type": "identify",
            "traits": {"plan": "pro"},
            "userId": "u1",
            "channel": "server",
            "context": {"ip": "1.2.3.4", "traits": {"plan": "pro"}},
        },
        {
            "type": "track",
            "event": "Order",
            "properties": {"total": 10},
            "userId": "u1",
            "channel": "server",
        },
    ]


def test_a_snapshot_changes_no_captured_event(client, eventspool_capture):
    message_id = client.track("u1", "Order", {"total": 10})
    eventspool_capture.snapshot()[0]["properties"]["total"] = 11

    [event] = eventspool_capture
    assert (event["messageId"], event["properties"], event["context"]["library"]["name"]) == (
        message_id,
        {"total": 10},
        "eventspool",
    )


def test_a_snapshot_of_what_threads_track_has_an_order(client, eventspool_capture):
    threads = [threading.Thread(target=client.track, args=("u1", name)) for name in "hgfedcba"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [each["event"] for each in eventspool_capture.snapshot(ordered=False)] == list("abcdefgh")


# -- flushes ---------------------------------------------------------------------------------------------------------------


def test_a_flush_counts_what_was_captured_since_the_last_one(client, eventspool_capture):
    other = Client("WRITE_KEY", persistence="redis://127.0.0.1:1")
    before = lasting_threads()
    for _ in range(3):
        client.track("u1", "Order")
    other.track("u1", "Order")
    client.track(None, "Order")  # refused

    assert client.flush() == FlushResult(delivered=3)
    assert client.flush(until="persisted", timeout=0.0) == FlushResult()
    assert other.flush() == FlushResult(delivered=1)
    assert lasting_threads() <= before
    with pytest.raises(ConfigError):
        client.flush(until="sent")
    other.close()


def test_a_flush_with_a_callback_and_one_that_is_awaited_count_it_too(client, eventspool_capture):
    told = threading.Event()
    results = []
    client.track("u1", "Order")
    client.flush(lambda *args: (results.append(args), told.set()))
    assert told.wait(60)
    assert results == [(None, FlushResult(delivered=1))]

    async def main():
        async with AsyncClient("WRITE_KEY") as awaited:
            awaited.track("u1", "Order")
            return await awaited.flush()

    assert asyncio.run(main()) == FlushResult(delivered=1)


def test_a_later_capture_counts_anew(client):
    with capture_events():
        client.track("u1", "Order")
    with capture_events():
        assert client.flush() == FlushResult()


# -- the default client -----------------------------------------------------------------------------------------------------


def test_the_default_client_of_a_test_ends_with_it():
    application = eventspool.init("application", data_plane_url="http://127.0.0.1:9")
    try:
        with capture_events() as captured:
            application.track("u1", "By the application's")
            of_test = eventspool.init("test")
            of_test.track("u1", "By the test's")
            again = eventspool.init("test")
            assert _default._client is again
        assert len(captured) == 2
        assert _default._client is application
        assert [each._beginning.is_closed for each in (application, of_test, again)] == [False, True, True]
    finally:
        application.close(0)
        _default._client = None


def test_what_a_test_binds_ends_with_it(client):
    with eventspool.context(user_id="u1"):
        with capture_events() as captured:
            eventspool.bind(user_id="u2")
            client.track(event="Order")
        assert captured[0]["userId"] == "u2"
        assert eventspool.current() == {"user_id": "u1"}


def test_where_there_was_no_default_client_there_is_none_again(eventspool_dataplane):
    with capture_events():
        eventspool.init("test")
    with pytest.raises(ConfigError, match="init"):
        eventspool.track("u1", "Order")


def test_the_fixtures_restore_it(tmp_path):
    from test_testing_plugin import run

    (tmp_path / "test_shop.py").write_text(
        """
import pytest
import eventspool

def test_captured(eventspool_capture):
    assert eventspool.current() == {}
    eventspool.bind(user_id="u9")
    eventspool.init("WRITE_KEY")
    eventspool.track("u1", "Order")

def test_sent(eventspool_dataplane):
    assert eventspool.current() == {}
    eventspool.bind(user_id="u9")
    with pytest.raises(eventspool.ConfigError):
        eventspool.track("u1", "Order")
    eventspool.init("WRITE_KEY", data_plane_url=eventspool_dataplane.url)
    eventspool.track("u1", "Order")
    assert eventspool.flush(timeout=60).delivered == 1

def test_neither(eventspool_capture):
    assert eventspool.current() == {}
    with pytest.raises(eventspool.ConfigError):
        eventspool.track("u1", "Order")
"""
    )
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", cwd=tmp_path)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_an_empty_capture_is_a_list():
    assert Capture().snapshot() == Capture().events == []


def test_blocks_of_two_tasks_may_end_in_any_order(client):
    first, second = capture_events(), capture_events()
    earlier, later = first.__enter__(), second.__enter__()
    first.__exit__(None, None, None)
    client.track("u1", "Asked")
    second.__exit__(None, None, None)

    assert (len(earlier), len(later)) == (0, 1)
    with capture_events() as captured:
        client.track("u1", "Asked")
    assert (len(earlier), len(captured)) == (0, 1)
    assert methods.capture is None


@pytest.mark.parametrize(
    "call", [lambda client: client.track("u1", "Asked"), Client.flush], ids=["track", "flush"]
)
def test_a_thread_that_is_amid_a_call_when_a_test_ends_meets_no_error(client, monkeypatch, call):
    with capture_events() as captured:
        recorders = [methods.capture]

    class Ending(ModuleType):
        """The capture is there for the first who asks, and then it has ended."""

        capture = property(lambda _: recorders.pop() if recorders else None)

    monkeypatch.setattr(methods, "__class__", Ending)
    assert call(client) is not None
    assert recorders == []
    assert len(captured) <= 1
