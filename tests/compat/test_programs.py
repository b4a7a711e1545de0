"""Programs of the SDKs run with their import changed, and their events arrive equal but for what a page lists."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from functools import cache

import pytest

from compat.pages import names, table
from compat.programs_of_peers import MODULES, RUNS, recorded, run_program

ABSENT = "absent"
_MILLISECOND = timedelta(milliseconds=1)

FIELDS = {
    "context.library": lambda theirs, ours: ours["name"] == "eventspool",
    "timestamp": lambda theirs, ours: (
        abs(datetime.fromisoformat(theirs) - datetime.fromisoformat(ours)) < _MILLISECOND
        and ours.endswith("Z")
    ),
    "originalTimestamp": lambda theirs, ours: theirs == ABSENT and ours != ABSENT,
    "channel": lambda theirs, ours: (theirs, ours) == (ABSENT, "server"),
    "userId": lambda theirs, ours: (theirs, ours) == (None, ABSENT),
    "anonymousId": lambda theirs, ours: (theirs, ours) == (None, ABSENT),
    "category": lambda theirs, ours: (theirs, ours) == (None, ABSENT),
    "name": lambda theirs, ours: (theirs, ours) == (None, ABSENT),
    "context.traits": lambda theirs, ours: theirs == ABSENT and isinstance(ours, dict),
    "traits": lambda theirs, ours: theirs == ABSENT and isinstance(ours, dict),
    "groupId": lambda theirs, ours: ours == str(theirs),
    "previousId": lambda theirs, ours: ours == str(theirs),
}
"""How a field may differ that a page lists."""


@cache
def differences(sdk, program):
    """Return field -> pairs of what the SDK sent and what the face sends; and what the two printed."""
    theirs, ours = recorded(sdk, program), run_program(sys.executable, sdk, program, changes_import=True)
    assert len(theirs.events) == len(ours.events)
    assert ours.printed == theirs.printed
    found: dict[str, list[tuple[object, object]]] = {}
    for one, other in zip(theirs.events, ours.events, strict=True):
        compare(one, other, "", found)
    return found


def compare(theirs, ours, path, found):
    for name in {*theirs, *ours}:
        one, other = theirs.get(name, ABSENT), ours.get(name, ABSENT)
        if name in ("context", "properties") and path == "":
            compare(one, other, f"{name}.", found)
        elif one != other or type(one) is not type(other):
            found.setdefault(path + name, []).append((one, other))


@pytest.mark.parametrize(("sdk", "program"), RUNS)
def test_events_arrive_equal_but_for_what_the_page_lists(sdk, program):
    listed = {names(row[0])[0] for row in table(sdk, "Fields that arrive differently")}
    values = {names(row[0])[0] for row in table(sdk, "Values that arrive differently")}
    for field, pairs in differences(sdk, program).items():
        if field.startswith("properties."):
            assert field.removeprefix("properties.") in values
            assert all(theirs == ABSENT and ours != ABSENT for theirs, ours in pairs), field
        else:
            assert field in listed
            assert all(FIELDS[field](*pair) for pair in pairs), (field, pairs)


@pytest.mark.parametrize("sdk", MODULES)
def test_every_difference_that_a_page_lists_is_there(sdk):
    listed = {names(row[0])[0] for row in table(sdk, "Fields that arrive differently")}
    listed |= {f"properties.{names(row[0])[0]}" for row in table(sdk, "Values that arrive differently")}

    assert listed == {field for each, program in RUNS if each == sdk for field in differences(sdk, program)}


@pytest.mark.parametrize("sdk", MODULES)
def test_the_recorded_events_are_some_of_each_kind(sdk):
    """What is compared with nothing is equal to it."""
    kinds = {
        event["type"] for each, program in RUNS if each == sdk for event in recorded(sdk, program).events
    }

    assert kinds == {"identify", "track", "page", "screen", "group", "alias"}
