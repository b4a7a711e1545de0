"""Memory while the data plane is down: five minutes of answers with status 503, at 5,000 events a second."""

from __future__ import annotations

from itertools import chain
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.errors import BenchmarkError
from benchmarks.measurement import Bar, Figure, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.place import Place

NAME = "outage"
TITLE = "An outage of five minutes at 5,000 events/s"
FIGURES = (
    Figure("start_mb", "memory at the start", "MB", "lower"),
    Figure("minute_mb", "memory after a fifth (one minute)", "MB", "lower"),
    Figure("end_mb", "memory at the end", "MB", "lower"),
    Figure("peak_mb", "peak memory in the outage", "MB", "lower"),
    Figure("accepted_percent", "events accepted", "%", "higher"),
    Figure("delivered_percent", "accepted events delivered afterwards", "%", "higher"),
    Figure("recovery_seconds", "seconds until all is delivered", "s", "lower"),
    Figure("recovery_peak_mb", "peak memory, delivery included", "MB", "lower"),
)
RATE = 5_000
SECONDS, QUICK_SECONDS = 300, 10
MOST_MB = 128.0
"""What "bounded" means here: an interpreter, the 20,000 events that wait in memory, and the batches under way."""
MOST_GROWTH_MB = 24.0
"""
What a full buffer (20,000 events) and the allocations around it may take: whenever the disk or the machine stalls for
seconds, the events of that time wait there, and CPython does not give memory back. Between such steps memory is flat.
"""
EVENTSPOOL: dict[Literal["memory", "sqlite", "redis"], str] = {
    "memory": "eventspool, memory",
    "sqlite": "eventspool, SQLite",
    "redis": "eventspool, Redis",
}
PEER = "segment-analytics-python"


def measure(place: Place, *, rounds: int, quick: bool) -> Iterator[Measurement]:
    """Have one outage for each candidate, however many *rounds*: it takes minutes, and memory varies little."""
    seconds = QUICK_SECONDS if quick else SECONDS
    for number in range(min(rounds, 1)):
        for kind, candidate in EVENTSPOOL.items():
            url = place.queue_url(kind)
            queue = ("--queue", url) if url else ()
            measurement = _outage(place, candidate, number, seconds, "eventspool_client", *queue)
            if kind == "redis":
                place.queue_url(kind)  # empties the server
            if measurement.figures["delivered_percent"] < 100:
                raise BenchmarkError(f"outage, {candidate}: accepted events did not arrive")
            yield measurement
        if place.peers_python is not None:
            yield _outage(place, PEER, number, seconds, "segment_family", "--name", "segment")


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:
    """See that memory is bounded and flat."""
    bars = []
    for candidate in EVENTSPOOL.values():
        found = [m.figures for m in measurements if m.candidate == candidate]
        if not found:
            continue
        peak = median(f["peak_mb"] for f in found)
        growth = median(f["end_mb"] - f["minute_mb"] for f in found)
        bars.append(Bar(f"{candidate}: at most {MOST_MB:g} MB in an outage", peak, MOST_MB, peak <= MOST_MB))
        claim = (
            f"{candidate}: memory grows by at most {MOST_GROWTH_MB:g} MB after the first minute of an outage"
        )
        bars.append(Bar(claim, growth, MOST_GROWTH_MB, growth <= MOST_GROWTH_MB))
    return bars


def _outage(
    place: Place, candidate: str, number: int, seconds: int, client: str, *options: str
) -> Measurement:
    python = place.peers_python if candidate == PEER else None
    place.sink.reset()
    result = place.run(
        "outage.py",
        client,
        str(RATE),
        str(seconds),
        place.sink.url,
        *options,
        python=python,
        timeout=seconds + 600,
    )
    stored = place.sink.orders()
    place.sink.reset()
    return _measurement(candidate, number, result, stored)


def _measurement(candidate: str, number: int, result: Mapping[str, Any], stored: set[int]) -> Measurement:
    accepted = set(chain.from_iterable(range(*span) for span in result["accepted"]))
    samples = result["samples_mb"]
    figures = {
        "start_mb": samples[0],
        "minute_mb": samples[len(samples) // 5],
        "end_mb": samples[-1],
        "peak_mb": result["peak_mb"],
        "accepted_percent": len(accepted) / result["offered"] * 100,
        "delivered_percent": len(accepted & stored) / len(accepted) * 100,
        "recovery_seconds": result["recovery_seconds"],
        "recovery_peak_mb": result["recovery_peak_mb"],
    }
    notes = {
        "offered": result["offered"],
        "accepted": len(accepted),
        "refused": result["offered"] - len(accepted),
        "lost": len(accepted - stored),
        "samples_mb": [round(sample, 1) for sample in samples],
    }
    return Measurement(candidate, number, figures, notes)
