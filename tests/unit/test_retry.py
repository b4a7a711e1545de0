"""Backoff with full jitter, and the two conditions for giving up."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._retry import backoff_bound, compute_backoff, is_exhausted

SECONDS = st.floats(min_value=0.001, max_value=1e6)
JITTER = st.floats(min_value=0.0, max_value=1.0, exclude_max=True)


@given(st.integers(1, 10_000), SECONDS, SECONDS, JITTER)
def test_a_wait_is_drawn_from_the_whole_of_a_doubling_capped_bound(failures, initial, maximum, jitter):
    bound = min(maximum, initial * 2.0 ** min(failures - 1, 63))
    assert backoff_bound(failures, initial, maximum) == bound
    assert compute_backoff(failures, initial, maximum, jitter) == jitter * bound


@given(st.integers(1, 100), SECONDS, SECONDS, JITTER, st.floats(min_value=0.0, max_value=3600.0))
def test_a_wait_is_never_shorter_than_the_data_plane_asked(failures, initial, maximum, jitter, asked):
    wait = compute_backoff(failures, initial, maximum, jitter, asked)
    assert wait >= asked
    assert wait in (asked, compute_backoff(failures, initial, maximum, jitter))


def test_the_bounds_double_up_to_the_cap():
    assert [backoff_bound(n, 1.0, 30.0) for n in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


def test_no_failure_at_all_has_the_first_bound():
    assert backoff_bound(0, 1.0, 30.0) == 1.0


@pytest.mark.parametrize(("attempts", "age"), [*itertools.product([9, 10, 11], [59.9, 60.0, 1e9])])
def test_a_job_is_given_up_only_when_it_failed_often_enough_and_is_old_enough(attempts, age):
    assert is_exhausted(attempts, 10, age, 60.0) is (attempts >= 10 and age >= 60.0)


def test_attempts_alone_decide_without_retry_for():
    assert is_exhausted(10, 10, 0.0, 0.0)
    assert not is_exhausted(9, 10, 1e9, 0.0)


def test_a_job_of_a_producer_whose_clock_runs_ahead_is_given_up_like_a_new_one():
    assert is_exhausted(10, 10, -5.0, 0.0)
    assert not is_exhausted(10, 10, -5.0, 1.0)
