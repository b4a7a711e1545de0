"""Benchmark results on their way to readers: nothing is lost, and ratios read upwards."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from benchmarks import plots, report
from benchmarks.measurement import Bar, Figure, Measurement
from benchmarks.summary import Spread, advantage, heading, lines, number_text, spreads

RATE = Figure("rate", "events/s", "events/s", "higher")
COST = Figure("cost", "track(), µs", "µs", "lower")
OURS, PEER = "eventspool, Redis", "segment"


def measured(candidate, **figures):
    rounds = zip(*figures.values(), strict=True)
    return [
        Measurement(candidate, number, dict(zip(figures, values, strict=True)), {"events": 7})
        for number, values in enumerate(rounds)
    ]


MEASUREMENTS = [
    *measured(OURS, rate=[90_000, 121_000, 130_000], cost=[2.0, 2.5, 2.25]),
    *measured(PEER, rate=[9_000, 10_000, 11_000], cost=[45.0, 40.0, 50.0]),
]
BARS = [Bar("at least ten times segment", 12.1, 10, True), Bar("less than 2 µs", 2.25, 2, False)]


def scenario(measurements=MEASUREMENTS, figures=(RATE, COST)):
    found = SimpleNamespace(NAME="load", TITLE="A load", FIGURES=figures)
    found.judge = lambda given: BARS if list(given) == list(measurements) else []
    return found, measurements


@pytest.fixture
def without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_a_figure_is_its_median_and_its_spread():
    assert spreads(MEASUREMENTS)[OURS]["rate"] == Spread(121_000, 90_000, 130_000, 3)


def test_a_ratio_above_one_is_better_whichever_way_the_figure_reads():
    summary = spreads(MEASUREMENTS)
    assert advantage(RATE, summary[OURS]["rate"], summary[PEER]["rate"]) == pytest.approx(12.1)
    assert advantage(COST, summary[OURS]["cost"], summary[PEER]["cost"]) == pytest.approx(20.0)


def test_what_is_zero_or_was_not_measured_has_no_ratio():
    assert advantage(RATE, Spread(1, 1, 1, 1), Spread(0, 0, 0, 1)) is None
    assert advantage(RATE, None, Spread(1, 1, 1, 1)) is None


def test_candidates_that_differ_in_one_number_are_a_line():
    names = ["eventspool, Redis, 100 waiting", "eventspool, Redis, 1,000,000 waiting"]
    (line,) = lines(names)
    assert (line.name, line.unit) == ("eventspool, Redis", "waiting")
    assert line.candidates == {100: names[0], 1_000_000: names[1]}


@pytest.mark.parametrize(
    "names", [[OURS, PEER], ["a, 1 waiting"], ["a, 1 waiting", "a, 2 waiting", PEER], []]
)
def test_other_candidates_are_not(names):
    assert lines(names) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (121_000, "121,000"),
        (46.04, "46.0"),
        (2.204, "2.20"),
        (0.12345, "0.123"),
        (0, "0"),
        (float("nan"), "-"),
    ],
)
def test_numbers_show_the_digits_that_mean_something(value, text):
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("label", "unit", "text"),
    [
        ("CPU per job", "s", "CPU per job, s"),
        ("CPU s a job", "s", "CPU s a job"),
        ("jobs/s", "1/s", "jobs/s"),
        ("growth", "", "growth"),
    ],
)
def test_a_heading_says_its_unit_once(label, unit, text):
    assert heading(Figure("x", label, unit, "lower")) == text


@pytest.mark.usefixtures("without_matplotlib")
def test_json_holds_everything_and_needs_no_matplotlib(tmp_path, capsys):
    report.write([scenario()], tmp_path / "new", about={"rounds": 3})
    found = json.loads((tmp_path / "new/results.json").read_text())
    assert found["about"] == {"rounds": 3}
    (load,) = found["scenarios"]
    assert len(load["measurements"]) == len(MEASUREMENTS)
    assert load["measurements"][0]["figures"] == {"rate": 90_000, "cost": 2.0}
    assert load["measurements"][0]["notes"] == {"events": 7}
    assert load["summary"][PEER]["cost"] == {"median": 45.0, "least": 40.0, "most": 50.0, "rounds": 3}
    assert [bar["passed"] for bar in load["bars"]] == [True, False]
    assert "no pictures" in capsys.readouterr().err


@pytest.mark.usefixtures("without_matplotlib")
def test_markdown_says_medians_ratios_and_bars(tmp_path):
    report.write([scenario()], tmp_path, about={"packages": {"redis": "8.1.0"}, "quick": True})
    text = (tmp_path / "report.md").read_text()
    assert "| eventspool, Redis | 121,000 [90,000-130,000] | 2.25 [2.00-2.50] |" in text
    assert "| segment | 12.1x | 20.0x |" in text
    assert "1 of 2 bars met" in text
    assert "| less than 2 µs | 2.25 | 2.00 | MISSED |" in text
    assert "packages: redis 8.1.0" in text
    assert "no figure of it counts" in text
    assert ".svg" not in text


def test_the_terminal_shows_the_same(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    report.print_tables([scenario()], {})
    shown = capsys.readouterr().out
    for text in ("A load", "121,000 ±26%", "12.1x", "1 of 2 bars met", "MISSED"):
        assert text in shown


def test_a_narrow_terminal_shows_whole_figures(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "48")
    report.print_tables([scenario()], {})
    shown = capsys.readouterr().out
    assert "121,000" in shown
    assert "MISSED" in shown
    assert "…" not in shown


@pytest.mark.parametrize("over", [False, True])
def test_the_same_measurements_give_the_same_picture(over):
    pytest.importorskip("matplotlib")
    names = [f"eventspool, Redis, {size:,} waiting" for size in (100, 10_000)] if over else [OURS, PEER]
    found = [m for name in names for m in measured(name, rate=[10, 12, 11], cost=[1.0, 90.0, 50.0])]
    picture = plots.draw(*scenario(found))
    assert picture == plots.draw(*scenario(found))
    assert "dc:date" not in picture
    for name in ["eventspool, Redis"] if over else names:
        assert name in picture


def test_nothing_measured_is_no_picture():
    pytest.importorskip("matplotlib")
    assert plots.draw(*scenario([])) is None
