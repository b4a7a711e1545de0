"""For how long a partition is left alone that could not be reached, or whose replicas confirm nothing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from eventspool._backends.partitioned import member as module
from eventspool._backends.partitioned.member import Member
from eventspool._backends.partitioned.ring import Part
from eventspool._exceptions import QueueUnavailable, Unconfirmed


class Clock:
    """A time that only calls take."""

    def __init__(self):
        self.now = 1000.0

    def fail(self, seconds, error):
        self.now += seconds
        raise error


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


@pytest.fixture
def member(clock):
    return Member(Part(1, 4, 2), backend=None)


def fail(member, clock, seconds, error=QueueUnavailable):
    with pytest.raises(error):
        member.ask(clock.fail, seconds, error("away"))


def test_the_more_often_it_fails_the_longer_it_is_left_alone(member, clock):
    pauses = []
    for _ in range(6):
        fail(member, clock, 2.0)
        pauses.append(member.away_until - clock.now)
    assert pauses == [2.0, 4.0, 6.0, 8.0, 8.0, 8.0]
    assert member.is_away
    assert member.is_left_alone(clock.now)
    assert not member.takes_commits(clock.now)
    clock.now = member.away_until
    assert not member.is_left_alone(clock.now)
    assert member.ask(lambda: "answer") == "answer"
    fail(member, clock, 2.0)
    assert member.away_until - clock.now == 2.0


def test_a_quick_failure_pauses_it_a_little_and_a_slow_one_not_for_ever(member, clock):
    fail(member, clock, 0.0)
    assert member.away_until - clock.now == 0.5
    for _ in range(5):
        fail(member, clock, 10.0)
    assert member.away_until - clock.now == 15.0


def test_one_whose_replicas_confirm_nothing_is_there_and_takes_no_commit_for_as_long_as_that_took(
    member, clock
):
    fail(member, clock, 2.0)
    fail(member, clock, 1.0, Unconfirmed)
    assert not member.is_away
    assert not member.is_left_alone(clock.now)
    assert not member.takes_commits(clock.now + 0.9)
    assert member.takes_commits(clock.now + 1.0)
