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
    Figure("events_per_second", "events/s", "1/s", "higher"),
    Figure("cpu_seconds_per_100k", "CPU per 100,000 events", "s", "lower"),
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
            yield _track(place, _candidate(label), number, EVENTS // share, queue_url=place.queue_url(kind))
        for peer, label in PEERS.items() if place.peers_python else ():
            yield _track(place, label, number, PEER_EVENTS // share, peer=peer)


def _track(
    place: Place,
    label: str,
    number: int,
    events: int,
    *,
    queue_url: str | None = None,
    peer: str | None = None,
) -> Measurement:
    place.sink.reset()
    place.sink.delay(DELAY)
    arguments = ["flat-out", str(events), place.sink.url]
    if peer:
        result = place.run("segment_family.py", *arguments, "--name", peer, python=place.peers_python)
    else:
        queue = ["--queue", queue_url] if queue_url else []
        result = place.run("eventspool_client.py", *arguments, *queue)
    requests = place.sink.stats()["requests"]
    missing = set(range(events)) - place.sink.orders()
    place.sink.reset()
    if missing:
        raise BenchmarkError(f"{label}: {len(missing):,} of {events:,} events did not arrive")
    figures = {
        "events_per_second": events / result["seconds"],
        "cpu_seconds_per_100k": result["cpu_seconds"] / events * 1e5,
    }
    return Measurement(label, number, figures, {"events": events, "requests": requests})


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
