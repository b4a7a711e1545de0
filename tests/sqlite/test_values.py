"""What values become on their way into the file and out of it; SQLite takes anything in any column."""

from __future__ import annotations

import pytest

from eventspool._backends.sqlite.values import MAX_COUNT, as_bytes, as_count, as_text, micros


@pytest.mark.parametrize(
    ("stored", "count"),
    [
        (0, 0),
        (7, 7),
        (7.9, 7),
        (-1, 0),
        (MAX_COUNT, MAX_COUNT),
        (MAX_COUNT + 1, MAX_COUNT),
        (float("inf"), MAX_COUNT),
        (float("-inf"), 0),
        (float("nan"), 0),
        (None, 0),
        ("7", 0),
        (b"8", 0),
    ],
)
def test_a_count_is_never_negative_nor_beyond_belief(stored, count):
    assert as_count(stored) == count


@pytest.mark.parametrize(
    ("stored", "payload"), [(None, None), (b"", b""), (b"\xff", b"\xff"), ("é", "é".encode()), (7, b"7")]
)
def test_whatever_stands_for_a_payload_is_bytes_or_nothing(stored, payload):
    assert as_bytes(stored) == payload


def test_text_that_cannot_be_stored_is_replaced():
    assert as_text("é\ud800") == "é?"
    assert as_text(7) == "7"


def test_times_are_whole_microseconds():
    assert micros(1.5) == 1_500_000
