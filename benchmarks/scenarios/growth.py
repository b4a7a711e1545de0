"""What a job costs while 100, 10,000 and 1,000,000 others wait: nothing may grow with the queue."""

from __future__ import annotations

import json
from statistics import median
from typing import TYPE_CHECKING, Literal

from benchmarks.measurement import Bar, Figure, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.place import Place

NAME = "growth"
TITLE = "Cost of a job by the length of its queue"
FIGURES = (
    Figure("job_us", "enqueue, claim and acknowledge, a job", "µs", "lower"),
    Figure("enqueue_us", "enqueue, a job", "µs", "lower"),
    Figure("claim_us", "claim, a job", "µs", "lower"),
    Figure("ack_us", "acknowledge, a job", "µs", "lower"),
    Figure("stats_us", "stats, a call", "µs", "lower"),
    Figure("failed_us", "page of 50 failed jobs, a call", "µs", "lower"),
)
KINDS: dict[Literal["memory", "sqlite", "redis"], tuple[str, int]] = {
    "memory": ("memory", 2000),
    "sqlite": ("SQLite", 300),
    "redis": ("Redis", 400),
}
"""Label, and steps a round: enough that one hiccup does not decide a round."""
SIZES = (100, 10_000, 1_000_000)
QUICK_SIZES = (100, 1_000, 10_000)
TOLERANCE = 1.15
_JUDGED = {"memory": SIZES[-2]}
"""A client holds 20,000 events in memory at most. A million are measured, too: they show what a processor's cache is worth."""
_PARTS = frozenset({"enqueue_us", "claim_us", "ack_us"})
"""Shown one by one, and judged by their sum: what a job costs."""


def measure(place: Place, *, rounds: int, quick: bool) -> Iterator[Measurement]:
    """
    Measure each kind of queue in one process, in turns between the lengths.

    The rounds of one kind follow each other, for filling takes longer than measuring: only figures of one kind are compared.
    """
    for kind, (label, steps) in KINDS.items():
        sizes = QUICK_SIZES if quick else SIZES
        if kind == "sqlite":  # a file each
            urls = {size: place.queue_url(kind) for size in sizes}
        else:
            urls = dict.fromkeys(sizes, place.queue_url(kind))
        plan = {"rounds": rounds, "steps": steps // 10 if quick else steps, "queues": urls}
        result = place.run("growth.py", json.dumps(plan), timeout=1800)
        if kind == "redis":
            place.queue_url(kind)  # a million jobs are not to burden what comes next
        for number, costs in enumerate(result["rounds"]):
            for size, figures in costs.items():
                yield Measurement(
                    _candidate(label, int(size)),
                    number,
                    figures,
                    {"jobs_a_call": 16, "failed_jobs": 100, "payload_bytes": 200},
                )


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:
    """Compare the longest queue with the shortest."""
    bars = []
    for label, _ in KINDS.values():
        short = [m for m in measurements if m.candidate == _candidate(label, SIZES[0])]
        most = _JUDGED.get(label, SIZES[-1])
        long = [m for m in measurements if m.candidate == _candidate(label, most)]
        if not short or not long:
            continue
        for figure in FIGURES:
            name = figure.name
            if name in _PARTS:
                continue
            ratio = median(m.figures[name] for m in long) / median(m.figures[name] for m in short)
            operation = figure.label.rsplit(",", 1)[0]
            claim = f"{label}, {operation}: at {most:,} waiting jobs at most 15 % dearer than at {SIZES[0]}"
            bars.append(Bar(claim, ratio, TOLERANCE, ratio <= TOLERANCE))
    return bars


def _candidate(label: str, size: int) -> str:
    return f"eventspool, {label}, {size:,} waiting"
