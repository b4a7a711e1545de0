"""
One picture a scenario, as SVG: bars with the spread of the rounds, or lines where candidates differ in one number.

The same measurements give the same bytes. The background is clear and every colour stands out from white as well as
from black, so a picture can be read on a dark page and on a light one.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from benchmarks.summary import Line, heading, is_ours, lines, number_text, spreads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.measurement import Figure, Measurement, Scenario
    from benchmarks.summary import Summary

__all__ = ["draw"]

_LOG_FROM = 20
"""Where the largest median is this many times the smallest, the axis is logarithmic."""
_TEXT = "#78808c"
_OURS = "#2f80ed"
_OTHERS = "#98a2b0"
_LINES = ("#2f80ed", "#e07b1a", "#2a9d5c", "#c054b0", "#98a2b0")
_MARKERS = "osD^v"
_STYLE = {
    "svg.hashsalt": "eventspool",
    "svg.fonttype": "none",  # text stays text: small, selectable, and in the reader's own font
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _TEXT,
    "axes.edgecolor": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.titlecolor": _TEXT,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "grid.color": _TEXT,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


def draw(scenario: Scenario, measurements: Sequence[Measurement]) -> str | None:
    """
    Return the picture of *measurements* as SVG, or ``None`` where there is nothing to draw.

    Raises:
        ImportError: Matplotlib is not there.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Picture

    summary = spreads(measurements)
    figures = [f for f in scenario.FIGURES if any(f.name in values for values in summary.values())]
    if not figures:
        return None
    over = lines(list(summary))
    columns = 1 if len(figures) == 1 else 2
    rows = -(-len(figures) // columns)
    row_height = 2.8 if over else 0.85 + 0.27 * len(summary)
    with mpl.rc_context(_STYLE):
        picture = Picture(figsize=(4 + 3.2 * columns, 0.5 + row_height * rows), layout="constrained")
        FigureCanvasSVG(picture)
        picture.suptitle(scenario.TITLE, fontsize=12, x=0.01, horizontalalignment="left")
        axes = picture.subplots(rows, columns, squeeze=False, sharey=not over)
        for axis, figure in zip(axes.flat, figures, strict=False):
            way = "more" if figure.better == "higher" else "less"
            axis.set_title(f"{heading(figure)} ({way} is better)")
            if over:
                _draw_lines(axis, figure, summary, over)
            else:
                _draw_bars(axis, figure, summary)
        for axis in axes.flat[len(figures) :]:
            axis.set_visible(False)
        if over:
            handles, labels = axes.flat[0].get_legend_handles_labels()
            picture.legend(handles, labels, loc="outside upper right", ncols=len(over))
        output = io.StringIO()
        picture.savefig(output, format="svg", transparent=True, metadata={"Date": None})
    return output.getvalue()


def _draw_bars(axis: Any, figure: Figure, summary: Summary) -> None:
    rows = [
        (row, values[figure.name]) for row, values in enumerate(summary.values()) if figure.name in values
    ]
    candidates = list(summary)
    widths = [spread.median for _, spread in rows]
    axis.barh(
        [row for row, _ in rows],
        widths,
        height=0.66,
        color=[_OURS if is_ours(candidates[row]) else _OTHERS for row, _ in rows],
        xerr=_error_bars([spread for _, spread in rows]),
        error_kw={"ecolor": _TEXT, "elinewidth": 1.2, "capsize": 2.5},
    )
    if _needs_logarithm(widths):
        axis.set_xscale("log")
        axis.set_xlim(min(s.least for _, s in rows if s.least > 0) / 3, max(s.most for _, s in rows) * 4)
        axis.set_xlabel("logarithmic", fontsize=8)
        axis.xaxis.set_major_formatter(lambda x, _: f"{x:,g}" if x < 1e6 else f"{x:,.0f}")
    elif max(s.most for _, s in rows) > 0 and min(widths) >= 0:
        axis.set_xlim(0, max(s.most for _, s in rows) * 1.22)
    for row, spread in rows:
        axis.annotate(
            number_text(spread.median),
            (spread.most, row),
            xytext=(5, 0),
            textcoords="offset points",
            verticalalignment="center",
            fontsize=8,
        )
    axis.set_yticks(range(len(candidates)), candidates)
    axis.set_ylim(len(candidates) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.set_axisbelow(True)
    axis.grid(axis="x")


def _draw_lines(axis: Any, figure: Figure, summary: Summary, over: Sequence[Line]) -> None:
    medians = []
    for number, line in enumerate(over):
        points = [
            (x, summary[candidate][figure.name])
            for x, candidate in sorted(line.candidates.items())
            if figure.name in summary[candidate]
        ]
        medians += [spread.median for _, spread in points]
        axis.errorbar(
            [x for x, _ in points],
            [spread.median for _, spread in points],
            yerr=_error_bars([spread for _, spread in points]),
            label=line.name,
            color=_LINES[number % len(_LINES)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4,
            linewidth=1.6,
            capsize=2.5,
        )
    axis.set_xscale("log")
    if _needs_logarithm(medians):
        axis.set_yscale("log")
        axis.yaxis.set_minor_formatter(lambda *_: "")
    else:
        axis.set_ylim(bottom=min(0, *medians))
    axis.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axis.yaxis.set_major_formatter(lambda y, _: f"{y:,g}")
    axis.set_xlabel(over[0].unit)
    axis.set_axisbelow(True)
    axis.grid(axis="both")


def _error_bars(spreads: Sequence[Any]) -> list[list[float]]:
    return [[s.median - s.least for s in spreads], [s.most - s.median for s in spreads]]


def _needs_logarithm(medians: Sequence[float]) -> bool:
    return min(medians) > 0 and max(medians) > _LOG_FROM * min(medians)
