"""Cutting encoded events into batches that fit, to the byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from eventspool._buffering.batch import cut_batches
from eventspool._envelope import open_envelope, seal

SENT_AT = "2026-11-23T17:26:00.123Z"
EVENTS = st.lists(st.integers(2, 300).map(lambda size: b"x" * size), max_size=60)


def _body_bytes(events):
    return len(open_envelope(seal(events, compress=False)).body(SENT_AT, gzip=False))


@given(EVENTS, st.integers(60, 1_000))
def test_batches_are_the_input_each_fits_and_none_could_be_larger(events, limit):
    ranges = list(cut_batches(events, limit))
    assert [i for start, end in ranges for i in range(start, end)] == list(range(len(events)))
    for start, end in ranges:
        assert end > start
        assert _body_bytes(events[start:end]) <= limit or end - start == 1
        assert end == len(events) or _body_bytes(events[start : end + 1]) > limit


def test_a_batch_that_fits_exactly_is_not_cut():
    events = [b"x" * 100] * 7
    exact = _body_bytes(events)
    assert list(cut_batches(events, exact)) == [(0, 7)]
    assert list(cut_batches(events, exact - 1)) == [(0, 6), (6, 7)]


def test_an_event_larger_than_a_batch_stands_alone():
    assert list(cut_batches([b"x" * 10, b"x" * 5_000, b"x" * 10], 1_024)) == [(0, 1), (1, 2), (2, 3)]


def test_nothing_makes_no_batch():
    assert list(cut_batches([], 1_024)) == []
