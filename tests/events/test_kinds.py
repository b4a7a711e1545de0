"""The table of kinds says what the event methods do."""

from __future__ import annotations

import inspect
import json

import pytest

from eventspool import Client
from eventspool._events.kinds import COMMON, KINDS

VALUES = {"properties": {"a": 1}, "traits": {"a": 1}, "context": {"a": 1}, "integrations": {"All": True}}


@pytest.mark.parametrize("kind", KINDS)
def test_each_argument_of_a_method_stands_under_its_field(encoder, kind):
    given = {**COMMON, **KINDS[kind].fields}
    if kind == "alias":
        del given["anonymousId"]
    arguments = {name: VALUES.get(name, name) for name in given.values()}
    arguments["timestamp"] = "2026-03-01T12:30:00Z"
    encoded, _ = getattr(encoder, kind)(**arguments)
    event = json.loads(encoded)
    assert event["type"] == kind
    for field, name in given.items():
        if name not in ("context", "timestamp"):
            assert event[field] == arguments[name], field


@pytest.mark.parametrize("kind", KINDS)
def test_a_method_takes_these_arguments_and_a_callback(kind):
    taken = set(inspect.signature(getattr(Client, kind)).parameters) - {"self", "callback"}
    listed = {*COMMON.values(), *KINDS[kind].fields.values()}
    assert taken == (listed - {"anonymous_id"} if kind == "alias" else listed)
