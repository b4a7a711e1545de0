"""What becomes of every kind of value, at the top of the properties and further down, in both encoders."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import fractions
import ipaddress
import itertools
import math
import pathlib
import re
import types
import typing
import uuid
import zoneinfo
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from unittest import mock

import attrs
import msgspec
import numpy as np
import pandas as pd
import pydantic
import pydantic.v1
import pytest
import starlette.datastructures
import uuid_utils

from eventspool._events.encoding import MAX_DEPTH, without_surrogates
from eventspool._events.event import EventEncoder
from eventspool._exceptions import EventError

AT = datetime(2026, 11, 23, 17, 26, 0, 123456, UTC)
UTC_TEXT = "2026-11-23T17:26:00.123Z"


class Str(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "lie"


class Int(int):
    def __repr__(self) -> str:
        return "lie"


class Float(float):
    def __repr__(self) -> str:
        return "lie"


class Dict(dict):
    def items(self):
        raise AssertionError("asked")


class List(list):
    pass


class Color(enum.Enum):
    RED = "red"
    WHEN = AT


class Level(enum.IntEnum):
    HIGH = 3


class Mode(enum.StrEnum):
    ON = "on"


class Bits(enum.IntFlag):
    A = 1
    B = 2


class Point(typing.NamedTuple):
    x: int
    y: datetime


@dataclasses.dataclass
class Item:
    sku: str
    price: Decimal
    kind: typing.ClassVar[str] = "hidden"


@dataclasses.dataclass(slots=True)
class Slotted:
    at: datetime


@attrs.define
class Attrs:
    sku: str
    price: Decimal


class Struct(msgspec.Struct, rename="camel"):
    first_name: str
    price: Decimal
    unset: int | msgspec.UnsetType = msgspec.UNSET


class Model(pydantic.BaseModel):
    sku: str
    price: Decimal
    at: datetime


class OldModel(pydantic.v1.BaseModel):
    sku: str
    price: Decimal


class Root(pydantic.RootModel[list[int]]):
    pass


class Path:
    def __fspath__(self) -> str:
        return "/a/b"


NOT_A_NUMBER = [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity")]
NOT_A_NUMBER += [np.float32("nan"), np.float64("inf"), np.longdouble("nan"), Float("nan")]
NOTHING = [None, pd.NA, pd.NaT, np.datetime64("NaT", "ns"), np.ma.masked]


@pytest.mark.parametrize("given", NOT_A_NUMBER + NOTHING, ids=map(str, itertools.count()))
def test_no_number_and_nothing_are_null(value, given):
    assert value(given) is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (True, True),
        (np.True_, True),
        (0, 0),
        (2**63, 2**63),
        (2**64, 2**64),
        (-(2**63) - 1, -(2**63) - 1),
        (10**300, 10**300),
        (Int(5), 5),
        (np.int8(-5), -5),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (Level.HIGH, 3),
        (Bits.A | Bits.B, 3),
        (Str("text"), "text"),
        (np.str_("text"), "text"),
        (Mode.ON, "on"),
        (Color.RED, "red"),
        (Color.WHEN, UTC_TEXT),
        (
            'quote " slash \\ / line\n\r\u2028 tab\t nul\x00 \x7f é 😀',
            'quote " slash \\ / line\n\r\u2028 tab\t nul\x00 \x7f é 😀',
        ),
        (AT, UTC_TEXT),
        (pd.Timestamp(AT), UTC_TEXT),
        (date(2026, 11, 23), "2026-11-23"),
        (time(17, 26, 0, 123456), "17:26:00.123456"),
        (time(17, 26, tzinfo=UTC), "17:26:00+00:00"),
        (timedelta(days=1, milliseconds=500), Decimal("86400.5")),
        (pd.Timedelta("1.5s"), Decimal("1.5")),
        (np.timedelta64(1500, "ms"), Decimal("1.5")),
        (np.timedelta64(1500, "ns"), Decimal("1e-06")),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (uuid_utils.UUID(int=1), str(uuid.UUID(int=1))),
        (b"\x00\xff", "AP8="),
        (bytearray(b"ab"), "YWI="),
        (memoryview(b"abcd")[::2], "YWM="),
        (np.bytes_(b"ab"), "YWI="),
        ((1, "a"), [1, "a"]),
        (List([1]), [1]),
        (Point(1, AT), [1, UTC_TEXT]),
        ({3, 1, 2}, [1, 2, 3]),
        ({2.5, 10}, [Decimal("2.5"), 10]),
        (frozenset({"b", "a"}), ["a", "b"]),
        ({1, "a", None}, ["a", 1, None]),
        ({frozenset({2, 1}), frozenset({1})}, [[1, 2], [1]]),
        ({"b": 1, "a": 2}.keys(), ["a", "b"]),
        (collections.deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        (array.array("i", [1, 2]), [1, 2]),
        (Dict(a=1), {"a": 1}),
        (collections.OrderedDict(a=AT), {"a": UTC_TEXT}),
        (types.MappingProxyType({"a": AT}), {"a": UTC_TEXT}),
        (collections.ChainMap({"a": 1}), {"a": 1}),
        ({Str("k"): 1, Mode.ON: 2}, {"k": 1, "on": 2}),
        (Item("A-1", Decimal("1.10")), {"sku": "A-1", "price": Decimal("1.10")}),
        (Slotted(AT), {"at": UTC_TEXT}),
        (Attrs("A-1", Decimal("1.10")), {"sku": "A-1", "price": Decimal("1.10")}),
        (Struct("Ada", Decimal("1.10")), {"firstName": "Ada", "price": Decimal("1.10")}),
        (
            Model(sku="A", price=Decimal("1.10"), at=AT),
            {"sku": "A", "price": Decimal("1.10"), "at": UTC_TEXT},
        ),
        (OldModel(sku="A", price=Decimal("1.10")), {"sku": "A", "price": Decimal("1.10")}),
        (Root([1, 2]), [1, 2]),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array(7), 7),
        (np.array([1.5, math.nan]), [Decimal("1.5"), None]),
        (np.array([b"ab"]), ["YWI="]),
        (np.array([Decimal("1.10")], dtype=object), [Decimal("1.10")]),
        (np.array([1500], dtype="m8[ms]"), [Decimal("1.5")]),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Series([AT]), [UTC_TEXT]),
        (pd.Index(["a"]), ["a"]),
        (np.longdouble("0.1"), Decimal("0.1")),
        (np.float64(0.1), Decimal("0.1")),
        (np.float16(0.5), Decimal("0.5")),
        (Float(0.5), Decimal("0.5")),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (Path(), "/a/b"),
        (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
        (ipaddress.ip_network("fe80::/10"), "fe80::/10"),
        (ipaddress.ip_interface("10.0.0.1/8"), "10.0.0.1/8"),
        (pd.Period("2026-01"), "2026-01"),
        (pd.Categorical(["a", None]), ["a", None]),
        (pd.array([1, None], dtype="Int64"), [1, None]),
        (collections.UserString("text"), "text"),
        (collections.UserList([AT]), [UTC_TEXT]),
        (collections.UserDict(a=AT), {"a": UTC_TEXT}),
        (fractions.Fraction(-1, 3), "-1/3"),
        (re.compile(r"\d+"), r"\d+"),
        (zoneinfo.ZoneInfo("Europe/Berlin"), "Europe/Berlin"),
        (pydantic.HttpUrl("https://shop.example/a"), "https://shop.example/a"),
        (pydantic.PostgresDsn("postgres://a.example,b.example/x"), "postgres://a.example,b.example/x"),
        (pydantic.SecretStr("hush"), "**********"),
        (pydantic.SecretBytes(b"hush"), "**********"),
        (pydantic.v1.SecretStr("hush"), "**********"),
        (pydantic.v1.SecretBytes(b"hush"), "**********"),
        (starlette.datastructures.URL("https://shop.example/?a=1"), "https://shop.example/?a=1"),
    ],
    ids=map(str, itertools.count()),
)
def test_values_keep_their_meaning(value, given, expected):
    seen = value(given)
    assert seen == expected
    assert isinstance(seen, bool) == isinstance(expected, bool)


@pytest.mark.parametrize(
    "given",
    ["1.10", "-0", "0E-10", "1E+400", "1E-400", "123456789012345678901234567890.10", "0.1", "-1.5E+3"],
)
def test_decimals_are_exact_to_the_digit(encoder, given):
    encoded = encoder.track("u", "e", {"v": Decimal(given), "l": [Decimal(given)]})[0]
    assert f'"v":{given},"l":[{given}]'.encode() in encoded


def test_floats_come_back_as_they_were(encoder, decode):
    given = [0.1, -0.0, 1e16, 1e-7, 5e-324, 1.7976931348623157e308, 123456789012345680.0, 1 / 3]
    seen = decode(encoder.track("u", "e", {"v": given, "w": (*given, AT)}))["properties"]
    assert [math.copysign(1, float(x)) * float(x) for x in seen["v"]] == [abs(x) for x in given]
    assert [float(x) for x in seen["v"]] == [float(x) for x in seen["w"][:-1]] == given


def test_integers_beyond_pythons_own_digit_limit_are_exact(encoder):
    digits = "7" * 10_000
    number = sum(7 * 10**i for i in range(10_000))
    assert f'"v":{digits}'.encode() in encoder.track("u", "e", {"v": number})[0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("\ud800", "\ufffd"),
        ("a\udfffb", "a\ufffdb"),
        ("\ud83d\ude00", "😀"),
        ("\ude00\ud83dx", "\ufffd\ufffdx"),
    ],
)
def test_what_utf8_cannot_hold_is_replaced(encoder, decode, value, given, expected):
    assert value(given) == expected == without_surrogates(given)
    assert decode(encoder.track("u", given, {given: 1}))["properties"] == {expected: 1}
    assert decode(encoder.track(given, given))["event"] == expected


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (object(), "object"),
        (1j, "complex"),
        (np.complex128(1), "complex"),
        (iter([1]), "list_iterator"),
        ((x for x in [1]), "generator"),
        (map(str, [1]), "map"),
        ({"a": 1}.values(), "dict_values"),
        (print, "builtin_function_or_method"),
        (Item, "type"),
        (Model, "ModelMetaclass"),
        (Exception("x"), "Exception"),
        (Ellipsis, "ellipsis"),
        (mock.MagicMock(), "MagicMock"),
        (mock.Mock(spec=Item), "Mock"),
        (types.SimpleNamespace(a=1), "SimpleNamespace"),
        (pd.DataFrame({"a": [1]}), "DataFrame"),
    ],
    ids=map(str, itertools.count()),
)
def test_what_has_no_json_form_is_refused_by_path_and_type(encoder, given, name):
    for properties, path in (
        ({"when": given}, "properties.when"),
        ({"a": [0, {"b": (1, given)}]}, "properties.a[1].b[1]"),
        ({"a": types.MappingProxyType({"b": given})}, "properties.a.b"),
        ({"a": Item("x", typing.cast("Decimal", given))}, "properties.a.price"),
    ):
        with pytest.raises(EventError) as caught:
            encoder.track("u", "e", properties)
        assert str(caught.value) == f"{path}: a value of type {name} cannot be encoded"
        assert caught.value.reason == "unencodable"


def test_an_iterator_is_refused_unread(encoder):
    given = iter([1, 2])
    with pytest.raises(EventError):
        encoder.track("u", "e", {"v": given})
    assert list(given) == [1, 2]


@pytest.mark.parametrize(
    "key", [1, None, True, 1.5, ("a",), b"a", uuid.UUID(int=1), AT, Color.RED, Level.HIGH]
)
def test_keys_of_an_argument_that_are_no_strings_are_refused(encoder, key):
    bad = {"ok": 1, key: 2}
    for call, path in (
        (lambda: encoder.track("u", "e", bad), "properties"),
        (lambda: encoder.track("u", "e", types.MappingProxyType(bad)), "properties"),
        (lambda: encoder.track("u", "e", {}, bad), "context"),
        (lambda: encoder.track("u", "e", integrations=bad), "integrations"),
        (lambda: encoder.identify("u", bad), "traits"),
        (lambda: encoder.group("u", "g", bad), "traits"),
    ):
        with pytest.raises(EventError) as caught:
            call()
        assert str(caught.value) == f"{path}: keys must be strings"
        assert caught.value.reason == "unencodable"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (1, "1"),
        (-(10**30), "-1" + 30 * "0"),
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        (math.nan, "null"),
        (Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (AT, UTC_TEXT),
        (date(2026, 11, 23), "2026-11-23"),
        (Color.RED, "red"),
        (Color.WHEN, UTC_TEXT),
        (Level.HIGH, "3"),
        (Int(5), "5"),
        (np.int64(7), "7"),
        (ipaddress.ip_address("::1"), "::1"),
        (pathlib.PurePosixPath("/a"), "/a"),
        (pydantic.HttpUrl("https://shop.example/"), "https://shop.example/"),
    ],
    ids=map(str, itertools.count()),
)
def test_keys_further_down_are_written_as_the_same_value_would_be(encoder, decode, value, key, expected):
    assert value({key: 2, "ok": {key: [{key: 3}]}}) == {expected: 2, "ok": {expected: [{expected: 3}]}}
    assert decode(encoder.track("u", "e", {}, {"device": {key: 1}}))["context"]["device"] == {expected: 1}
    assert decode(encoder.track("u", "e", integrations={"A": {key: 1}}))["integrations"] == {
        "A": {expected: 1}
    }


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (("a",), "tuple"),
        (b"a", "bytes"),
        (frozenset({"a"}), "frozenset"),
        (object(), "object"),
        (1j, "complex"),
    ],
)
def test_keys_without_a_form_are_refused_by_the_path_of_their_container(encoder, key, name):
    for properties, path in (
        ({"products": [0, 1, {"price": {"ok": 1, key: 2}}]}, "properties.products[2].price"),
        ({"a": types.MappingProxyType({key: 2})}, "properties.a"),
    ):
        with pytest.raises(EventError) as caught:
            encoder.track("u", "e", properties)
        assert str(caught.value) == f"{path}: a key of type {name} cannot be encoded"
        assert caught.value.reason == "unencodable"


class Alike(str):
    """Text that is never equal to another."""

    __slots__ = ()
    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


@pytest.mark.parametrize(
    "given",
    [
        {1: "a", "1": "b"},
        {None: 1, "null": 2},
        dict.fromkeys(("\ud800", "\udfff"), 1),
        {"\ud83d\ude00": 1, "\U0001f600": 2},
        {Color.RED: 1, "red": 2},
        {Alike("k"): 1, Alike("k"): 2},
    ],
    ids=map(str, itertools.count()),
)
def test_two_keys_that_become_the_same_are_refused_and_neither_is_lost(encoder, given):
    with pytest.raises(EventError) as caught:
        encoder.track("u", "e", {"a": [given]})
    assert str(caught.value) == "properties.a[0]: two keys of it become the same text"
    if all(isinstance(key, str) for key in given):
        with pytest.raises(EventError, match="properties: two keys of it become the same text"):
            encoder.track("u", "e", given)


def test_a_path_shows_keys_cut_and_printable(encoder):
    with pytest.raises(EventError) as caught:
        encoder.track("u", "e", {"k" * 80: {"a\nb\u202e": {"": object()}}})
    expected = f"properties.{'k' * 50}….a?b?.: a value of type object cannot be encoded"
    assert str(caught.value) == expected


def nested(levels: int, leaf: object) -> dict[str, object]:
    inner: object = leaf
    for level in range(levels):
        inner = [inner] if level % 2 else {"a": inner}
    return {"a": inner}


def test_both_encoders_allow_the_same_depth(encoder):
    within = nested(MAX_DEPTH - 2, 1)
    encoder.track("u", "e", within)
    encoder.track("u", "e", {**within, "when": AT})
    encoder.track("u", "e", {**within, "when": [AT]})
    with pytest.raises(EventError) as caught:
        encoder.track("u", "e", nested(MAX_DEPTH - 1, 1))
    assert caught.value.reason == "unencodable"
    assert "levels deep" in str(caught.value)
    assert len(str(caught.value)) < 200


def test_a_fragment_cannot_break_a_batch_into_lines():
    orjson = pytest.importorskip("orjson")
    with pytest.raises(EventError, match="newline"):
        EventEncoder().track("u", "e", {"v": orjson.Fragment(b"[1,\n2]")})
