"""From raw measurements to what people compare: medians with their spread, and ratios that say who is better. Pure."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measurement import Figure, Measurement

__all__ = [
    "Line",
    "Spread",
    "advantage",
    "heading",
    "is_ours",
    "lines",
    "number_text",
    "spreads",
    "times_text",
]

Summary = dict[str, dict[str, "Spread"]]
"""Spreads by candidate and by the figure's name, in the order of measuring."""

_POINT = re.compile(r"(?P<line>.+), (?P<x>\d[\d,]*) (?P<unit>\D+)")


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure of one candidate over its rounds."""

    median: float
    least: float
    most: float
    rounds: int


def spreads(measurements: Sequence[Measurement]) -> Summary:
    """Summarise each candidate's rounds. A figure that a round lacks counts only where it was measured."""
    values: dict[str, dict[str, list[float]]] = {}
    for measurement in measurements:
        figures = values.setdefault(measurement.candidate, {})
        for name, value in measurement.figures.items():
            figures.setdefault(name, []).append(value)
    return {
        candidate: {name: Spread(median(v), min(v), max(v), len(v)) for name, v in figures.items()}
        for candidate, figures in values.items()
    }


def is_ours(candidate: str) -> bool:
    """Whether *candidate* is a form of eventspool, and not a peer or a yardstick."""
    return candidate.startswith("eventspool")


def advantage(figure: Figure, ours: Spread | None, other: Spread | None) -> float | None:
    """
    Return how many times better *ours* is: above 1 is better, whichever way the figure reads.

    ``None`` where there is no such ratio, because one was not measured or is zero.
    """
    if ours is None or other is None or not (ours.median > 0 and other.median > 0):
        return None
    return ours.median / other.median if figure.better == "higher" else other.median / ours.median


@dataclass(frozen=True, slots=True)
class Line:
    """Candidates that differ in one number only, such as ``eventspool, Redis, 1,000 waiting``, by that number."""

    name: str
    unit: str
    candidates: dict[int, str]


def lines(candidates: Sequence[str]) -> list[Line]:
    """Return *candidates* as lines over a number, or nothing where they are not all points of such lines."""
    found: dict[str, Line] = {}
    for candidate in candidates:
        point = _POINT.fullmatch(candidate)
        if point is None:
            return []
        line = found.setdefault(point["line"], Line(point["line"], point["unit"], {}))
        line.candidates[int(point["x"].replace(",", ""))] = candidate
    units = {line.unit for line in found.values()}
    if len(units) != 1 or any(len(line.candidates) < 2 for line in found.values()):
        return []
    return list(found.values())


def heading(figure: Figure) -> str:
    """Return the figure's label, with its unit where the label does not say it."""
    unit = figure.unit.removeprefix("1")  # 1/s is said by events/s
    before = r"\w" if unit.startswith("/") else r"(?<!\w)"
    if not unit or re.search(rf"{before}{re.escape(unit)}(?!\w)", figure.label):
        return figure.label
    return f"{figure.label}, {figure.unit}"


def number_text(value: float) -> str:
    """Return *value* with about three digits that mean something."""
    if not math.isfinite(value):
        return "-"
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def times_text(ratio: float | None) -> str:
    """Return *ratio* as in ``12.1x``."""
    if ratio is None:
        return "-"
    return f"{ratio:,.0f}x" if ratio >= 100 else f"{ratio:.1f}x" if ratio >= 10 else f"{ratio:.2f}x"
