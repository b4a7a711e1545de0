"""How long a program waits: for the import, and until its first event is accepted."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Literal

from benchmarks.errors import BenchmarkError
from benchmarks.measurement import Bar, Figure, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.place import Place

NAME = "startup"
TITLE = "Import, and the first track()"
FIGURES = (
    Figure("import_ms", "import", "ms", "lower"),
    Figure("first_track_ms", "import, client and first track()", "ms", "lower"),
)
EVENTSPOOL: dict[Literal["memory", "sqlite", "redis"], str] = {
    "memory": "eventspool, memory",
    "sqlite": "eventspool, SQLite",
    "redis": "eventspool, Redis",
}
PEERS = {
    "segment": "segment-analytics-python",
    "hightouch": "events-sdk-python",
    "rudder": "rudder-sdk-python",
    "posthog": "posthog",
    "mixpanel": "mixpanel",
    "snowplow": "snowplow-tracker",
    "amplitude": "amplitude-analytics",
}
REPEATS, QUICK_REPEATS = 15, 3
IMPORT_MS = 60.0


def measure(place: Place, *, rounds: int, quick: bool) -> Iterator[Measurement]:
    """Start each candidate's interpreters, in turns with bare ones, whose time is taken off."""
    repeats = QUICK_REPEATS if quick else REPEATS
    for number in range(rounds):
        for kind, candidate in EVENTSPOOL.items():
            yield _start(place, candidate, number, "eventspool", repeats, None, place.queue_url(kind))
        if place.peers_python is not None:
            for client, candidate in PEERS.items():
                yield _start(place, candidate, number, client, repeats, place.peers_python)


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:
    """See that the import is light."""
    found = [m.figures["import_ms"] for m in measurements if m.candidate in EVENTSPOOL.values()]
    if not found:
        return []
    claim = f"import eventspool: less than {IMPORT_MS:g} ms"
    return [Bar(claim, median(found), IMPORT_MS, median(found) < IMPORT_MS)]


def _start(
    place: Place,
    candidate: str,
    number: int,
    client: str,
    repeats: int,
    python: Path | None,
    queue: str | None = None,
) -> Measurement:
    place.sink.reset()
    queues = (queue,) if queue else ()
    result = place.run("startup.py", client, str(repeats), place.sink.url, "0", *queues, python=python)
    stored = place.sink.orders()
    place.sink.reset()
    if stored != set(range(repeats + 1)):
        raise BenchmarkError(f"startup, {candidate}: {len(stored)} of {repeats + 1} events arrived")
    figures = {"import_ms": result["import_ms"], "first_track_ms": result["first_track_ms"]}
    return Measurement(candidate, number, figures, {"repeats": repeats, "bare_ms": result["bare_ms"]})
