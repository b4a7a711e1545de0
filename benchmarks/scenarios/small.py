"""
How fast one process empties a queue of small batches into a data plane that answers after 50 ms, by itself and in order.

How many answers it waits for at a time is bounded, in order it is one: what counts is how many waiting jobs a request carries.
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks.errors import BenchmarkError
from benchmarks.measurement import Bar, Figure, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.place import Place

NAME = "small"
TITLE = "Draining jobs of 20 events in Redis into a data plane that answers after 50 ms"
FIGURES = (
    Figure("events_per_second", "events/s", "1/s", "higher"),
    Figure("jobs_per_request", "jobs a request", "", "higher"),
    Figure("cpu_ms_per_job", "CPU a job", "ms", "lower"),
)
DELAY = 0.05
BATCH_EVENTS = 20
SECONDS, QUICK_SECONDS = 12.0, 0.5
"""A queue that is not empty by then is judged by what has arrived."""
MODES = {"shared": ("eventspool, is_multi_processor", 50_000), "ordered": ("eventspool, in order", 12_000)}
"""Who drains, and how many events/s are demanded. A round gets the events of eight such seconds."""


def measure(place: Place, *, rounds: int, quick: bool) -> Iterator[Measurement]:
    """Fill and drain a queue in each mode in each round, and count what arrived."""
    for number in range(rounds):
        for mode, (candidate, wanted) in MODES.items():
            events = wanted // 10 if quick else wanted * 8
            figures, notes = _drain(place, mode, events, QUICK_SECONDS if quick else SECONDS)
            yield Measurement(candidate, number, figures, notes)


def _drain(place: Place, mode: str, events: int, seconds: int) -> tuple[dict[str, float], dict[str, object]]:
    url = place.queue_url("redis")
    assert url is not None
    filled = place.run("fill.py", url, str(events), str(BATCH_EVENTS))
    place.sink.reset()
    place.sink.delay(DELAY)
    result = place.run("drain.py", url, place.sink.url, str(filled["jobs"]), mode, str(seconds))
    arrived, requests = len(place.sink.orders() & set(range(events))), place.sink.stats()["requests"]
    place.sink.reset()
    if result["failed"] or (result["drained"] and arrived < events):
        raise BenchmarkError(f"small, {mode}: {events - arrived:,} of {events:,} events did not arrive")
    figures = {
        "events_per_second": arrived / result["seconds"],
        "jobs_per_request": arrived / BATCH_EVENTS / requests,
        "cpu_ms_per_job": result["cpu_seconds"] / (arrived / BATCH_EVENTS) * 1e3,
    }
    return figures, {"events": events, "arrived": arrived, "requests": requests}


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:
    """Compare with what is demanded."""
    bars = []
    for candidate, wanted in MODES.values():
        rates = [m.figures["events_per_second"] for m in measurements if m.candidate == candidate]
        if rates:
            claim = f"{candidate}: at least {wanted:,} events/s in jobs of 20 where an answer takes 50 ms"
            bars.append(Bar(claim, median(rates), wanted, median(rates) >= wanted))
    return bars
