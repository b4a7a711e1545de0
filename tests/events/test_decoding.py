"""Whatever is in a queue can be read and shown, and what is shown is JSON."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import pytest

from eventspool._envelope import seal
from eventspool._events.decoding import decode_batch, decode_event, exact_float, json_text
from eventspool._events.event import EventEncoder

HUGE = "7" * 9_000


def test_integers_that_python_does_not_read_are_exact():
    event = decode_event(f'{{"n":{HUGE},"m":[-{HUGE}],"k":12}}'.encode())
    assert event["n"] == Decimal(HUGE)
    assert event["m"][0] == Decimal(f"-{HUGE}")
    assert type(event["k"]) is int


def test_numbers_beyond_a_float_are_exact_and_others_are_floats():
    event = decode_event(b'{"a":1E+400,"b":-2.5e999,"c":1.10,"d":1e99999999999999999999}')
    assert (event["a"], event["b"]) == (Decimal("1E+400"), Decimal("-2.5e999"))
    assert type(event["c"]) is float
    assert event["d"] == math.inf


def test_what_foreign_producers_wrote_for_no_number_is_none():
    assert decode_event(b'{"a":NaN,"b":[-Infinity]}') == {"a": None, "b": [None]}


@pytest.mark.parametrize(
    "event", [b"[" * 5000, b'{"a":' * 5000, b"no", b"\xff", b"1", b"", b"null", b'{"a":1}{']
)
def test_what_is_no_event_is_a_value_error(event):
    with pytest.raises(ValueError):
        decode_event(event)


def test_a_batch_gives_the_events_that_can_be_read():
    assert decode_batch(seal([b'{"a":1}', b"[" * 5000, b'{"b":2}'])) == [{"a": 1}, {"b": 2}]
    assert decode_batch(b"no batch") == []


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [False, True])
@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -2.5, True, False, None, 'é\u2028\n"\\\x00'], "b": {}, "c": [], "d": {"e": [[]]}},
        {"n": int(Decimal(HUGE)), "d": Decimal("1E+400"), "e": Decimal("1.10"), "f": 1e16, "g": 5e-324},
        "\ud800",
        17,
    ],
    ids=["plain", "numbers", "surrogate", "scalar"],
)
def test_text_of_json_says_what_was_given(value, indent, ascii_only):
    text = json_text(value, indent=indent, ascii_only=ascii_only)
    as_numbers = json.loads(text, parse_int=Decimal, parse_float=Decimal)
    assert as_numbers == json.loads(json_text(value), parse_int=Decimal, parse_float=Decimal) == exact(value)
    assert text.isascii() or not ascii_only
    assert ("\n" in text) == (indent is not None and isinstance(value, dict))


def exact(value: object) -> object:
    if isinstance(value, dict):
        return {key: exact(each) for key, each in value.items()}
    if isinstance(value, list):
        return [exact(each) for each in value]
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return value
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def test_text_of_json_looks_as_pythons_own():
    value = {"a": [1, {"b": None}], "c": "x", "d": {}}
    assert json_text(value, indent=2) == json.dumps(value, indent=2)
    assert json_text(value) == json.dumps(value, separators=(",", ":"))


def test_what_is_no_number_is_null_in_text():
    value = [math.nan, math.inf, Decimal("NaN"), Decimal("-Infinity")]
    assert json_text(value) == "[null,null,null,null]"


def test_everything_that_was_accepted_is_read_and_written_as_it_was():
    given = {"n": 10**9000, "d": Decimal("1E+400"), "e": Decimal("1.10"), "f": [1e16, 0.1, 2**70, -0.0, None]}
    encoded = EventEncoder().track("u", "e", given)[0]
    read = json.loads(json_text(decode_event(encoded)), parse_float=Decimal, parse_int=Decimal)
    assert read["properties"] == {**exact(given), "f": [Decimal("1E+16"), Decimal("0.1"), 2**70, 0, None]}


def test_floats_with_more_digits_than_a_float_has_are_exact():
    assert exact_float("123456789012345678901234567890.5") == Decimal("123456789012345678901234567890.5")
    assert type(exact_float("0.1")) is float
    with pytest.raises(ValueError, match="beyond all bounds"):
        exact_float("1e99999999999999999999")
