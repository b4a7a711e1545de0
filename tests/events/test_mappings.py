"""Mappings with several values for a key: no value is lost, and no key comes twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

import pytest
from starlette.datastructures import FormData, Headers, ImmutableMultiDict, QueryParams

PAIRS = [("tag", "red"), ("page", "2"), ("tag", "blue"), ("tag", "red")]
MERGED = {"tag": ["red", "blue", "red"], "page": "2"}
LISTED = {"tag": ["red", "blue", "red"], "page": ["2"]}


class Told(Mapping[str, Any]):
    """As webob's, aiohttp's and urllib3's: ``items()`` tells every pair."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs

    def items(self) -> Any:
        return iter(self.pairs)

    def getall(self, key: str) -> list[Any]:
        return [value for name, value in self.pairs if name == key]

    def __getitem__(self, key: str) -> Any:
        return dict(self.pairs)[key]

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.pairs))

    def __len__(self) -> int:
        return len(dict(self.pairs))


class Asked(Told):
    """``items()`` tells the last value of each key; the others must be asked for."""

    def items(self) -> Any:
        return dict(self.pairs).items()


class Bottled(MutableMapping[str, Any]):
    """As Bottle's forms: all pairs under a name of their own."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self._last = dict(pairs)
        self.allitems = lambda: iter(pairs)

    def allitems(self) -> Any:  # type: ignore[no-redef]
        raise AssertionError

    def __getitem__(self, key: str) -> Any:
        return self._last[key]

    def __setitem__(self, key: str, value: Any) -> None: ...

    def __delitem__(self, key: str) -> None: ...

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._last)


class Listing(dict[str, Any]):
    """As Werkzeug's and Django's: a dict of lists that shows one value of each."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__()
        for key, value in pairs:
            dict.setdefault(self, key, []).append(value)

    def __getitem__(self, key: str) -> Any:
        return dict.__getitem__(self, key)[-1]

    def items(self) -> Any:
        return [(key, self[key]) for key in self]

    def getlist(self, key: str) -> list[Any]:
        return list(dict.__getitem__(self, key))

    def lists(self) -> Any:
        return dict.items(self)


class Combined(Listing):
    """As Werkzeug's ``request.values``: a dict with nothing in it, and others behind it."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__([])
        self._behind = Listing(pairs)

    def lists(self) -> Any:
        return self._behind.lists()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Told, MERGED),
        (Asked, MERGED),
        (Bottled, MERGED),
        (Listing, LISTED),
        (Combined, LISTED),
        (ImmutableMultiDict, MERGED),
        (QueryParams, MERGED),
        (FormData, MERGED),
        (lambda pairs: Headers(raw=[(k.encode(), v.encode()) for k, v in pairs]), MERGED),
    ],
)
def test_all_values_of_a_repeated_key_arrive(encoder, decode, value, make, expected):
    assert value(make(PAIRS)) == expected
    assert decode(encoder.track("u", "e", make(PAIRS)))["properties"] == expected
    assert (
        decode(encoder.track("u", "e", {}, make(PAIRS)))["context"] | expected
        == decode(encoder.track("u", "e", {}, dict(expected)))["context"]
    )
    identified = decode(encoder.identify("u", make(PAIRS)))
    assert identified["traits"] == identified["context"]["traits"] == expected


@pytest.mark.parametrize("make", [Told, Asked, Bottled, QueryParams])
def test_keys_that_are_there_once_have_no_list(value, make):
    assert value(make([("a", "1"), ("b", "2")])) == {"a": "1", "b": "2"}


def test_values_of_a_repeated_key_may_be_of_any_kind(value):
    assert value(Told([("a", {1}), ("a", None)])) == {"a": [[1], None]}
