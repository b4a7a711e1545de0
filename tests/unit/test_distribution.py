"""How times are counted between bounds, and how these counts are read."""

from __future__ import annotations

import json

import pytest

from eventspool._distribution import LAG_BOUNDS, REQUEST_BOUNDS, Distribution, Tally, read_distribution


def test_a_time_counts_up_to_its_bound_which_is_included():
    tally = Tally((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 2.0, 2.5):
        tally.add(seconds)

    found = read_distribution((1.0, 2.0), json.loads(json.dumps(tally.note())))
    assert found == Distribution((1.0, 2.0), (2, 2, 1), 7.5)
    assert found.count == 5


def test_clocks_that_disagree_make_no_time_negative():
    tally = Tally(LAG_BOUNDS)
    tally.add(-3.0)

    assert read_distribution(LAG_BOUNDS, tally.note()) == Distribution(
        LAG_BOUNDS, (1, *[0] * len(LAG_BOUNDS)), 0.0
    )


@pytest.mark.parametrize("bounds", [LAG_BOUNDS, REQUEST_BOUNDS])
def test_every_bound_is_read_as_it_was_written(bounds):
    tally = Tally(bounds)
    for bound in bounds:
        tally.add(bound)

    assert read_distribution(bounds, tally.note()).counts == (*[1] * len(bounds), 0)


def test_what_a_release_with_other_bounds_has_counted_goes_up_to_the_next_bound():
    note = {"total": 9.0, "counts": {"0.5": 1, "1.5": 2, "7": 3}}

    assert read_distribution((1.0, 2.0), note).counts == (1, 2, 3)


@pytest.mark.parametrize(
    "note",
    [
        None,
        [],
        {},
        {"total": 1.0},
        {"total": "1", "counts": {}},
        {"total": True, "counts": {}},
        {"total": -1.0, "counts": {}},
        {"total": float("nan"), "counts": {}},
        {"total": float("inf"), "counts": {}},
        {"total": 1.0, "counts": {"fast": 1}},
        {"total": 1.0, "counts": {"1": -1}},
        {"total": 1.0, "counts": {"1": True}},
        {"total": 1.0, "counts": {"1": 1 << 70}},
    ],
)
def test_rubbish_is_read_as_nothing(note):
    assert read_distribution((1.0, 2.0), note) is None
