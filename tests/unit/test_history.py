"""What a queue notes of itself once a minute."""

from __future__ import annotations

import json

import pytest

from eventspool._backends.memory import MemoryBackend
from eventspool._delivery.diary import Diary
from eventspool._distribution import LAG_BOUNDS, Distribution, Tally, add_up, percentile, read_distribution
from eventspool._exceptions import QueueUnavailable
from eventspool._fleet import ProcessorInfo
from eventspool._heartbeat import Heartbeat
from eventspool._history import JOURNAL, Minute, lag_between, read_minute, write_minute

MINUTE = Minute(5, 1, 3, 400, 2.5, 2, 100, 94, 1, 0.2, 0.9, 1.5)


def tally(*seconds: float) -> Distribution:
    counted = Tally(LAG_BOUNDS)
    for each in seconds:
        counted.add(each)
    found = read_distribution(LAG_BOUNDS, counted.note())
    assert found is not None
    return found


def test_a_percentile_lies_between_the_bounds_where_the_times_fell():
    some = tally(*[0.05] * 90, *[2.0] * 9, 200_000.0)

    assert percentile(some, 0.5) == pytest.approx(0.1 * 50 / 90)
    assert 1.0 < percentile(some, 0.95) <= 2.5
    assert percentile(some, 1.0) == LAG_BOUNDS[-1]
    assert percentile(tally(), 0.5) is None


def test_the_lag_of_several_processors_is_that_of_all_their_batches():
    slow, quick = tally(*[20.0] * 10), tally(*[0.01] * 990)
    together = add_up([slow, quick])

    assert together is not None
    assert percentile(together, 0.5) < 0.1
    assert 10.0 < percentile(together, 0.995) <= 30.0


def test_the_lag_counts_what_was_delivered_since_the_last_look():
    old = ProcessorInfo("old", started_at=0.0, lag_seconds=tally(0.05, 50.0))
    new = ProcessorInfo("new", started_at=120.0, lag_seconds=tally(0.05))
    unseen = ProcessorInfo("unseen", started_at=0.0, lag_seconds=tally(50.0))
    found = lag_between({"old": tally(0.05)}, [old, new, unseen, ProcessorInfo("silent")], since=100.0)

    assert found is not None
    assert found.counts == tally(50.0, 0.05).counts
    assert lag_between({}, [unseen], since=100.0) is None


def test_a_note_is_read_as_it_was_written_and_is_small():
    assert read_minute(write_minute(MINUTE)) == MINUTE
    largest = Minute(*[10**15] * 4, 1e9, *[10**12] * 4, 1e9, 1e9, 1e9)
    assert len(write_minute(largest)) < 400


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 2000,
        b"x" * 9000,
        *(
            json.dumps({**json.loads(write_minute(MINUTE)), "jobs": wrong}).encode()
            for wrong in (-1, True, "3", 1e30, 1.5)
        ),
    ],
)
def test_what_is_no_note_is_left_out(note):
    assert read_minute(note) is None


class Shared(MemoryBackend):
    shared = True
    is_away = False
    looks = 0

    def stats(self):
        self.looks += 1
        if self.is_away:
            raise QueueUnavailable("away")
        return super().stats()

    def processors(self):
        heartbeat = Heartbeat("host", 1, 0.0)
        heartbeat.add_delivery(1.0, 1.4)
        return [("t", 0.0, heartbeat.note(in_flight=0, sent=1, retried=0, paused=False))]


def minutes(backend: Shared) -> list[Minute | None]:
    return [read_minute(entry.body) for entry in backend.journal(JOURNAL, limit=10)]


def test_of_several_processors_one_notes_a_minute():
    backend = Shared()
    diaries = [Diary(backend, lambda: 0.5) for _ in range(3)]
    for diary in diaries:
        diary.turn(0.0)
    assert backend.looks == 0  # it has only just started
    for diary in diaries:
        diary.turn(30.0)

    [minute] = minutes(backend)
    assert minute is not None
    assert backend.looks == 1
    assert minute.processors == 0


def test_a_queue_that_is_away_costs_a_diary_its_turn_and_nothing_else():
    backend = Shared()
    backend.is_away = True
    diary = Diary(backend, lambda: 0.0)
    for now in (0.0, 5.0, 6.0):
        diary.turn(now)
    assert (backend.looks, minutes(backend)) == (1, [])
    backend.is_away = False
    diary.turn(65.0)
    assert len(minutes(backend)) == 1


def test_a_store_of_an_older_release_has_no_history():
    backend = Shared()
    backend.append = None  # type: ignore[assignment,method-assign]
    diary = Diary(backend, lambda: 0.0)
    for now in (0.0, 60.0):
        diary.turn(now)
    assert backend.looks == 0
