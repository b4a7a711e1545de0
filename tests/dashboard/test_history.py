"""The samples behind the charts: one a second at most, and only while a page is open."""

from __future__ import annotations

import pytest

from eventspool import Depth, QueueStats
from eventspool._backends.condition import Condition
from eventspool._dashboard.history import History, Look, rates, recent_answers
from eventspool._fleet import ProcessorInfo


class Queue:
    """A queue that counts how often it is looked at."""

    _opts = None

    def __init__(self):
        self.now = 1000.0
        self.looks = 0
        self.stored = QueueStats()
        self.found = []

    def stats(self):
        self.looks += 1
        return self.stored

    def processors(self):
        return self.found

    def partitions(self):
        return []

    def condition(self):
        return Condition()


@pytest.fixture
def queue():
    return Queue()


@pytest.fixture
def history(queue):
    return History(queue, clock=lambda: queue.now)


def test_nobody_looks_and_the_queue_is_left_alone(queue, history):
    queue.now += 3600

    assert queue.looks == 0


def test_many_pages_share_one_look_a_second(queue, history):
    for _ in range(100):
        history.look()
        queue.now += 0.01

    assert queue.looks == 2
    assert len(history.samples()) == 2


def test_after_a_change_the_look_is_fresh_but_no_sample_more_is_taken(queue, history):
    history.look()
    queue.now += 0.01
    queue.stored = QueueStats(paused=True)

    assert history.look(fresh=True).stats.paused
    assert len(history.samples()) == 1


def test_rates_are_differences_of_totals(queue, history):
    history.look()
    queue.now += 2.0
    queue.stored = QueueStats(accepted_events=50, delivered_events=20, waiting=Depth(1, 30, 900))
    history.look()
    first, second = history.samples()

    assert (first.into, first.out) == (None, None)
    assert (second.into, second.out, second.pending) == (25.0, 10.0, 30)


@pytest.mark.parametrize(("seconds", "accepted"), [(60.0, 10), (1.0, -10), (0.0, 10), (-1.0, 10)])
def test_there_is_no_rate_over_a_gap_a_new_queue_or_a_clock_set_back(seconds, accepted):
    before = Look(100.0, QueueStats(accepted_events=100), ())
    after = Look(100.0 + seconds, QueueStats(accepted_events=100 + accepted), ())

    assert rates(before, after) == (None, None)


def test_five_minutes_are_kept(queue, history):
    for _ in range(400):
        history.look()
        queue.now += 1.0

    assert len(history.samples()) == 300


def test_the_answers_of_all_processors_are_counted_but_not_those_of_a_silent_one():
    beats = [
        ProcessorInfo("t", seen_at=100.0, statuses={"200": 3, "503": 1}),
        ProcessorInfo("u", seen_at=98.0, statuses={"200": 1, "timeout": 2}),
        ProcessorInfo("v", seen_at=80.0, statuses={"401": 9}),
    ]

    assert recent_answers(beats) == {"200": 4, "503": 1, "timeout": 2}
    assert recent_answers(beats[2:]) == {"401": 9}
    assert recent_answers([]) == {}


def test_what_a_broken_queue_raises_is_passed_on_and_the_next_look_tries_again(queue, history):
    def broken():
        raise ConnectionError

    healthy, queue.stats = queue.stats, broken
    with pytest.raises(ConnectionError):
        history.look()
    queue.stats = healthy

    assert history.look().stats == QueueStats()
