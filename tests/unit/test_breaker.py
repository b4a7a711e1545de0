"""The circuit breaker, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._delivery.breaker import EXCUSED, Breaker, Permission

FLOW, PROBE, HOLD = Permission.FLOW, Permission.PROBE, Permission.HOLD


@pytest.fixture
def breaker():
    return Breaker(backoff_initial=1.0, backoff_max=8.0)


def _fail(breaker, now=0.0, *, times=1, jitter=0.0, probe=False, **more):
    for _ in range(times):
        breaker.record_failure(now, jitter, probe=probe, **more)


def _probe_fails(breaker, jitter=0.0):
    """Let the next probe fail the moment it is due, and return the pause until the one after it."""
    now = breaker.opens_until
    assert breaker.permission(now) is PROBE
    breaker.begin_probe()
    _fail(breaker, now, jitter=jitter, probe=True)
    return breaker.opens_until - now


def test_at_first_all_flows(breaker):
    assert breaker.permission(0.0) is FLOW
    assert breaker.opens_until == 0.0


def test_it_opens_at_the_fifth_failure_in_a_row(breaker):
    _fail(breaker, times=4)
    assert breaker.permission(0.0) is FLOW
    _fail(breaker)
    assert breaker.is_open
    assert breaker.permission(0.0) is HOLD


def test_a_success_in_between_begins_the_count_anew(breaker):
    _fail(breaker, times=4)
    breaker.record_success(0.0, probe=False)
    _fail(breaker, times=4)
    assert breaker.permission(0.0) is FLOW


def test_an_answer_that_says_how_long_to_stay_away_opens_it_at_once_and_for_that_long(breaker):
    _fail(breaker, 100.0, retry_after=30.0)
    assert breaker.permission(129.9) is HOLD
    assert breaker.permission(130.0) is PROBE


def test_a_retry_after_of_zero_is_an_ordinary_failure(breaker):
    _fail(breaker, retry_after=0.0)
    assert breaker.permission(0.0) is FLOW


def test_a_refused_write_key_opens_it_at_once_and_a_failed_probe_keeps_it_open(breaker):
    _fail(breaker, unauthorized=True)
    assert breaker.is_open
    breaker.begin_probe()
    _fail(breaker, 10.0, probe=True)
    assert breaker.is_open


def test_one_probe_at_a_time(breaker):
    _fail(breaker, times=5)
    assert breaker.permission(breaker.opens_until) is PROBE
    breaker.begin_probe()
    assert breaker.permission(1e9) is HOLD
    breaker.cancel_probe()
    assert breaker.permission(breaker.opens_until) is PROBE


def test_the_spacing_of_probes_doubles_up_to_the_cap(breaker):
    _fail(breaker, times=5)
    assert breaker.opens_until == 1.0
    assert [_probe_fails(breaker) for _ in range(6)] == [2.0, 4.0, 8.0, 8.0, 8.0, 8.0]


@given(st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=20))
def test_probes_are_stretched_by_a_quarter_at_most_and_never_sooner(draws):
    breaker = Breaker(backoff_initial=1.0, backoff_max=8.0)
    _fail(breaker, times=5)
    for count, jitter in enumerate(draws, 1):
        bound = min(8.0, 2.0**count)
        assert bound * 0.999 <= _probe_fails(breaker, jitter) <= bound * 1.2501


def test_the_draw_stretches_a_pause_by_its_quarter(breaker):
    _fail(breaker, times=5, jitter=0.8)
    assert breaker.opens_until == pytest.approx(1.2)


def test_a_probe_that_is_asked_to_stay_away_waits_that_long(breaker):
    _fail(breaker, times=5)
    breaker.begin_probe()
    _fail(breaker, 10.0, probe=True, retry_after=600.0)
    assert breaker.opens_until == 610.0


def test_the_first_success_closes_it_and_forgets_the_outage(breaker):
    _fail(breaker, times=5, unauthorized=True)
    _probe_fails(breaker)
    breaker.begin_probe()
    breaker.record_success(20.0, probe=True)
    assert breaker.permission(20.0) is FLOW
    _fail(breaker, 30.0, times=4)
    assert breaker.permission(30.0) is FLOW
    _fail(breaker, 30.0)
    assert breaker.opens_until == 31.0, "the spacing begins small again"


def test_late_failures_of_requests_from_before_change_nothing(breaker):
    _fail(breaker, times=5)
    _probe_fails(breaker)
    before = breaker.opens_until
    _fail(breaker, 2.5, times=20, unauthorized=True)
    assert breaker.opens_until == before
    assert _probe_fails(breaker) == 4.0


def test_a_late_failure_may_still_ask_for_more_time(breaker):
    _fail(breaker, times=5)
    _fail(breaker, 0.5, retry_after=60.0)
    assert breaker.opens_until == 60.5


def test_a_late_success_closes_it(breaker):
    _fail(breaker, times=5)
    breaker.record_success(0.5, probe=False)
    assert breaker.permission(0.5) is FLOW


def test_a_late_success_does_not_end_the_time_that_the_data_plane_asked_for(breaker):
    """Of eight requests under way one is told to stay away; the other seven may still be answered."""
    _fail(breaker, 0.0, retry_after=60.0)
    breaker.record_success(0.1, probe=False)
    assert breaker.permission(59.9) is HOLD
    assert breaker.permission(60.0) is PROBE
    breaker.record_success(60.0, probe=False)
    assert breaker.permission(60.0) is FLOW


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ok", "fail", "away", "key"]), st.floats(0.0, 20.0), st.floats(0.0, 0.999)
        ),
        max_size=40,
    )
)
def test_while_open_there_is_never_more_than_one_probe_and_never_one_too_early(steps):
    breaker = Breaker(backoff_initial=0.5, backoff_max=4.0, threshold=3)
    now, probing = 0.0, False
    for kind, passed, jitter in steps:
        now += passed
        permission = breaker.permission(now)
        assert (permission is FLOW) is (not breaker.is_open)
        if permission is PROBE:
            assert not probing
            assert now >= breaker.opens_until
            breaker.begin_probe()
            probing = True
        probe, probing = probing, False
        if kind == "ok":
            breaker.record_success(now, probe=probe)
        else:
            breaker.record_failure(
                now,
                jitter,
                probe=probe,
                retry_after=5.0 if kind == "away" else None,
                unauthorized=kind == "key",
            )
            assert breaker.is_open or kind == "fail"


def _counts(breaker, now, *, attempts, probe=False):
    return breaker.record_failure(now, 0.0, probe=probe, attempts=attempts)


def test_a_job_that_failed_less_than_five_times_pays_for_every_failure(breaker):
    assert all(_counts(breaker, float(n), attempts=n) for n in range(5))
    assert breaker.is_open
    assert all(_counts(breaker, 100.0, attempts=n, probe=True) for n in range(5))


def test_a_job_that_failed_five_times_pays_no_more_while_the_data_plane_is_down(breaker):
    _fail(breaker, times=5)
    assert [_counts(breaker, 100.0, attempts=5, probe=True) for _ in range(EXCUSED)] == [False] * EXCUSED
    assert _counts(breaker, 100.0, attempts=5, probe=True), "it may be what brings the data plane down"
    breaker.record_success(101.0, probe=True)
    _fail(breaker, 101.0, times=5)
    assert not _counts(breaker, 102.0, attempts=5, probe=True), "another outage"


def test_it_pays_where_the_data_plane_has_just_taken_something_else(breaker):
    breaker.record_success(0.0, probe=False)
    assert _counts(breaker, 1.0, attempts=9)
    assert not breaker.is_open
    assert not _counts(breaker, 2.0, attempts=9), "since then, nothing good was heard"


@pytest.mark.parametrize("heard", [None, 0.0])
def test_what_failed_five_times_elsewhere_opens_it_where_nothing_good_was_heard_of_late(breaker, heard):
    """Otherwise each of many processes would take five attempts from one job."""
    if heard is not None:
        breaker.record_success(heard, probe=False)
    assert not _counts(breaker, 100.0, attempts=5)
    assert breaker.is_open


def test_a_refused_write_key_uses_up_no_excuse(breaker):
    _fail(breaker, times=2 * EXCUSED, unauthorized=True, attempts=9)
    assert not _counts(breaker, 0.0, attempts=9)


def test_who_sets_short_pauses_wants_to_know_soon_and_no_failure_is_excused():
    breaker = Breaker(backoff_initial=0.02, backoff_max=0.2)
    assert all(_counts(breaker, float(n), attempts=n) for n in range(20))


def test_it_is_excused_for_as_long_as_a_hundred_of_the_longest_pauses_take(breaker):
    """Of many processors each sends few of the probes, but all together try a job."""
    _fail(breaker, times=5)
    assert not _counts(breaker, 100.0, attempts=5, probe=True)
    assert not _counts(breaker, 100.0 + EXCUSED * 8.0 - 1, attempts=5, probe=True)
    assert _counts(breaker, 100.0 + EXCUSED * 8.0, attempts=5, probe=True)


def test_it_follows_the_queue_until_that_says_that_others_are_well(breaker):
    breaker.follow(10.0)
    assert breaker.permission(9.9) is HOLD
    assert breaker.permission(10.0) is PROBE
    _fail(breaker, 5.0)
    assert (breaker.opens_until, breaker.is_followed) == (10.0, True), (
        "one that began before says nothing new"
    )
    breaker.go_alone()
    assert (breaker.is_open, breaker.is_followed) == (True, False)
    breaker.record_success(11.0, probe=True)
    assert breaker.permission(11.0) is FLOW
