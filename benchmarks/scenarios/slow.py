"""Events per second to a data plane that answers after 50 ms, every SDK with its default options."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Literal

from benchmarks.errors import BenchmarkError
from benchmarks.measurement import Bar, Figure, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.place import Place

NAME = "slow"
TITLE = "A data plane that answers after 50 ms, default options"
FIGURES = (
    Figure("events_per_second", "events/s", "events/s", "higher"),
    Figure("cpu_seconds_per_100k", "CPU s per 100,000 events", "s", "lower"),
)
DELAY = 0.05
KINDS: dict[Literal["memory", "sqlite", "redis"], str] = {
    "memory": "memory",
    "sqlite": "SQLite",
    "redis": "Redis",
}
PEERS = {"segment": "segment-analytics-python", "hightouch": "events-sdk-python"}
EVENTS = 400_000
PEER_EVENTS = 8_000
"""They need about five seconds for these."""
EVENTS_PER_SECOND = 50_000


def measure(place: Place, *, rounds: int, quick: bool) -> Iterator[Measurement]:
    """Run every candidate in each round, and count what arrived."""
    share = 20 if quick else 1
    for number in range(rounds):
        for kind, label in KINDS.items():
            figures = _track(place, "eventspool", EVENTS // share, place.queue_url(kind))
            yield Measurement(_candidate(label), number, figures, {"events": EVENTS // share})
        for name, label in PEERS.items() if place.peers_python else ():
            figures = _track(place, name, PEER_EVENTS // share, None)
            yield Measurement(label, number, figures, {"events": PEER_EVENTS // share})


def _track(place: Place, name: str, events: int, queue_url: str | None) -> dict[str, float]:
    place.sink.reset()
    place.sink.delay(DELAY)
    arguments = [name, str(events), place.sink.url, *([queue_url] if queue_url else [])]
    python = place.python if name == "eventspool" else place.peers_python
    figures = place.run("slow.py", *arguments, python=python)
    orders = place.sink.orders()
    place.sink.reset()
    if orders != set(range(events + 1)):  # and the one that made the connections
        raise BenchmarkError(f"slow, {name}: {len(orders) - 1} of {events} events arrived")
    return figures


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:
    """See that every kind of queue keeps enough requests under way."""
    bars = []
    for label in KINDS.values():
        rates = [m.figures["events_per_second"] for m in measurements if m.candidate == _candidate(label)]
        if rates:
            claim = f"{label}: at least {EVENTS_PER_SECOND:,} events/s where an answer takes 50 ms"
            bars.append(Bar(claim, median(rates), EVENTS_PER_SECOND, median(rates) >= EVENTS_PER_SECOND))
    return bars


def _candidate(label: str) -> str:
    return f"eventspool, {label}"
