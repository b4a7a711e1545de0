"""Results for programs (JSON), for readers (Markdown with pictures) and for whoever waits at the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from itertools import accumulate
from typing import TYPE_CHECKING

from benchmarks import plots
from benchmarks.summary import advantage, heading, is_ours, number_text, spreads, times_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.measurement import Bar, Figure, Measurement, Scenario
    from benchmarks.summary import Spread, Summary

    Results = Sequence[tuple[Scenario, Sequence[Measurement]]]
    Rows = list[list[str]]

__all__ = ["print_tables", "write"]


def write(results: Results, output: Path, *, about: Mapping[str, object]) -> None:
    """
    Write ``results.json``, ``report.md`` and a picture of each scenario into the folder *output*.

    Args:
        results: Scenarios, each with everything that it measured.
        output: Made where it is not there. Files of the same names are replaced.
        about: What was measured where: machine, versions, date, options.
    """
    output.mkdir(parents=True, exist_ok=True)
    everything = {"about": about, "scenarios": [_as_json(scenario, found) for scenario, found in results]}
    text = json.dumps(everything, indent=2, ensure_ascii=False, default=str)
    (output / "results.json").write_text(text + "\n")
    pictures = set()
    for scenario, found in results:
        try:
            picture = plots.draw(scenario, found)
        except ImportError as error:
            print(f"no pictures: {error}", file=sys.stderr)
            break
        if picture is not None:
            (output / f"{scenario.NAME}.svg").write_text(picture)
            pictures.add(scenario.NAME)
    (output / "report.md").write_text(_markdown(results, about, pictures))


def print_tables(results: Results, about: Mapping[str, object]) -> None:
    """Print what ``report.md`` says to the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()

    def show(title: str, rows: Rows, styles: Sequence[str] = ()) -> None:
        console.print(
            escape(title), style="bold", highlight=False
        )  # a table's own title would wrap at its width
        for widths, piece in _pieces(rows, console.width):
            table = Table(box=SIMPLE_HEAD)
            for number, (width, name) in enumerate(zip(widths, piece[0], strict=True)):
                table.add_column(
                    escape(name), justify="right" if number else "left", width=width, overflow="fold"
                )
            for row, style in zip(piece[1:], styles or [""] * len(rows), strict=False):
                table.add_row(*map(escape, row), style=style)
            console.print(table)

    for scenario, found in results:
        summary = spreads(found)
        if not summary:
            continue
        ours = ["bold" if is_ours(candidate) else "" for candidate in summary]
        show(scenario.TITLE, _figures_table(scenario.FIGURES, summary, _short_spread_text), ours)
        for candidate, rows in _comparisons(scenario, summary):
            show(f"{candidate} is so many times better than", rows)
    bars = [bar for scenario, found in results for bar in scenario.judge(found)]
    if bars:
        show(_score(bars), _bars_table(bars), ["" if bar.passed else "bold red" for bar in bars])
    if about.get("quick"):
        console.print(_QUICK, style="yellow")


_QUICK = "A quick run, to see that everything works: no figure of it counts."


_GAP = 3
"""Characters that a column takes besides its text; the table's edges take as many."""
_NAME_WIDTH = 12
"""
Least width of the column of names, which wrap where they would take more than half of the room. Headings wrap as well; figures
stay whole.
"""


