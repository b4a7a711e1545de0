"""Repeats beyond what a kill or a lost answer explains are noticed, and those that it explains are not."""

from __future__ import annotations

import pytest

from torture.duplicates import unexplained_repeats
from torture.history import History
from torture.verdict import Window


def repeats(*pairs: tuple[float, float]) -> History:
    """Return a history in which an event arrived at each pair of moments."""
    history = History()
    for moment, number in sorted((m, n) for n, pair in enumerate(pairs) for m in pair):
        history.arrive(f"{moment} event-p1.0.{number} d b")
    return history


def found(history: History, *windows: Window) -> int:
    return len(unexplained_repeats(history, windows, under_way=2, processes=3))


def kill(moment: float, fault: str = "kill-worker") -> Window:
    return Window(fault, moment, moment, hits=1)


def test_a_repeat_without_any_fault_is_not_explained():
    assert found(repeats((10.0, 12.0))) == 1


@pytest.mark.parametrize(("moment", "explained"), [(7.9, False), (10.1, True), (10.9, True), (11.1, False)])
def test_a_kill_explains_what_had_arrived_just_before_it_or_was_on_its_way(moment, explained):
    assert found(repeats((10.0, 12.0)), kill(moment)) == (not explained)


def test_a_kill_after_the_repeat_explains_nothing():
    assert found(repeats((10.0, 10.4)), kill(10.5)) == 1


@pytest.mark.parametrize(("fault", "most"), [("kill-worker", 2), ("kill-producer", 2), ("kill-everyone", 6)])
def test_a_kill_explains_as_many_batches_as_were_under_way(fault, most):
    pairs = [(10.0 + i / 100, 12.0 + i / 100) for i in range(10)]
    assert found(repeats(*pairs), kill(10.5, fault)) == 10 - most
    assert found(repeats(*pairs), kill(10.5), kill(10.6, fault)) == 10 - most - 2


def test_the_events_of_one_request_are_one_repeat():
    assert found(repeats(*[(10.0, 12.0)] * 9), kill(10.5)) == 0


@pytest.mark.parametrize(
    "fault", ["plane-link-cut", "plane-stop", "redis-stop", "disk-full", "stop-worker", "clock-step"]
)
def test_any_number_is_explained_by_a_fault_that_loses_answers_or_leases_and_only_around_it(fault):
    window = Window(fault, 9.0, 10.5, hits=1)
    assert found(repeats((10.0, 12.0), (10.1, 12.1), (10.2, 12.2)), window) == 0
    assert found(repeats((13.0, 14.0)), window) == 1


@pytest.mark.parametrize("fault", ["plane-503", "plane-429", "plane-401", "fork-storm"])
def test_a_fault_that_loses_neither_explains_nothing(fault):
    assert found(repeats((10.0, 12.0)), Window(fault, 9.0, 10.5, hits=1)) == 1
