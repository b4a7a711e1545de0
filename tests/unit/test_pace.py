"""How many requests a dispatcher has under way, in virtual time."""

from __future__ import annotations

import pytest

from eventspool._delivery.attempt import Outcome
from eventspool._delivery.pace import Pace

GOOD = Outcome("j", delivered=True, answered=True)
THROTTLED = Outcome("j", throttled=True, error="the data plane answered 429")
BUSY = Outcome("j", retry_after=1.0, error="the data plane answered 503")
FAILED = Outcome("j", error="the data plane answered 503")


def _hear(pace, outcome=GOOD, now=0.0, seconds=0.05, *, times=1, jobs=1, is_down=False):
    for _ in range(times):
        requests = (("200" if outcome.answered else "503", seconds),)
        pace.note(requests, now)
        if outcome.throttled or outcome.retry_after:
            pace.note_throttled(now)
        if is_down:
            pace.restart()
        elif outcome.answered:
            pace.note_answer(requests, jobs, now)


def _rounds(pace, seconds, count, now=0.0):
    """Let *count* rounds of requests be answered after *seconds* each. Return the limits after them."""
    limits = []
    for n in range(count):
        _hear(pace, now=now + n * seconds, seconds=seconds, times=pace.limit)
        limits.append(pace.limit)
    return limits


def test_it_begins_with_one_and_doubles_with_each_good_answer():
    pace = Pace(8, fetches_ahead=True, starts_slowly=True)
    limits = []
    for _ in range(4):
        limits.append(pace.limit)
        _hear(pace)
    assert limits == [1, 2, 4, 8]


def test_where_no_other_process_begins_at_the_same_moment_it_begins_with_all():
    assert Pace(8, fetches_ahead=True).limit == 8


@pytest.mark.parametrize("warning", [THROTTLED, BUSY])
def test_it_halves_once_for_the_requests_that_were_under_way_together(warning):
    pace = Pace(8, fetches_ahead=True)
    _hear(pace, warning, times=8)
    assert pace.limit == 4
    _hear(pace, warning, now=2.0, times=4)
    assert pace.limit == 2


def test_it_never_stops_altogether():
    pace = Pace(8, fetches_ahead=True)
    for n in range(20):
        _hear(pace, THROTTLED, now=2.0 * n)
    assert (pace.limit, pace.capacity) == (1, 1)


def test_from_there_it_grows_by_about_one_a_round():
    pace = Pace(8, fetches_ahead=True)
    _hear(pace, THROTTLED)
    assert _rounds(pace, 0.05, 5, now=1.0) == [4, 5, 6, 7, 8] or _rounds(pace, 0.05, 5, now=1.0)[-1] == 8
    assert pace.limit == 8


def test_a_plain_failure_changes_nothing():
    pace = Pace(8, fetches_ahead=True)
    _hear(pace, FAILED, times=4)
    assert pace.limit == 8


def test_after_an_outage_it_begins_with_one_and_doubles_every_half_second():
    pace = Pace(8, fetches_ahead=True)
    _hear(pace, FAILED, times=5, is_down=True)
    assert pace.limit == 1
    limits = {}
    for tenth in range(21):
        _hear(pace, now=100 + tenth / 10)
        limits[tenth] = pace.limit
    assert [limits[t] for t in (0, 4, 5, 9, 10, 20)] == [2, 2, 4, 4, 8, 8]


def test_it_shrinks_where_requests_take_longer_and_longer_and_grows_again_when_that_is_usual():
    pace = Pace(8, fetches_ahead=True)
    _rounds(pace, 0.2, 20)
    assert pace.limit == 8
    _rounds(pace, 1.0, 6)
    assert pace.limit < 5
    _rounds(pace, 1.0, 200)
    assert pace.limit == 8


def test_quick_answers_never_shrink_it_however_much_they_differ():
    pace = Pace(8, fetches_ahead=True)
    _rounds(pace, 0.002, 20)
    _rounds(pace, 0.1, 20)
    assert pace.limit == 8


def test_a_larger_request_takes_longer_for_what_it_is():
    pace = Pace(8, fetches_ahead=True)
    for n in range(10):
        _hear(pace, seconds=0.2 * 2**n, jobs=2**n, times=16)
    assert pace.limit == 8


def test_nothing_is_fetched_ahead_while_fewer_than_all_are_sent():
    pace = Pace(8, fetches_ahead=True)
    _hear(pace, times=8)
    assert pace.capacity == 16
    _hear(pace, THROTTLED, seconds=0.05)
    assert pace.capacity == 4
