"""Events that pass others are noticed, but for the probe that found the data plane alive again."""

from __future__ import annotations

import pytest

from torture.history import History
from torture.order import overtakings
from torture.verdict import Window


def arrived(*numbers: int, thread: str = "p1.0") -> History:
    """Return a history in which a thread's events arrived in this order, one each tenth of a second from 10.0 on."""
    history = History()
    for number in sorted(numbers):
        history.hear(f"1.0 i event-{thread}.{number} d")
    for place, number in enumerate(numbers):
        history.arrive(f"{10.0 + place / 10} event-{thread}.{number} d b")
    return history


def test_what_comes_in_sequence_passes_nothing_even_where_some_is_missing_or_comes_again():
    history = arrived(0, 1, 4, 9, 10)
    history.arrive("12.0 event-p1.0.4 d b")
    assert not overtakings(history, [])


def test_threads_have_no_order_among_them():
    history = arrived(5, 6)
    history.arrivals |= arrived(1, 2, thread="p1.1").arrivals
    assert not overtakings(history, [])


@pytest.mark.parametrize(
    ("numbers", "passing"), [((0, 2, 1, 3), 1), ((3, 0, 1, 2), 1), ((1, 2, 3, 0), 3), ((3, 2, 1, 0), 3)]
)
def test_each_request_that_passes_another_is_noticed(numbers, passing):
    assert len(overtakings(arrived(*numbers), [])) == passing


def test_events_mixed_up_within_a_request_are_noticed():
    history = arrived()
    for number in (1, 0):
        history.hear(f"1.0 i event-p1.0.{number} d")
        history.arrive(f"10.0 event-p1.0.{number} d b")
    assert overtakings(history, []) == ["event-p1.0.1 passed others at 10.00"]


@pytest.mark.parametrize(("moment", "excused"), [(9.9, False), (10.0, True), (11.9, True), (12.1, False)])
def test_the_probe_that_found_the_data_plane_alive_may_pass(moment, excused):
    history = arrived(3, 0, 1, 2)
    history.hear(f"{moment} c w1")
    assert overtakings(history, []) == ([] if excused else ["event-p1.0.3 passed others at 10.00"])


@pytest.mark.parametrize(("moment", "excused"), [(9.9, False), (10.2, True), (10.7, False)])
def test_a_kill_excuses_one_request_that_came_just_before_it(moment, excused):
    kill = Window("kill-worker", moment, moment, hits=1)
    assert len(overtakings(arrived(3, 0, 1, 2), [kill])) == (not excused)
    assert len(overtakings(arrived(2, 3, 0, 1), [kill])) == 2 - excused


@pytest.mark.parametrize(
    ("fault", "excused"),
    [("plane-took-it-silently", True), ("plane-link-reset", True), ("plane-413", True), ("plane-503", False)],
)
def test_around_faults_that_lose_answers_or_cut_batches_nothing_can_be_said(fault, excused):
    history = arrived(1, 2, 3, 0)
    assert bool(overtakings(history, [Window(fault, 9.0, 10.5, hits=1)])) != excused
    assert overtakings(history, [Window(fault, 5.0, 7.5, hits=1)])
