"""What events take from the scope of the code that tracks them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial
from queue import SimpleQueue

import pytest

import eventspool
from eventspool import Client
from eventspool._events import scope
from eventspool.testing import capture_events


@pytest.fixture
def client():
    with Client("key") as made:
        yield made


@pytest.fixture
def events():
    with capture_events() as captured:
        yield captured


def fields(event):
    return {
        "user": event.get("userId"),
        "anonymous": event.get("anonymousId"),
        "context": {k: v for k, v in event["context"].items() if k != "library"},
        "properties": event.get("properties"),
    }


def test_an_event_takes_what_no_argument_says(client, events):
    with eventspool.context(
        user_id="u1", anonymous_id="a1", context={"ip": "203.0.113.7"}, properties={"tenant": "acme"}
    ):
        assert client.track(event="Order Completed", properties={"total": 1})
        assert client.page(name="Start")
        assert client.screen(name="Home")

    assert [fields(event) for event in events] == [
        {
            "user": "u1",
            "anonymous": "a1",
            "context": {"ip": "203.0.113.7"},
            "properties": {"tenant": "acme", **own},
        }
        for own in ({"total": 1}, {}, {})
    ]


def test_arguments_win_ids_as_a_whole_mappings_key_by_key(client, events):
    with eventspool.context(
        user_id="u1", context={"ip": "1", "page": {"path": "/"}}, properties={"a": 1, "b": 1}
    ):
        client.track("u2", "e", {"b": 2}, {"ip": "2"})

    assert fields(events[0]) == {
        "user": "u2",
        "anonymous": None,
        "context": {"ip": "2", "page": {"path": "/"}},
        "properties": {"a": 1, "b": 2},
    }


def test_every_kind_takes_ids_and_context_and_only_those_with_properties_take_these(client, events):
    with eventspool.context(user_id="u", anonymous_id="a", context={"ip": "1"}, properties={"p": 1}):
        client.identify(traits={"plan": "pro"})
        client.group(group_id="g")
        client.alias("old")

    identify, group, alias = events
    assert identify["context"]["traits"] == identify["traits"] == {"plan": "pro"}
    assert group["traits"] == {}
    assert (alias["userId"], alias["previousId"]) == ("u", "old")
    assert "anonymousId" not in alias
    for event in events:
        assert (event["userId"], event["context"]["ip"]) == ("u", "1")
        assert "properties" not in event


def test_identify_takes_traits_of_the_context_where_its_call_has_none(client, events):
    with eventspool.context(user_id="u", context={"traits": {"plan": "pro"}}):
        client.identify()
        client.identify(traits={"plan": "free"})
        client.identify(context={"traits": {"plan": "team"}})

    assert [event["context"]["traits"]["plan"] for event in events] == ["pro", "free", "team"]


def test_an_inner_scope_adds_and_ends(client, events):
    with eventspool.context(user_id="u", properties={"a": 1}):
        with eventspool.context(properties={"b": 2}):
            eventspool.bind(user_id="v", properties={"c": 3})
            client.track(event="inner")
        client.track(event="outer")
    assert client.track(event="outside") is None

    assert [fields(event) for event in events] == [
        {"user": "v", "anonymous": None, "context": {}, "properties": {"a": 1, "b": 2, "c": 3}},
        {"user": "u", "anonymous": None, "context": {}, "properties": {"a": 1}},
    ]


def test_a_scope_ends_when_its_block_raises_and_one_object_may_be_entered_again(client, events):
    entered = eventspool.context(user_id="u")
    with contextlib.suppress(ZeroDivisionError), entered, entered:
        raise ZeroDivisionError
    assert eventspool.current() == {}
    with entered:
        client.track(event="e")
    assert events[0]["userId"] == "u"


def test_what_is_bound_is_a_snapshot(client, events):
    properties = {"a": 1}
    with eventspool.context(user_id="u", properties=properties):
        properties["a"] = 2
        client.track(event="e", properties=(own := {}))

    assert events[0]["properties"] == {"a": 1}
    assert own == {}


def test_a_user_that_is_a_function_is_asked_at_each_event_and_only_where_it_is_needed(client, events):
    users = iter(["u1", None, 3])
    with eventspool.context(user_id=lambda: next(users), anonymous_id="a"):
        client.track("given", "e")
        for _ in range(3):
            client.track(event="e")

    assert [event.get("userId") for event in events] == ["given", "u1", None, "3"]


class Session:
    def user(self):
        raise LookupError("no such session")


@pytest.mark.parametrize(
    "user", [Session().user, partial(Session.user, None), lambda: SimpleQueue().get_nowait()]
)
def test_a_function_that_raises_refuses_the_event_and_raises_nothing(client, events, user):
    with eventspool.context(user_id=user):
        assert client.track(event="e") is None
        assert eventspool.current() == {}

    assert (client.stats().refused, events) == ({"invalid": 1}, [])


class Unequal(type):
    def __eq__(cls, other):
        raise LookupError("types of mine are not compared")

    __hash__ = type.__hash__


class User(metaclass=Unequal):
    pass


@pytest.mark.parametrize(
    "wrong",
    [{"context": 1}, {"properties": ["a"]}, {"context": {1, 2}}, {"user_id": object()}, {"user_id": User()}],
)
def test_binding_what_is_wrong_raises_nothing_and_refuses_the_events(client, events, wrong):
    with eventspool.context(**{"user_id": "u", **wrong}):
        assert client.track(event="e") is None
    with eventspool.context(user_id="u"):
        assert client.track(event="e")

    assert client.stats().refused == {"invalid": 1}


def test_what_is_carried_over_is_json_and_enters_the_same_scope(client, events):
    at = datetime(2026, 11, 30, tzinfo=UTC)
    with eventspool.context(
        user_id=lambda: 7, anonymous_id="a", context={"at": at, "bad": object()}, properties={"n": 1}
    ):
        carrier = eventspool.current()
        client.track(event="here", context={"bad": 0})
    carrier = json.loads(json.dumps(carrier))
    with eventspool.context(**carrier):
        client.track(event="there", context={"bad": 0})

    here, there = map(fields, events)
    assert here == there
    assert carrier == {
        "user_id": "7",
        "anonymous_id": "a",
        "context": {"at": "2026-11-30T00:00:00.000Z"},
        "properties": {"n": 1},
    }


def test_what_cannot_be_carried_over_is_told_without_its_value(caplog, monkeypatch):
    monkeypatch.setattr(scope._throttle, "_seen", {})  # other tests have said the same a moment ago
    with eventspool.context(context={"card": {"number": object(), "holder": "Ada Lovelace"}}):
        assert eventspool.current() == {}

    assert "context.card" in caplog.text or "card.number" in caplog.text
    assert "Ada" not in caplog.text


def test_a_thread_begins_without_and_a_copied_context_with_the_scope():
    seen = []

    def look():
        seen.append(eventspool.current())

    with eventspool.context(user_id="u"):
        for target in (look, partial(copy_context().run, look)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()

    assert seen == [{}, {"user_id": "u"}]


def test_a_generator_that_is_left_elsewhere_harms_nothing(client, events):
    def request():
        with eventspool.context(user_id="u"):
            yield

    opened = request()
    copy_context().run(next, opened)
    with contextlib.suppress(StopIteration):
        next(opened)

    assert eventspool.current() == {}


def test_a_generator_that_ends_late_brings_no_user_of_an_ended_scope_back(client, events):
    """A thread of a WSGI server serves one request after the other in one context; the collector ends what is left open."""

    def stream():
        with eventspool.context(properties={"part": 1}):
            yield

    with eventspool.context(user_id="first"):
        opened = stream()
        next(opened)
    assert eventspool.current() == {}
    with eventspool.context(user_id="second"):
        opened.close()
        client.track(event="E")

    assert [fields(event)["user"] for event in events] == ["second"]
    assert eventspool.current() == {}


def test_threads_that_share_one_context_end_their_own_blocks(client, events):
    shared = eventspool.context(properties={"app": "shop"})
    other = copy_context()

    shared.__enter__()
    other.run(shared.__enter__)
    eventspool.bind(user_id="u1")
    shared.__exit__(None, None, None)
    assert eventspool.current() == {}
    assert other.run(eventspool.current) == {"properties": {"app": "shop"}}
    other.run(shared.__exit__, None, None, None)
    assert other.run(eventspool.current) == {}


def test_generators_that_end_in_the_order_in_which_they_began_leave_nothing(client, events):
    def stream(user):
        with eventspool.context(user_id=user):
            yield

    with eventspool.context(user_id="outer"):
        opened = [stream(f"u{number}") for number in range(3)]
        for each in opened:
            next(each)
        for each in opened:
            each.close()
        client.track(event="E")

    assert [fields(event)["user"] for event in events] == ["outer"]
    assert eventspool.current() == {}


class Interrupting:
    """A variable of the context amid whose change a signal handler raises, once."""

    def __init__(self, variable, at):
        self.variable = variable
        self.left = at

    def set(self, value):
        token = self.variable.set(value)
        self.left -= 1
        if self.left == 0:
            raise TimeoutError("time limit")
        return token


@pytest.mark.parametrize("at", [1, 2])
def test_a_time_limit_amid_the_beginning_or_the_end_of_a_block_leaves_no_scope(monkeypatch, at):
    monkeypatch.setattr(scope, "_scope", Interrupting(scope._scope, at))

    with pytest.raises(TimeoutError), eventspool.context(user_id="u1"):
        assert at == 2

    assert eventspool.current() == {}


def test_a_time_limit_before_a_block_is_found_ends_it_all_the_same(monkeypatch):
    find, limits = scope._first_open, [TimeoutError("time limit")]

    def be_interrupted(block):
        monkeypatch.setattr(scope, "_first_open", find)
        raise limits.pop()

    shared = eventspool.context(properties={"app": "shop"})
    with shared:
        shared.__enter__()
        eventspool.bind(user_id="u1")
        monkeypatch.setattr(scope, "_first_open", be_interrupted)
        with pytest.raises(TimeoutError):
            shared.__exit__(None, None, None)
        assert eventspool.current() == {"properties": {"app": "shop"}}

    assert (eventspool.current(), limits) == ({}, [])


def test_tasks_that_begin_each_other_inside_of_blocks_do_not_grow():
    """A task that repeats itself may do so for ever. Up to three of them are in their blocks at once."""
    here = copy_context()
    opened = []
    for _ in range(50):
        block = eventspool.context(properties={"app": "shop"})
        here.run(block.__enter__)
        opened.append((here, block))
        here = here.run(copy_context)
        if len(opened) > 3:
            parent, ended = opened.pop(0)
            parent.run(ended.__exit__, None, None, None)

    def depth():
        block, blocks = scope.entered().block, 0
        while block is not None:
            block, blocks = block.outer, blocks + 1
        return blocks

    assert here.run(depth) <= 5


def test_a_wrong_value_that_was_bound_keeps_nothing_of_the_host_alive():
    class Large:
        pass

    def handle(large):
        eventspool.bind(properties="wrong")
        return weakref.ref(large)

    def serve():
        found = handle(Large())
        assert found() is None

    copy_context().run(serve)


USERS = 200


def test_no_task_s_event_carries_the_user_of_another_one(client, events):
    """All of them inside one scope, bound in both ways, with waits in between."""

    async def request(number):
        await asyncio.sleep(0)
        if number % 2:
            eventspool.bind(user_id=f"user-{number}", context={"requestId": number})
            await asyncio.sleep(0)
            client.track(event="e", properties={"number": number})
        else:
            with eventspool.context(user_id=f"user-{number}", context={"requestId": number}):
                await asyncio.sleep(0)
                await asyncio.to_thread(client.track, event="e", properties={"number": number})

    async def serve():
        with eventspool.context(properties={"app": "shop"}):
            await asyncio.gather(*map(request, range(USERS)))

    asyncio.run(serve())
    check(events)


def test_no_thread_s_event_carries_the_user_of_another_one(client, events):
    together = threading.Barrier(8)

    def request(number):
        if number < 8:
            together.wait(30)
        with eventspool.context(properties={"app": "shop"}):
            eventspool.bind(user_id=f"user-{number}", context={"requestId": number})
            client.track(event="e", properties={"number": number})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(request, range(USERS)))
    check(events)


def check(events):
    assert len(events) == USERS
    for event in events:
        number = event["properties"]["number"]
        assert event["userId"] == f"user-{number}"
        assert event["context"]["requestId"] == number
        assert event["properties"]["app"] == "shop"
    assert {event["userId"] for event in events} == {f"user-{number}" for number in range(USERS)}


# -- what identifies events ----------------------------------------------------------------------------------------------


def test_a_scope_may_know_the_message_ids_of_its_events(client, events):
    said = []

    def identify(content):
        said.append(json.loads(content))
        return f"id-{len(said)}"

    with scope.identifying(identify), eventspool.context(user_id="u1", context={"ip": "203.0.113.7"}):
        client.track(event="E")
        client.page(name="P", timestamp="2026-11-23T17:26:00Z", integrations={"all": False})
        client.track(event="E", message_id="mine")
    client.track("u1", "E")

    assert [event["messageId"] for event in events[:3]] == ["id-1", "id-2", "mine"]
    assert len(events[3]["messageId"]) == 36
    plain = {"userId": "u1", "context": {"ip": "203.0.113.7"}, "properties": {}}
    assert said == [
        {"type": "track", "event": "E", **plain, "integrations": {}, "timestamp": None},
        {
            "type": "page",
            "name": "P",
            **plain,
            "integrations": {"all": False},
            "timestamp": "2026-11-23T17:26:00.000Z",
        },
    ]
