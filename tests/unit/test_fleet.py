"""What all processors of a queue know together, in virtual time: pure arithmetic."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._backends.fleet import Budget, Doubt, FleetState, Holding, micros
from eventspool._backends.rules import BURST, FAILURES, LIMITED_POLL, LONGEST_HOLD, PROBE_PAUSE, PROBE_PERMIT
from eventspool._fleet import Trouble
from eventspool._retry import backoff_bound

WHY = "the data plane answered 503"
BEGIN = 1_700_000_000_000_000


def _trouble(**more):
    return Trouble(WHY, **{"pause": 1.0, "longest_pause": 30.0, **more})


def _down(now=BEGIN, **more):
    """Return the state when five failures were told of."""
    trouble = _trouble(failures=FAILURES, **more)
    return FleetState().hear("t", trouble, is_probe=False, answered=0, now=now)


def _probe(state, now, token="p"):
    """Have *token* probe at *now* and fail. Return the state, and whether that was free."""
    admission, holding = state.holding.admit(token, now)
    assert admission.wait == 0
    after = FleetState(holding).hear(token, _trouble(), is_probe=True, answered=0, now=now)
    return after, admission.is_free


def test_probes_come_five_seconds_apart_and_those_cost_that_a_lone_processor_would_have_sent():
    state, now = _down(), BEGIN
    moments, paid = [], []
    for _ in range(100):
        now = state.holding.until
        moments.append((now - BEGIN) / 1e6)
        state, is_free = _probe(state, now)
        if not is_free:
            paid.append((now - BEGIN) / 1e6)
    gaps = [round(b - a, 3) for a, b in itertools.pairwise(moments)]
    assert moments[0] == 1.0
    assert gaps[:2] == [2.0, 4.0]
    assert set(gaps[2:]) == {PROBE_PAUSE}
    bounds = [backoff_bound(n, 1.0, 30.0) for n in range(2, len(paid) + 1)]
    assert all(
        gap >= bound for gap, bound in zip([b - a for a, b in itertools.pairwise(paid)], bounds, strict=True)
    )
    assert len(paid) < 25, "of a hundred"


def test_a_prober_that_dies_is_followed_by_another_one():
    holding = _down().holding
    _, holding = holding.admit("dead", holding.until)
    waiting, _ = holding.admit("next", holding.until + micros(PROBE_PERMIT) - 1)
    assert waiting.wait == 1
    after, _ = holding.admit("next", holding.until + micros(PROBE_PERMIT))
    assert after.wait == 0


def test_what_a_prober_hears_after_its_permit_is_no_news_of_the_probe():
    holding = _down().holding
    start = holding.until
    _, holding = holding.admit("slow", start)
    _, holding = holding.admit("next", start + micros(PROBE_PERMIT))
    state = FleetState(holding)
    late = state.hear("slow", _trouble(), is_probe=True, answered=0, now=start + micros(10))
    assert late == state
    good = state.hear("slow", None, is_probe=True, answered=0, now=start + micros(10))
    assert good == FleetState()


def test_failures_are_in_a_row_where_nothing_was_delivered_since_the_first():
    state = FleetState()
    for n in range(FAILURES - 1):
        state = state.hear("t", _trouble(), is_probe=False, answered=BEGIN - 1, now=BEGIN + n)
    assert state.holding is None
    again = state.hear("t", _trouble(), is_probe=False, answered=BEGIN + 1, now=BEGIN + 100)
    assert (again.holding, again.doubt) == (None, Doubt(1, BEGIN + 100))
    assert state.hear("t", _trouble(), is_probe=False, answered=BEGIN, now=BEGIN + 100).holding


def test_a_delivery_in_another_partition_ends_no_holding():
    state = _down()
    assert state.hear("", None, is_probe=False, answered=BEGIN, now=BEGIN + micros(1)) == state


def test_only_a_probe_ends_the_time_that_the_data_plane_has_asked_for():
    state = _down(retry_after=20.0)
    assert state.holding.until == BEGIN + micros(20)
    args = {"answered": 0, "now": BEGIN + micros(1)}
    assert state.hear("t", None, is_probe=False, **args) == state
    assert state.hear("t", None, is_probe=True, **args) == FleetState()
    assert state.hear("t", None, is_probe=False, answered=0, now=BEGIN + micros(20)) == FleetState()


def test_a_later_answer_may_ask_for_more_time_and_never_for_less():
    state = _down(retry_after=20.0)
    for seconds, until in ((5.0, 20.0), (40.0, 41.0)):
        after = state.hear(
            "t", _trouble(retry_after=seconds), is_probe=False, answered=0, now=BEGIN + micros(1)
        )
        assert after.holding.until == BEGIN + micros(until)


def test_a_hold_that_would_hardly_end_is_damaged_and_ignored():
    holding = _down(now=BEGIN + micros(LONGEST_HOLD) + micros(10)).holding
    assert not holding.is_believable(BEGIN)
    assert FleetState(holding).hear("t", _trouble(), is_probe=False, answered=0, now=BEGIN).holding is None


def test_one_that_leaves_is_not_waited_for():
    holding = _down().holding
    _, holding = holding.admit("t", holding.until)
    assert FleetState(holding).forget("u").holding == holding
    admission, _ = FleetState(holding).forget("t").holding.admit("u", holding.until)
    assert admission.wait == 0


@pytest.mark.parametrize("why", [WHY, "", "a:b:c", "line\nbreak", "x" * 1000])
def test_a_hold_is_read_as_it_was_written(why):
    holding = (
        FleetState().hear("t", Trouble(why, 1.0, 30.0, 9), is_probe=False, answered=0, now=BEGIN).holding
    )
    assert Holding.read(holding.write()) == holding


@given(
    st.one_of(
        st.none(),
        st.text(),
        st.binary(),
        st.integers(),
        st.just("1:2:3"),
        st.just("9" * 40 + ":1:1:1:1:1::x"),
    )
)
def test_what_is_damaged_reads_as_nothing(stored):
    assert Holding.read(stored) is None
    assert isinstance(Doubt.read(stored), Doubt)


# The rate


def _spend(sizes, rate, seconds, step=0.05):
    """Return when each job goes, in seconds, where one asks every *step* seconds."""
    budget, now, went, left = Budget(rate, 0), BEGIN, [], list(sizes)
    while left and now < BEGIN + micros(seconds):
        count, budget, wait = budget.take(left, now)
        assert (wait > 0) == (count < len(left))
        went += [(now - BEGIN) / 1e6] * count
        left = left[count:]
        now += micros(step)
    return went


def test_after_a_silence_a_seconds_worth_goes_at_once_and_then_the_rate():
    went = _spend([10] * 100, rate=100.0, seconds=60.0)
    assert went.count(0.0) == 10 * BURST
    assert went[-1] == pytest.approx((100 * 10 - 100) / 100.0, abs=0.2)


def test_a_job_larger_than_the_burst_goes_when_all_is_paid_and_the_next_ones_wait_for_it():
    assert _spend([500, 1, 500], rate=100.0, seconds=60.0) == pytest.approx([0.0, 4.05, 5.05], abs=0.11)


@given(st.lists(st.integers(0, 300), min_size=1, max_size=50), st.floats(0.5, 1000.0))
def test_over_any_time_no_more_goes_than_the_rate_and_one_burst(sizes, rate):
    budget, now, sent = Budget(rate, 0), BEGIN, 0
    largest = max(sizes)
    left = list(sizes)
    while left:
        count, budget, wait = budget.take(left, now)
        sent += sum(left[:count])
        left = left[count:]
        elapsed = (now - BEGIN) / 1e6
        assert sent <= rate * (elapsed + BURST) + largest + 1
        if left:
            assert wait >= micros(LIMITED_POLL)
            now += wait


def test_every_job_goes_in_the_end():
    for rate in (0.01, 1.0, 1e6):
        budget, now, left = Budget(rate, 0), BEGIN, [900] * 5
        for _ in range(50):
            count, budget, wait = budget.take(left, now)
            left, now = left[count:], now + wait
        assert not left


def test_a_damaged_budget_does_not_stop_delivery_for_ever():
    _, budget, wait = Budget(100.0, 10**18).take([1], BEGIN)
    assert wait <= 10**12
    assert budget.paid <= BEGIN + 10**12
