"""How fast one worker process empties a queue that others have filled: with full batches, and with small ones."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Literal

from benchmarks.errors import BenchmarkError
from benchmarks.measurement import Bar, Figure, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.place import Place

NAME = "drain"
TITLE = "Draining stored events with one worker process"
FIGURES = (
    Figure("events_per_second", "events/s", "1/s", "higher"),
    Figure("jobs_per_second", "jobs/s", "1/s", "higher"),
    Figure("cpu_seconds_per_100k", "CPU per 100,000 events", "s", "lower"),
    Figure("cpu_ms_per_job", "CPU a job", "ms", "lower"),
)
KINDS: dict[Literal["sqlite", "redis"], str] = {"sqlite": "SQLite", "redis": "Redis"}
BATCHES = {"full batches": (0, 1_000_000), "batches of 20": (20, 400_000)}
"""Events a batch (0: as many as fit) and in all, by what it is called."""
JOBS_PER_SECOND = 1500


def measure(place: Place, *, rounds: int, quick: bool) -> Iterator[Measurement]:
    """Fill and drain each queue in each round, and count what arrived."""
    for number in range(rounds):
        for batches, (size, events) in BATCHES.items():
            for kind, label in KINDS.items():
                count = events // 20 if quick else events
                figures, notes = _drain(place, kind, count, size)
                yield Measurement(_candidate(label, batches), number, figures, notes)


def _drain(
    place: Place, kind: Literal["sqlite", "redis"], events: int, size: int
) -> tuple[dict[str, float], dict[str, object]]:
    url = place.queue_url(kind)
    assert url is not None
    filled = place.run("fill.py", url, str(events), str(size))
    jobs = filled["jobs"]
    place.sink.reset()
    result = place.run("drain.py", url, place.sink.url, str(jobs), "shared")
    missing = set(range(events)) - place.sink.orders()
    place.sink.reset()
    if missing or result["failed"]:
        raise BenchmarkError(f"{kind}: {len(missing):,} of {events:,} events did not arrive")
    seconds, cpu = result["seconds"], result["cpu_seconds"]
    figures = {
        "events_per_second": events / seconds,
        "jobs_per_second": jobs / seconds,
        "cpu_seconds_per_100k": cpu / events * 1e5,
        "cpu_ms_per_job": cpu / jobs * 1e3,
    }
    return figures, {"events": events, "jobs": jobs, "stored_bytes": filled["bytes"]}


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:
    """See that small batches go through Redis fast enough."""
    small = _candidate(KINDS["redis"], "batches of 20")
    rates = [m.figures["jobs_per_second"] for m in measurements if m.candidate == small]
    if not rates:
        return []
    claim = f"Redis, 20 events a batch: at least {JOBS_PER_SECOND:,} jobs/s drained by one process"
    return [Bar(claim, median(rates), JOBS_PER_SECOND, median(rates) >= JOBS_PER_SECOND)]


def _candidate(label: str, batches: str) -> str:
    return f"eventspool, {label}, {batches}"
