"""Events as people read them."""

from __future__ import annotations

import ast
import json
import shlex
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._dashboard.reading import as_curl, as_python, line, pretty, search_text, visible
from eventspool._events.event import EventEncoder

TEXT = st.text(st.characters(exclude_categories=()))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
DECEIVING = "\u202e\u2066\u200b\u200f\ufeff\x00\x1b\x7f\x85\u2028\ud800\U000e0041\u00ad"


@given(JSON)
def test_formatted_json_means_the_same(value):
    assert json.loads(pretty(value)) == value


@given(TEXT)
def test_nothing_that_hides_or_reorders_is_left(text):
    """Joiners, variation selectors and the like stay; of the format characters nothing else does."""
    for shown in (pretty(text), visible(text, 10_000)):
        shown.encode()
        left = {c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c != "\n"}
        assert left == set()
        assert not set(shown) & set(DECEIVING)


def test_emoji_persian_and_plain_text_stay_as_they_are():
    for text in ("👩‍👩‍👧", "می‌خواهم", "Grüße, 世界 <b>&amp;</b>"):
        assert visible(text) == text
        assert pretty(text) == f'"{text}"'


def test_a_line_is_short_and_whole_text():
    event = {"type": "track", "event": "x" * 5000, "userId": 7, "messageId": "m\n1", "timestamp": None}
    shown = line(event)

    assert len(shown["name"]) == 201
    assert shown["user"] == "7"
    assert shown["message_id"] == "m 1"
    assert shown["timestamp"] == ""
    assert line({}) == {"type": "", "name": "", "user": "", "message_id": "", "timestamp": ""}
    assert line({"type": "group", "groupId": "g"})["name"] == "g"
    assert line({"type": ["x"], "anonymousId": {"a": 1}})["user"] == "{'a': 1}"


@given(st.dictionaries(st.sampled_from(["event", "userId", "properties"]), JSON))
def test_the_curl_command_is_one_command_with_the_event_in_it(event):
    words = shlex.split(
        as_curl({"type": "track", **event}, "http://127.0.0.1:1/v1/batch").replace("\\\n", "")
    )

    assert words[:3] == ["curl", "-u", "$EVENTSPOOL_WRITE_KEY:"]
    assert json.loads(words[words.index("-d") + 1]) == {"batch": [{"type": "track", **event}]}
    assert words[-1] == "http://127.0.0.1:1/v1/batch"


@given(
    st.sampled_from(["track", "identify", "page", "screen", "group", "alias", "x'); import os #"]),
    st.dictionaries(
        st.sampled_from(["event", "userId", "properties", "traits", "name", "groupId", "context", "category"])
        | TEXT,
        JSON,
    ),
)
def test_the_python_call_is_valid_python_and_nothing_but_one_call(kind, event):
    tree = ast.parse(as_python({**event, "type": kind}))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]

    assert {ast.unparse(call.func) for call in calls} <= {f"client.{kind}"}


PROPERTIES = {"total": 1.5, "items": [{"sku": "A'\n", "n": None}], "long": "x" * 100}
EVERYTHING = {
    "context": {"ip": "192.0.2.7", "traits": {"plan": "free"}},
    "integrations": {"All": False, "Slack": {"channel": "#x"}},
    "timestamp": "2026-01-01T00:00:00.123Z",
    "message_id": "m1",
}


@pytest.mark.parametrize("also", [{}, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("track", {"user_id": "u1", "anonymous_id": "a1", "event": "Order", "properties": PROPERTIES}),
        ("identify", {"user_id": "u1", "traits": {"plan": "pro"}}),
        ("identify", {"anonymous_id": "a1"}),
        ("page", {"user_id": "u1", "category": "Docs", "name": "Index", "properties": PROPERTIES}),
        ("screen", {"user_id": "u1", "category": "Docs", "name": "Index"}),
        ("group", {"user_id": "u1", "group_id": "g1", "traits": {"size": 3}}),
        ("alias", {"user_id": "u1", "previous_id": "p1"}),
    ],
)
def test_the_python_call_makes_the_same_event_again(kind, given, also):
    client = EventEncoder()
    event = json.loads(getattr(client, kind)(**given, **also)[0])
    again, _ = eval(as_python(event), {"client": client})

    assert json.loads(again) == event
    assert "library" not in as_python(event)


def test_the_python_call_says_what_no_call_can_give():
    call = as_python({"type": "alias", "userId": "u", "previousId": "p", "anonymousId": "a", "se\nnt": 1})

    assert call.splitlines()[0] == r"# besides, it has 'anonymousId', 'se\nnt'"


def test_a_search_finds_keys_and_values_in_any_case():
    assert "straße".casefold() in search_text({"a": [{"Straße": 1}]})
