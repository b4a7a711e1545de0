"""Every rule holds for both encoders: with orjson, and in plain Python."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from eventspool._events.encoding import dumps_fast
from eventspool._events.event import Event, EventEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAST = [True, False] if dumps_fast is not None else [False]


@pytest.fixture(params=FAST, ids=lambda fast: "orjson" if fast else "python")
def encoder(request: pytest.FixtureRequest) -> EventEncoder:
    return EventEncoder(_fast=request.param)


@pytest.fixture
def decode() -> Callable[[Event], dict[str, Any]]:
    """Return the event that a strict reader sees: no duplicate keys, no NaN, decimals kept exact."""

    def decode(event: Event) -> dict[str, Any]:
        def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
            assert len({name for name, _ in pairs}) == len(pairs)
            return dict(pairs)

        def refuse(name: str) -> None:
            pytest.fail(f"{name} is not JSON")

        assert b"\n" not in event[0]
        text = event[0].decode()
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse, parse_float=Decimal)

    return decode


@pytest.fixture
def value(encoder: EventEncoder, decode: Callable[[Event], dict[str, Any]]) -> Callable[[object], Any]:
    """Return what arrives of a value at the top of the properties, and check that it is the same further down."""

    def value(given: object) -> Any:
        event = decode(encoder.track("u", "e", {"v": given, "deep": [{"v": given}]}))
        assert event["properties"]["deep"] == [{"v": event["properties"]["v"]}]
        return event["properties"]["v"]

    return value


@pytest.fixture
def central_europe(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
