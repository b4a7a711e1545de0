"""A run's figures, as a table for each fault class and as JSON."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torture.history import History
    from torture.verdict import Verdict, Window

__all__ = ["Row", "as_json", "as_table", "rows_of"]


@dataclass(frozen=True, slots=True)
class Row:
    """
    One fault class. A loss or a duplicate is put down to the fault that had begun last.

    Args:
        fault: The class.
        runs: How often it was injected.
        hits: How often it is known to have harmed.
        lost: Acknowledged events that are nowhere, by the moment of their acknowledgement.
        duplicated: Arrivals beyond the first, by their moment.
        recovery_median: Seconds from its end until everything worked again.
        recovery_max: The longest.
    """

    fault: str
    runs: int
    hits: int
    lost: int
    duplicated: int
    recovery_median: float | None
    recovery_max: float | None


def rows_of(windows: Sequence[Window], history: History, verdict: Verdict) -> list[Row]:
    """Return a row for each class that was injected."""
    ordered = sorted(windows, key=lambda window: window.begin)
    begins = [window.begin for window in ordered]

    def blamed(moment: float) -> str:
        return ordered[max(bisect_right(begins, moment) - 1, 0)].fault if ordered else "none"

    lost = Counter(blamed(history.acked[i]) for i in verdict.violations.get("lost", ()))
    repeats: Counter[str] = Counter()
    for arrival in history.arrivals.values():
        repeats.update(blamed(moment) for moment in arrival.moments[1:])
    rows = []
    for fault in sorted({window.fault for window in windows}):
        of_class = [window for window in windows if window.fault == fault]
        waits = [window.recovery.seconds for window in of_class if window.recovery is not None]
        rows.append(
            Row(
                fault=fault,
                runs=len(of_class),
                hits=sum(window.hits for window in of_class),
                lost=lost[fault],
                duplicated=repeats[fault],
                recovery_median=median(waits) if waits else None,
                recovery_max=max(waits, default=None),
            )
        )
    return rows


def as_table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| fault | runs | hits | lost | duplicated | recovery, median s | recovery, max s |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        waits = ["-" if s is None else f"{s:.2f}" for s in (row.recovery_median, row.recovery_max)]
        lines.append(
            f"| {row.fault} | {row.runs} | {row.hits} | {row.lost} | {row.duplicated} | {' | '.join(waits)} |"
        )
    return "\n".join(lines)


def as_json(
    run: Mapping[str, Any], rows: Sequence[Row], history: History, verdict: Verdict
) -> dict[str, Any]:
    """Return everything as plain values: what was *run*, its figures and the verdict."""
    return {
        "run": dict(run),
        "issued": len(history.issued),
        "acknowledged": verdict.acked,
        "arrivals": sum(len(arrival.moments) for arrival in history.arrivals.values()),
        "forks": history.forks,
        "spills": history.spills,
        "faults": [asdict(row) for row in rows],
        "verdict": verdict.as_dict(),
    }
