"""Ids, names and moments may be proxies: what they stand for is taken, or refused by its name."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest

from eventspool._exceptions import EventError


class Lazy:
    """As Django's lazy objects, Werkzeug's locals and wrapt's proxies: it claims the class of what it stands for."""

    def __init__(self, make: Any) -> None:
        object.__setattr__(self, "_make", make)

    @property
    def __class__(self) -> Any:
        return self._make().__class__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._make(), name)

    def __str__(self) -> str:
        return str(self._make())

    def __eq__(self, other: object) -> bool:
        return bool(self._make() == other)

    __hash__ = None  # type: ignore[assignment]


class Promise:
    """As Django's translations: text only when it is asked for."""

    __module__ = "django.utils.functional"

    def __str__(self) -> str:
        return "translated"


def lazy(value: object) -> Any:
    return Lazy(lambda: value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("text", "text"),
        (7, "7"),
        (7.0, "7"),
        (Decimal("1.10"), "1.10"),
        (uuid.UUID(int=3), str(uuid.UUID(int=3))),
    ],
)
def test_an_id_that_is_a_proxy_is_what_it_stands_for(encoder, decode, given, expected):
    assert decode(encoder.track(lazy(given), "e"))["userId"] == expected
    assert decode(encoder.track(None, "e", anonymous_id=lazy(given)))["anonymousId"] == expected
    assert decode(encoder.group("u", lazy(given)))["groupId"] == expected
    assert decode(encoder.alias(lazy(given), lazy(given)))["previousId"] == expected
    assert encoder.track("u", "e", message_id=lazy(given))[1] == expected


def test_names_and_moments_that_are_proxies_are_what_they_stand_for(encoder, decode):
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    for given in (moment, "2026-01-02T00:00:00Z", moment.timestamp(), int(moment.timestamp())):
        event = decode(encoder.track("u", lazy("Lazily"), timestamp=lazy(given)))
        assert (event["event"], event["timestamp"]) == ("Lazily", "2026-01-02T00:00:00.000Z")
    page = decode(encoder.page("u", Promise(), lazy("n")))
    assert (page["category"], page["name"]) == ("translated", "n")
    assert decode(encoder.track(Promise(), Promise()))["event"] == "translated"


def test_a_proxy_of_nothing_is_nothing(encoder, decode):
    assert "userId" not in decode(encoder.track(lazy(None), "e", anonymous_id="a"))
    assert "name" not in decode(encoder.page("u", name=lazy(None)))
    with pytest.raises(EventError, match="user_id or anonymous_id must be given"):
        encoder.track(lazy(None), "e")
    with pytest.raises(EventError, match="event must be given"):
        encoder.track("u", lazy(None))


@pytest.mark.parametrize(
    "make",
    [
        lambda: lazy(object()),
        lambda: lazy(True),
        lambda: lazy([1]),
        lambda: mock.Mock(spec=str),
        lambda: mock.MagicMock(spec=int),
        lambda: True,
    ],
    ids=["object", "bool", "list", "mock of text", "mock of a number", "plain bool"],
)
def test_what_is_no_id_or_name_behind_a_proxy_is_refused_by_type(encoder, make):
    given = make()
    with pytest.raises(
        EventError, match=f"^user_id: must be a string or a number, not {type(given).__name__}$"
    ):
        encoder.track(given, "e")
    with pytest.raises(EventError, match=f"^event: must be a string, not {type(given).__name__}$"):
        encoder.track("u", given)


def test_a_number_of_thousands_of_digits_is_an_id(encoder, decode):
    assert decode(encoder.track(10**5000, "e"))["userId"] == "1" + 5000 * "0"