def _pieces(rows: Rows, room: int) -> Iterator[tuple[list[int], Rows]]:
    """Cut a table into such as fit into *room* characters, each with its columns' widths and the first column."""
    names, *columns = [list(column) for column in zip(*rows, strict=True)]
    longest = min(max(map(len, names)), max(room // 2, _NAME_WIDTH))
    room -= 2 * _GAP + longest
    while columns:
        widths = [max(len(word) for word in [*column[0].split(), *column[1:], "-"]) for column in columns]
        fitting = max(1, sum(used <= room for used in accumulate(width + _GAP for width in widths)))
        short = max(0, sum(widths[:fitting]) + _GAP * fitting - room)
        name_width = max(_NAME_WIDTH, longest - short)
        piece = [list(row) for row in zip(names, *columns[:fitting], strict=True)]
        yield [name_width, *widths[:fitting]], piece
        columns = columns[fitting:]


# -- tables: a list of rows, the first of which is the heading ---------------------------------------------------------


def _spread_text(spread: Spread) -> str:
    if spread.rounds == 1:
        return number_text(spread.median)
    return f"{number_text(spread.median)} [{number_text(spread.least)}-{number_text(spread.most)}]"


def _short_spread_text(spread: Spread) -> str:
    """Return the median and the larger way to an extreme, for narrow terminals."""
    if spread.rounds == 1 or not spread.median:
        return number_text(spread.median)
    way = max(spread.most - spread.median, spread.median - spread.least) / abs(spread.median)
    return f"{number_text(spread.median)} ±{way:.0%}"


def _figures_table(
    figures: Sequence[Figure], summary: Summary, text: Callable[[Spread], str] = _spread_text
) -> Rows:
    shown = _measured(figures, summary)
    rows = [["", *map(heading, shown)]]
    for candidate, values in summary.items():
        rows.append([candidate, *(text(values[f.name]) if f.name in values else "-" for f in shown)])
    return rows


def _comparisons(scenario: Scenario, summary: Summary) -> list[tuple[str, Rows]]:
    """Return a table for each form of eventspool: how many times better it is than each of the others."""
    shown = _measured(scenario.FIGURES, summary)
    others = [candidate for candidate in summary if not is_ours(candidate)]
    if not others or not getattr(scenario, "COMPARES", True):
        return []
    tables = []
    for ours in filter(is_ours, summary):
        rows = [["", *map(heading, shown)]]
        for other in others:
            ratios = [advantage(f, summary[ours].get(f.name), summary[other].get(f.name)) for f in shown]
            if any(ratio is not None for ratio in ratios):
                rows.append([other, *map(times_text, ratios)])
        tables.append((ours, rows))
    return tables


def _measured(figures: Sequence[Figure], summary: Summary) -> list[Figure]:
    return [figure for figure in figures if any(figure.name in values for values in summary.values())]


def _bars_table(bars: Sequence[Bar]) -> Rows:
    return [
        ["", "measured", "bar", ""],
        *(
            [bar.claim, number_text(bar.actual), number_text(bar.wanted), "met" if bar.passed else "MISSED"]
            for bar in bars
        ),
    ]


def _score(bars: Sequence[Bar]) -> str:
    return f"{sum(bar.passed for bar in bars)} of {len(bars)} bars met"


# -- the files ------------------------------------------------------------------------------------------------------------


def _as_json(scenario: Scenario, found: Sequence[Measurement]) -> dict[str, object]:
    return {
        "name": scenario.NAME,
        "title": scenario.TITLE,
        "figures": [asdict(figure) for figure in scenario.FIGURES],
        "summary": {
            candidate: {name: asdict(spread) for name, spread in values.items()}
            for candidate, values in spreads(found).items()
        },
        "bars": [asdict(bar) for bar in scenario.judge(found)],
        "measurements": [
            {"candidate": m.candidate, "round": m.round, "figures": dict(m.figures), "notes": dict(m.notes)}
            for m in found
        ],
    }


def _markdown(results: Results, about: Mapping[str, object], pictures: set[str]) -> str:
    parts = ["# Benchmarks", "\n".join(f"- {name}: {_plain(value)}" for name, value in about.items())]
    if about.get("quick"):
        parts.append(f"**{_QUICK}**")
    parts.append(
        "Figures are medians, with the least and the most of the rounds in brackets. Ratios are of medians of this run;"
        " above 1 eventspool is better, whichever way the figure reads."
    )
    for scenario, found in results:
        summary = spreads(found)
        parts.append(f"## {scenario.TITLE}")
        if not summary:
            parts.append("Not measured.")
            continue
        if scenario.NAME in pictures:
            parts.append(f"![{scenario.TITLE}]({scenario.NAME}.svg)")
        parts.append(_table(_figures_table(scenario.FIGURES, summary)))
        for candidate, rows in _comparisons(scenario, summary):
            parts += [f"**{_cell(candidate)}** is so many times better than", _table(rows)]
        bars = scenario.judge(found)
        if bars:
            parts += [f"{_score(bars)}:", _table(_bars_table(bars))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return str(value)


def _table(rows: Rows) -> str:
    names, *body = ([_cell(cell) for cell in row] for row in rows)
    rule = ["---", *("---:" for _ in names[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (names, rule, *body))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
