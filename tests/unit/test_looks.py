"""Into which partitions a processor looks, and when."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from eventspool._backends.partitioned.looks import HOME_POLL, POLL, Looks, find_homes

PARTS = list(range(16))


def looks(parts=PARTS, *, before=0, live=1, offset=0):
    made = Looks(offset)
    made.arrange(parts, find_homes(parts, before, live), live)
    return made


@pytest.mark.parametrize("live", [1, 2, 3, 5, 15, 16])
def test_each_partition_is_the_home_of_one_processor_and_homes_are_spread_evenly(live):
    homes = [find_homes(PARTS, before, live) for before in range(live)]
    assert sorted(part for each in homes for part in each) == PARTS
    assert max(map(len, homes)) - min(map(len, homes)) <= 1


@pytest.mark.parametrize("live", [17, 50, 200])
def test_where_there_are_more_processors_each_has_one_home_and_each_partition_some_processors(live):
    counts = Counter(find_homes(PARTS, before, live)[0] for before in range(live))
    assert set(counts) == set(PARTS)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_processor_that_is_not_counted_yet_has_a_home_all_the_same():
    assert find_homes(PARTS, 7, 0)
    assert find_homes([], 0, 1) == ()


def test_one_processor_looks_into_every_partition_before_it_says_that_there_is_nothing():
    made = looks(offset=5)
    due = made.due(0.0)
    assert sorted(due) == PARTS
    assert due[0] == 5


def test_a_partition_that_had_jobs_is_looked_into_first():
    made = looks()
    for part in PARTS:
        made.note(part, 0.0, found=part == 9, more=part == 9, wait=None)
    assert made.due(0.1) == [9]
    made.note(9, 0.1, found=False, more=False, wait=None)
    assert made.due(0.2) == []
    made.hasten(3)
    assert made.due(0.2) == [3]


def test_a_claim_that_has_found_nothing_looks_into_the_rest():
    made = looks()
    for part in PARTS:
        made.note(part, 0.0, found=False, more=False, wait=None)
    assert made.due(0.5) == []
    assert sorted(made.rest([])) == PARTS


def test_a_processor_is_back_when_a_job_comes_due():
    made = looks([1, 2])
    made.note(1, 0.0, found=False, more=False, wait=0.25)
    made.note(2, 0.0, found=False, more=False, wait=None)
    assert made.next_due(0.0) == 0.25
    assert made.due(0.3) == [1]


def test_homes_are_looked_into_within_a_second_but_for_the_one_that_wakes_the_processor():
    made = looks(before=1, live=8)
    first, second = made.homes
    for part in PARTS:
        made.note(part, 0.0, found=False, more=False, wait=None)
    assert made.due(HOME_POLL) == [second]
    assert first in made.due(POLL)


def test_a_partition_that_is_away_is_left_alone():
    made = looks([1, 2])
    made.note_away(1, 0.5)
    assert made.due(0.4) == [2]
    assert set(made.due(0.5)) == {1, 2}


@pytest.mark.parametrize("live", [1, 4, 16, 50, 200])
def test_an_idle_fleet_looks_into_each_partition_often_enough_and_not_oftener(live):
    """Each of them claims every 5 seconds. Together they must see a job anywhere, also where the homes have just died."""
    dice = random.Random(7)
    fleet = [(dice.uniform(0, POLL), looks(before=n, live=live, offset=n)) for n in range(live)]
    seen: dict[int, list[float]] = {part: [] for part in PARTS}
    for round_ in range(12):
        for phase, made in fleet:
            now = round_ * POLL + phase
            due = made.due(now)
            for part in [*due, *made.rest(due)]:
                made.note(part, now, found=False, more=False, wait=None)
                seen[part].append(now)
    for times in seen.values():
        times.sort()
        steady = [at for at in times if at >= 2 * POLL]
        assert max(b - a for a, b in pairwise(steady)) <= 5.5
    per_second = sum(len([at for at in times if at >= 2 * POLL]) for times in seen.values()) / (10 * POLL)
    assert per_second <= 120
