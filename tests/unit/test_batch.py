"""Cutting encoded events into batches that fit, to the byte."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eventspool._buffering.batch import count_fitting
from eventspool._delivery.body import make_body
from eventspool._envelope import open_envelope, seal

SENT_AT = "2026-11-23T17:26:00.123Z"
EVENTS = st.lists(st.integers(2, 300).map(lambda size: b"x" * size), max_size=60)


def _body_bytes(events):
    return len(make_body([open_envelope(seal(events, compress=False))], SENT_AT, gzip=False))


def _batches(events, limit, guess=0):
    batches = []
    while events:
        count = count_fitting(events, limit, guess)
        batches.append(events[:count])
        events = events[count:]
    return batches


@given(EVENTS, st.integers(60, 1_000), st.integers(0, 100))
def test_batches_are_the_input_each_fits_and_none_could_be_larger(events, limit, guess):
    batches = _batches(events, limit, guess)
    assert [event for batch in batches for event in batch] == events
    for batch in batches:
        assert batch
        assert _body_bytes(batch) <= limit or len(batch) == 1
    for batch, following in pairwise(batches):
        assert _body_bytes([*batch, following[0]]) > limit


def test_a_batch_that_fits_exactly_is_not_cut():
    events = [b"x" * 100] * 7
    exact = _body_bytes(events)
    assert [len(batch) for batch in _batches(events, exact)] == [7]
    assert [len(batch) for batch in _batches(events, exact - 1)] == [6, 1]


def test_an_event_larger_than_a_batch_stands_alone():
    assert [len(batch) for batch in _batches([b"x" * 10, b"x" * 5_000, b"x" * 10], 1_024)] == [1, 1, 1]


def test_nothing_makes_no_batch():
    assert count_fitting([], 1_024) == count_fitting([], 1_024, guess=7) == 0


def test_a_guess_that_another_thread_spoils_is_dropped():
    class Changing(list):
        def __iter__(self):
            raise RuntimeError("deque mutated during iteration")

    assert count_fitting(Changing([b"x" * 100] * 7), 360, guess=2) == 3
