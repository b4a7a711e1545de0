"""A question that costs the queue much is asked seldom, however many pages ask it."""

from __future__ import annotations

import itertools

import pytest

from eventspool._dashboard.seldom import Seldom


class Clock:
    def __init__(self):
        self.now = 1000.0
        self.asked = itertools.count(1)

    def __call__(self):
        return self.now

    def answer(self, seconds=0.5):
        self.now += seconds
        return next(self.asked)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def seldom(clock):
    return Seldom(clock)


def test_a_question_rests_for_a_hundred_times_what_it_took(clock, seldom):
    assert seldom.ask("a", clock.answer) == 1
    clock.now += 49.0
    assert seldom.ask("a", clock.answer) == 1
    clock.now += 2.0
    assert seldom.ask("a", clock.answer) == 2


def test_a_cheap_question_is_asked_once_a_second(clock, seldom):
    answers = []
    for _ in range(30):
        answers.append(seldom.ask("a", lambda: clock.answer(0.0)))
        clock.now += 0.1

    assert answers[-1] == 4


def test_many_questions_cost_together_no_more_than_one(clock, seldom):
    """Ten filters, asked for every two seconds, for an hour."""
    start, spent = clock.now, 0.0
    while clock.now < start + 3600:
        for question in range(10):
            before = clock.now
            seldom.ask(question, clock.answer)
            spent += clock.now - before
        clock.now += 2.0

    assert spent / (clock.now - start) < 0.012


def test_after_a_change_everything_is_asked_anew(clock, seldom):
    assert [seldom.ask(question, clock.answer) for question in "ab"] == [1, 2]
    seldom.forget()

    assert [seldom.ask(question, clock.answer) for question in "ab"] == [3, 4]


def test_what_was_not_answered_is_asked_again(clock, seldom):
    def broken():
        raise ConnectionError

    with pytest.raises(ConnectionError):
        seldom.ask("a", broken)

    assert seldom.ask("a", clock.answer) == 1


def test_questions_without_end_do_not_fill_the_memory(clock, seldom):
    for question in range(1000):
        seldom.ask(question, clock.answer)

    assert len(seldom._known) == 100
