"""The rules of the six calls, and their wire format."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from eventspool._events import clock as _clock
from eventspool._events.event import EventEncoder
from eventspool._exceptions import EventError
from eventspool._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
AT = datetime(2026, 11, 23, 17, 26, 0, 123456, UTC)
COMMON = {
    "messageId": "m1",
    "timestamp": "2026-11-23T17:26:00.123Z",
    "originalTimestamp": "2026-11-23T17:26:00.123Z",
    "channel": "server",
    "context": {"library": {"name": "eventspool", "version": __version__}},
}


def refused(call: Callable[..., object], *args: Any, reason: str = "invalid", **kwargs: Any) -> str:
    with pytest.raises(EventError) as caught:
        call(*args, **kwargs)
    assert caught.value.reason == reason
    assert caught.value.__cause__ is None
    return str(caught.value)


# -- the wire ---------------------------------------------------------------------------------------------


def test_track_on_the_wire(encoder, decode):
    event = encoder.track("u", "Order Completed", {"total": 1}, timestamp=AT, message_id="m1")
    assert event[1] == "m1"
    expected = {"type": "track", "userId": "u", "event": "Order Completed", "properties": {"total": 1}}
    assert decode(event) == COMMON | expected


def test_identify_on_the_wire_has_its_traits_twice(encoder, decode):
    event = decode(encoder.identify("u", {"plan": "pro"}, timestamp=AT, message_id="m1"))
    context = COMMON["context"] | {"traits": {"plan": "pro"}}
    assert event == COMMON | {
        "type": "identify",
        "userId": "u",
        "traits": {"plan": "pro"},
        "context": context,
    }


@pytest.mark.parametrize("kind", ["page", "screen"])
def test_page_and_screen_on_the_wire(encoder, decode, kind):
    event = getattr(encoder, kind)("u", "Docs", "Start", {"x": 1}, timestamp=AT, message_id="m1")
    expected = {"type": kind, "userId": "u", "category": "Docs", "name": "Start", "properties": {"x": 1}}
    assert decode(event) == COMMON | expected


def test_group_on_the_wire(encoder, decode):
    event = encoder.group("u", "g", {"plan": "pro"}, timestamp=AT, message_id="m1")
    assert decode(event) == COMMON | {
        "type": "group",
        "userId": "u",
        "groupId": "g",
        "traits": {"plan": "pro"},
    }


def test_alias_on_the_wire(encoder, decode):
    event = encoder.alias("old", "new", timestamp=AT, message_id="m1")
    assert decode(event) == COMMON | {"type": "alias", "previousId": "old", "userId": "new"}


def test_positional_order_is_that_of_the_family(encoder, decode):
    rest = ({"c": 1}, AT, "a", {"All": True}, "m1")
    tail = {"anonymousId": "a", "integrations": {"All": True}, "messageId": "m1"}
    for event in (
        encoder.track("u", "e", {}, *rest),
        encoder.identify("u", {}, *rest),
        encoder.page("u", "c", "n", {}, *rest),
        encoder.screen("u", "c", "n", {}, *rest),
        encoder.group("u", "g", {}, *rest),
    ):
        seen = decode(event)
        assert tail.items() <= seen.items()
        assert seen["context"]["c"] == 1
    alias = decode(encoder.alias("p", "u", {"c": 1}, AT, {"All": True}, "m1"))
    assert alias["integrations"] == {"All": True}
    assert alias["context"]["c"] == 1


def test_absent_fields_are_absent(encoder, decode):
    assert set(decode(encoder.page("u"))) == set(COMMON) | {"type", "userId", "properties"}
    assert decode(encoder.track("u", "e"))["properties"] == {}
    assert decode(encoder.group("u", "g"))["traits"] == {}
    assert "userId" not in decode(encoder.track(None, "e", anonymous_id="a"))


def test_library_is_always_ours_and_the_rest_of_the_context_the_callers(encoder, decode):
    context = {"ip": "1.2.3.4", "library": {"name": "other"}}
    seen = decode(encoder.track("u", "e", context=context))["context"]
    assert seen == {"ip": "1.2.3.4", "library": COMMON["context"]["library"]}
    assert context == {"ip": "1.2.3.4", "library": {"name": "other"}}


@pytest.mark.parametrize("fast", [True, False])
def test_the_library_can_be_named_otherwise(decode, fast):
    encoder = EventEncoder(library={"name": "x", "version": "9"}, _fast=fast)
    for context in (None, {"a": 1}):
        seen = decode(encoder.track("u", "e", {"d": AT, "l": [AT]}, context))["context"]
        assert seen["library"] == {"name": "x", "version": "9"}


def test_traits_of_identify_win_over_those_in_the_context_and_none_leaves_them(encoder, decode):
    context = {"traits": {"a": 1}}
    assert decode(encoder.identify("u", {"b": AT}, context))["context"]["traits"] == {
        "b": COMMON["timestamp"]
    }
    assert decode(encoder.identify("u", None, context))["context"]["traits"] == {"a": 1}
    assert decode(encoder.identify("u"))["context"]["traits"] == {}
    assert context == {"traits": {"a": 1}}


# -- ids --------------------------------------------------------------------------------------------------


class Color(Enum):
    RED = "red"


class Name(StrEnum):
    BOUGHT = "Bought"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("ü-1", "ü-1"),
        (0, "0"),
        (-5, "-5"),
        (2**80, str(2**80)),
        (12.0, "12"),
        (12.5, "12.5"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=1), str(UUID(int=1))),
        (np.int64(7), "7"),
        (np.float64(7), "7"),
        (np.str_("n"), "n"),
        (Color.RED, "red"),
    ],
)
def test_ids_become_strings(encoder, decode, given, expected):
    assert decode(encoder.track(given, "e"))["userId"] == expected
    assert decode(encoder.track(None, "e", anonymous_id=given))["anonymousId"] == expected
    assert decode(encoder.group("u", given))["groupId"] == expected
    seen = decode(encoder.alias(given, given))
    assert (seen["previousId"], seen["userId"]) == (expected, expected)


@pytest.mark.parametrize(
    "given", [True, np.True_, float("nan"), float("inf"), Decimal("NaN"), b"x", [], {}, object()]
)
def test_other_things_are_no_ids(encoder, given):
    assert "user_id" in refused(encoder.track, given, "e", anonymous_id="a")
    assert "anonymous_id" in refused(encoder.track, "u", "e", anonymous_id=given)
    assert "group_id" in refused(encoder.group, "u", given)
    assert "previous_id" in refused(encoder.alias, given, "u")


@pytest.mark.parametrize("missing", [None, "", pd.NA])
def test_an_empty_id_is_a_missing_one(encoder, decode, missing):
    for call in (lambda u: encoder.track(u, "e"), encoder.identify, encoder.page, encoder.screen):
        assert refused(call, missing) == "user_id or anonymous_id must be given"
    refused(encoder.group, missing, "g")
    refused(encoder.group, "u", missing)
    refused(encoder.alias, missing, "u")
    refused(encoder.alias, "p", missing)
    assert "userId" not in decode(encoder.track(missing, "e", anonymous_id="a"))
    assert "anonymousId" not in decode(encoder.track("u", "e", anonymous_id=missing))


def test_an_anonymous_id_is_enough_but_not_for_alias(encoder, decode):
    assert decode(encoder.group(None, "g", anonymous_id="a"))["anonymousId"] == "a"
    with pytest.raises(TypeError):
        encoder.alias("p", anonymous_id="a")


# -- names and mappings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [None, "", 1, b"e", True, ["e"], Color])
def test_track_needs_an_event(encoder, event):
    assert "event" in refused(encoder.track, "u", event)


def test_a_string_enum_is_a_name(encoder, decode):
    assert decode(encoder.track("u", Name.BOUGHT))["event"] == "Bought"
    assert decode(encoder.page("u", Color.RED, Name.BOUGHT))["category"] == "red"


@pytest.mark.parametrize("field", ["category", "name"])
@pytest.mark.parametrize("kind", ["page", "screen"])
def test_category_and_name_are_text(encoder, kind, field):
    assert refused(getattr(encoder, kind), "u", **{field: 7}) == f"{field}: must be a string, not int"


@pytest.mark.parametrize("given", [[], [("a", 1)], "x", 1, {1}, object(), iter({})])
@pytest.mark.parametrize("field", ["properties", "context", "integrations"])
def test_mappings_are_mappings(encoder, field, given):
    expected = f"{field}: must be a mapping, not {type(given).__name__}"
    assert refused(encoder.track, "u", "e", **{field: given}) == expected


def test_any_mapping_will_do(encoder, decode):
    given = MappingProxyType({"a": MappingProxyType({"b": 1})})
    for field in ("properties", "context", "integrations"):
        assert decode(encoder.track("u", "e", **{field: given}))[field]["a"] == {"b": 1}
    assert decode(encoder.identify("u", given))["context"]["traits"] == {"a": {"b": 1}}


# -- moments ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2025-12-31T19:30:00.000Z",
        ),
        (datetime(2026, 1, 1, 12), "2026-01-01T11:00:00.000Z"),
        (datetime(2026, 7, 1, 12), "2026-07-01T10:00:00.000Z"),
        (datetime(2026, 10, 25, 2, 30), "2026-10-25T00:30:00.000Z"),
        (datetime(2026, 10, 25, 2, 30, fold=1), "2026-10-25T01:30:00.000Z"),
        (datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), "1969-12-31T23:59:59.999Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000Z"),
        (datetime.min, "0001-01-01T00:00:00.000Z"),
        (datetime.max, "9999-12-31T22:59:59.999Z"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "0001-01-01T00:00:00.000Z"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))), "9999-12-31T23:59:59.999Z"),
        (date(2026, 7, 1), "2026-06-30T22:00:00.000Z"),
        ("2026-11-23T17:26:00.123456Z", "2026-11-23T17:26:00.123Z"),
        ("2026-11-23T17:26:00+02:00", "2026-11-23T15:26:00.000Z"),
        ("2026-07-01 12:00", "2026-07-01T10:00:00.000Z"),
        ("2026-07-01", "2026-06-30T22:00:00.000Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (-1.5, "1969-12-31T23:59:58.500Z"),
        (1764000000.123, "2025-11-24T16:00:00.123Z"),
        (np.int64(1), "1970-01-01T00:00:01.000Z"),
        (np.datetime64("2026-07-01T12:00:00.123456789"), "2026-07-01T10:00:00.123Z"),
        (pd.Timestamp("2026-07-01T12:00:00.123456789"), "2026-07-01T10:00:00.123Z"),
        (pd.Timestamp("2026-07-01T12:00", tz="Asia/Tokyo"), "2026-07-01T03:00:00.000Z"),
    ],
)
@pytest.mark.usefixtures("central_europe")
def test_moments_are_sent_as_utc_milliseconds(encoder, decode, given, expected):
    seen = decode(encoder.track("u", "e", {"when": given}, timestamp=given))
    assert seen["timestamp"] == seen["originalTimestamp"] == expected
    if isinstance(given, datetime | np.datetime64):
        assert seen["properties"]["when"] == expected


@pytest.mark.usefixtures("central_europe")
def test_a_local_time_that_the_spring_skips_is_one_of_its_neighbours(encoder, decode):
    seen = decode(encoder.track("u", "e", timestamp=datetime(2026, 3, 29, 2, 30)))["timestamp"]
    assert seen in ("2026-03-29T00:30:00.000Z", "2026-03-29T01:30:00.000Z")


@pytest.mark.parametrize(
    "given",
    [
        *("", "junk", "2026-13-01", "2026-02-30T00:00Z", "1764000000", "\ud800", b"2026-01-01"),
        *(1764000000000, 10**400, float("nan"), float("inf"), Decimal(1), True),
        *([], object(), pd.NaT, np.datetime64("NaT", "ns")),
    ],
)
def test_junk_is_no_timestamp(encoder, given):
    assert refused(encoder.track, "u", "e", timestamp=given).startswith("timestamp: ")


def test_without_a_timestamp_it_is_now(encoder, decode):
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    seen = datetime.fromisoformat(decode(encoder.track("u", "e"))["timestamp"])
    assert before <= seen <= datetime.now(UTC)


def test_now_follows_the_clock_over_seconds_and_backwards(monkeypatch):
    moments = [0.0, 0.9996, 1.0, 1764000000.5, 1764000000.9999, 1764000001.0, 1764000000.25, 5.0]
    expected = ["1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.999Z", "1970-01-01T00:00:01.000Z"]
    expected += ["2025-11-24T16:00:00.500Z", "2025-11-24T16:00:00.999Z", "2025-11-24T16:00:01.000Z"]
    expected += ["2025-11-24T16:00:00.250Z", "1970-01-01T00:00:05.000Z"]
    monkeypatch.setattr(_clock, "_present", (-1, ""))
    monkeypatch.setattr(_clock, "_present_second", (-1, ""))
    seen = []
    for moment in moments:
        nanoseconds = int(moment) * 10**9 + round(moment % 1 * 10**9)
        monkeypatch.setattr(_clock, "time_ns", lambda nanoseconds=nanoseconds: nanoseconds)
        seen.append(_clock.now_text())
    monkeypatch.undo()
    assert seen == expected


# -- message ids and size ---------------------------------------------------------------------------------


def test_message_ids_are_fresh_version_4_uuids(encoder, decode):
    events = [encoder.track("u", "e") for _ in range(2000)]
    assert len({event[1] for event in events}) == 2000
    assert all(UUID4.fullmatch(event[1]) for event in events)
    assert decode(events[0])["messageId"] == events[0][1]


def test_the_standard_library_draws_the_same_kind_of_id():
    ids = {_clock._new_message_id() for _ in range(2000)}
    assert len(ids) == 2000
    assert all(UUID4.fullmatch(drawn) for drawn in ids)
    assert {drawn[19] for drawn in ids} == set("89ab")


@pytest.mark.parametrize(
    ("given", "expected"), [(7, "7"), (UUID(int=3), str(UUID(int=3))), ("x" * 255, "x" * 255)]
)
def test_a_callers_message_id_is_kept(encoder, decode, given, expected):
    event = encoder.track("u", "e", message_id=given)
    assert event[1] == expected == decode(event)["messageId"]


def test_a_message_id_is_the_same_in_memory_and_on_the_wire(encoder, decode):
    event = encoder.track("u", "e", message_id="a\ud800b")
    assert event[1] == "a\ufffdb" == decode(event)["messageId"]


@pytest.mark.parametrize("given", ["", "x" * 256, b"x", True, [], object()])
def test_a_wrong_message_id_is_refused(encoder, given):
    assert refused(encoder.track, "u", "e", message_id=given).startswith("message_id: ")


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("text", ["x", "ü"])
def test_the_size_limit_is_exact_and_in_bytes(fast, text):
    size = len(EventEncoder(_fast=fast).track("u", "e", {"v": text * 100}, timestamp=AT, message_id="m")[0])
    exact, short = (
        EventEncoder(max_event_bytes=size, _fast=fast),
        EventEncoder(max_event_bytes=size - 1, _fast=fast),
    )
    assert len(exact.track("u", "e", {"v": text * 100}, timestamp=AT, message_id="m")[0]) == size
    message = refused(
        short.track, "u", "e", {"v": text * 100}, timestamp=AT, message_id="m", reason="too_large"
    )
    assert f"max_event_bytes ({size - 1})" in message


def test_a_refused_call_leaves_nothing_to_the_collector():
    """Neither the host's arguments nor the client, for as long as the collector does not come."""
    program = """
    import gc, weakref
    from eventspool import Client
    class Held(dict): pass
    client, held = Client("key"), Held()
    gc.disable()
    assert client.track("", "E", held) is None
    known = weakref.ref(held)
    del held
    print(known())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True)
    assert done.stdout == "None\n", done.stderr
