"""
What a benchmark measures, as plain data: figures, measurements, and the Protocol of a scenario. Pure.

A scenario runs its candidates *alternately*, round by round, because machines drift: only figures of one run are compared, as
ratios of medians.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.place import Place

__all__ = ["Bar", "Figure", "Measurement", "Scenario"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity: its *name* in the results, its *label* for people, its *unit*, and which way is better."""

    name: str
    label: str
    unit: str
    better: Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """
    The figures of one candidate in one round.

    Args:
        candidate: Who was measured, such as ``"eventspool, Redis"`` or ``"segment-analytics-python"``.
        round: The round, from 0.
        figures: Values by the figure's name.
        notes: Whatever explains them: options, counts, versions.
    """

    candidate: str
    round: int
    figures: Mapping[str, float]
    notes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bar:
    """
    What the medians must show: *actual* against *wanted*, where *passed* says which way.

    *claim* is a sentence for people, such as ``"events/s, Redis: at least 10 times segment"``.
    """

    claim: str
    actual: float
    wanted: float
    passed: bool


class Scenario(Protocol):
    """A module in ``benchmarks.scenarios``."""

    NAME: str
    """How it is asked for on the command line, such as ``throughput``."""
    TITLE: str
    """One line for the report."""
    FIGURES: Sequence[Figure]
    COMPARES: bool
    """``False`` where the ratios that mean something are figures themselves: the report makes none then. May be left out."""
    OPTIONS: Sequence[str]
    """Options of the command line that ``measure`` takes besides, such as ``jobs``. May be left out."""

    def measure(self, place: Place, *, rounds: int, quick: bool) -> Iterator[Measurement]:
        """Run every candidate *rounds* times, alternately, and yield each measurement as it is made.

        *quick*: a fraction of the load, to see that everything works; no figure of it counts.
        """

    def judge(self, measurements: Sequence[Measurement]) -> Sequence[Bar]:
        """Compare medians with the bars of this scenario. A candidate that was not measured has no bar."""
