"""Scenarios at tiny sizes: every candidate runs to its end, what they send arrives, and a bar tells a pass from a miss."""

from __future__ import annotations

import sys

import pytest

from benchmarks import __main__ as command_line
from benchmarks.measurement import Measurement
from benchmarks.place import Place
from benchmarks.scenarios import durable, operate, small, trace, web


@pytest.fixture(scope="module")
def place():
    with Place() as found:
        yield found


def check(scenario, measurements, candidates):
    """See that every candidate of one round was measured, and that there is a bar for what is demanded."""
    assert {m.candidate for m in measurements} == set(candidates)
    known = {figure.name for figure in scenario.FIGURES}
    assert all(set(m.figures) <= known for m in measurements)
    assert scenario.judge(measurements)


def test_durable_calls_are_measured_and_arrive_in_order(place):
    found = list(durable.measure(place, rounds=1, quick=True))
    ours = [
        name for kind, one in durable.OURS.items() for name in (one, f"{one}, 8 threads", durable.crowd(kind))
    ]
    check(durable, found, [*durable.BARE.values(), *ours])
    assert [m.figures["out_of_order"] for m in found if "out_of_order" in m.figures] == [0, 0]


@pytest.mark.parametrize(
    ("spans", "late"),
    [
        ([(0, 2), (1, 3), (2, 4)], 0),
        ([(1, 3), (0, 2)], 0),  # at the same time: either order is that of storing
        ([(3, 4), (0, 2)], 1),
        ([(5, 6), (0, 1), (2, 3)], 2),
        ([], 0),
    ],
)
def test_an_event_is_late_if_one_came_before_it_that_was_stored_after_it(spans, late):
    assert durable.count_out_of_order(spans) == late


def test_small_batches_are_drained_in_both_modes(place):
    check(small, list(small.measure(place, rounds=1, quick=True)), [name for name, _ in small.MODES.values()])


def test_operating_is_measured(place):
    found = list(operate.measure(place, rounds=1, quick=True, jobs=200))
    stores = ["eventspool, Redis", "eventspool, SQLite"]
    commands = [operate.PACKAGES, operate.STATUS, operate.LIBRARY, operate.IMPORT]
    check(operate, found, stores + commands)


@pytest.fixture
def tiny_web(monkeypatch):
    monkeypatch.setattr(web, "QUICK_TURNS", 1)
    monkeypatch.setattr(web, "QUICK_SECONDS", 0.2)


def chosen_only(monkeypatch, *names):
    """Leave out the variants of the web application that are not called one of *names*."""
    whole = web.variants
    monkeypatch.setattr(web, "variants", lambda place: {name: whole(place)[name] for name in names})


@pytest.mark.usefixtures("tiny_web")
@pytest.mark.parametrize(
    ("server", "tracker"),
    [
        ("handler", "eventspool, SQLite"),
        ("uvicorn", "eventspool, memory"),
        ("gunicorn", "eventspool, Redis, durable"),
    ],
)
def test_a_request_is_measured_and_its_events_arrive(place, monkeypatch, server, tracker):
    chosen_only(monkeypatch, web.BASE, tracker)
    found = list(web.measure(place, rounds=1, quick=True, server=[server]))
    assert [m.candidate for m in found] == [f"{name}, {web.SERVERS[server]}" for name in (web.BASE, tracker)]
    assert all(m.figures["p50_ms"] > 0 for m in found)
    assert not web.judge(found)  # which compares with a peer


@pytest.mark.usefixtures("tiny_web")
def test_the_slowest_requests_are_explained(place, monkeypatch):
    chosen_only(monkeypatch, web.BASE, "eventspool, Redis")
    found = list(trace.measure(place, rounds=1, quick=True))
    ways = [web.BASE, "eventspool, Redis"]
    assert {m.candidate for m in found} == {*ways, *(way + trace.FROZEN for way in ways)}
    parts = ("collector", "scheduler", "interpreter", "work")
    assert all(sum(m.figures[part] for part in parts) > 0 for m in found)


@pytest.mark.parametrize(("growth", "passed"), [(19.0, True), (21.0, False), (-3.0, True)])
def test_the_bar_of_a_request_is_a_fifth_of_what_segment_adds(growth, passed):
    values = dict.fromkeys(web.BUFFERED, growth) | {web.SEGMENT: 100.0}
    found = [Measurement(f"{name}, ASGI", 0, {"p99_growth_percent": value}) for name, value in values.items()]
    assert [bar.passed for bar in web.judge(found)] == [passed] * len(web.BUFFERED)


def test_a_queue_that_is_drained_too_slowly_misses_its_bar():
    for rate, passed in ((49_999.0, False), (50_001.0, True)):
        name, _ = small.MODES["shared"]
        [bar] = small.judge([Measurement(name, 0, {"events_per_second": rate})])
        assert bar.passed is passed


def test_a_missed_bar_is_told_and_ends_with_status_1(monkeypatch, capsys, tmp_path):
    name, _ = small.MODES["shared"]
    slow = [
        (
            small,
            [
                Measurement(
                    name, 0, {"events_per_second": 7.0, "jobs_per_request": 1.0, "cpu_ms_per_job": 1.0}
                )
            ],
        )
    ]
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(command_line, "measure", lambda chosen, options: (slow, []))
    assert command_line.main(["small", "--output", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "MISSED" in said.out
    assert "missed: eventspool, is_multi_processor" in said.err


def test_an_unknown_scenario_is_named_and_so_are_the_known(capsys):
    with pytest.raises(SystemExit) as ended:
        command_line.main(["smal"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "'smal'" in said
    assert "small" in said
