"""What ``track()`` costs its caller, and how many events a second arrive: eventspool, the yardstick and seven peers."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.measurement import Bar, Figure, Measurement
from benchmarks.place import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from benchmarks.place import Place

NAME = "throughput"
TITLE = "track() on the caller's thread, and events/s from the first call until all is delivered"
FIGURES = (
    Figure("events_per_second", "events/s", "1/s", "higher"),
    Figure("cpu_seconds_per_100k", "CPU per 100,000 events", "s", "lower"),
    Figure("track_p50_us", "track(), delivering: p50", "µs", "lower"),
    Figure("track_p99_us", "track(), delivering: p99", "µs", "lower"),
    Figure("track_p999_us", "track(), delivering: p99.9", "µs", "lower"),
    Figure("idle_p50_us", "track(), idle: p50", "µs", "lower"),
    Figure("idle_p99_us", "track(), idle: p99", "µs", "lower"),
    Figure("idle_p999_us", "track(), idle: p99.9", "µs", "lower"),
)

_QUEUES = {"memory": "memory", "sqlite": "SQLite", "redis": "Redis"}
_PEERS = {
    "segment": ("segment-analytics-python", "segment_family.py"),
    "hightouch": ("events-sdk-python", "segment_family.py"),
    "rudder": ("rudder-sdk-python", "segment_family.py"),
    "posthog": ("posthog", "posthog_client.py"),
    "amplitude": ("amplitude-analytics", "amplitude_client.py"),
    "mixpanel": ("mixpanel", "mixpanel_client.py"),
    "snowplow": ("snowplow-tracker, tuned", "snowplow_client.py"),
}
_FASTER = {"segment": 10, "hightouch": 10, "rudder": 10, "mixpanel": 7, "snowplow": 6, "posthog": 20}
"""How many times a peer's events/s each of our queues must reach."""
_CHEAPER = {"segment": 9, "hightouch": 9, "rudder": 9, "mixpanel": 3}
"""How many times a peer's ``track()`` must cost ours, at the median, both idle and delivering."""

_EVENTS = 500_000
_PEER_EVENTS = 30_000
_IDLE_EVENTS = 20_000
_SINK = "the sink's limit"


@dataclass(frozen=True, slots=True)
class _Candidate:
    label: str
    script: str
    events: int
    name: str = ""
    queue: Literal["memory", "sqlite", "redis"] = "memory"
    processes: int = 1
    python: Path | None = None


def _ours(queue: str, processes: int = 1) -> str:
    label = f"eventspool, {_QUEUES[queue]}"
    return label if processes == 1 else f"{label}, {processes} processes"


def _yardstick(queue: str) -> str:
    return f"yardstick, {_QUEUES[queue]}"


def _candidates(place: Place, scale: float) -> list[_Candidate]:
    found = []
    events = int(_EVENTS * scale)
    for queue in _QUEUES:  # what is compared most closely runs one right after the other
        found.append(_Candidate(_yardstick(queue), "yardstick.py", events, queue=queue))
        found.append(_Candidate(_ours(queue), "eventspool_client.py", events, queue=queue))
    found += [
        _Candidate(_ours(queue, 2), "eventspool_client.py", events, queue=queue, processes=2)
        for queue in _QUEUES
    ]
    if place.peers_python is not None:
        found += [
            _Candidate(label, script, int(_PEER_EVENTS * scale), name, python=place.peers_python)
            for name, (label, script) in _PEERS.items()
        ]
    return found


def measure(place: Place, *, rounds: int, quick: bool) -> Iterator[Measurement]:
    """Run every candidate in each round; odd rounds in the reverse order, so that no one always follows the same."""
    scale = 0.1 if quick else 1.0
    candidates = _candidates(place, scale)
    for number in range(rounds):
        yield _measure_sink(place, number, int(_EVENTS * scale))
        for candidate in reversed(candidates) if number % 2 else candidates:
            yield _measure(place, candidate, number, int(_IDLE_EVENTS * scale))


def _measure(place: Place, candidate: _Candidate, number: int, idle_events: int) -> Measurement:
    result = _run(place, candidate, "flat-out", candidate.events)
    sink = place.sink.stats()
    missing = set(range(candidate.events)) - place.sink.orders()
    place.sink.reset()
    if missing:
        raise BenchmarkError(
            f"{candidate.label}: {len(missing):,} of {candidate.events:,} events did not arrive"
        )
    figures = {
        "events_per_second": candidate.events / result["seconds"],
        "cpu_seconds_per_100k": result["cpu_seconds"] / candidate.events * 100_000,
        **{name: result[name] for name in ("track_p50_us", "track_p99_us", "track_p999_us")},
    }
    if candidate.processes == 1:
        idle = _run(place, candidate, "idle", idle_events)
        place.sink.reset()
        figures |= {f"idle_{name}_us": idle[f"track_{name}_us"] for name in ("p50", "p99", "p999")}
    notes = {
        "events": candidate.events,
        "requests": sink["requests"],
        "sink_bytes": sink["bytes"],
        "sink_cpu_seconds": sink["cpu_seconds"],
        "seconds": result["seconds"],
    }
    return Measurement(candidate.label, number, figures, notes)


def _run(place: Place, candidate: _Candidate, mode: str, events: int) -> dict[str, Any]:
    arguments = [mode, str(events), place.sink.url]
    if candidate.name:
        arguments += ["--name", candidate.name]
    if url := place.queue_url(candidate.queue):
        arguments += ["--queue", url]
    if candidate.processes > 1:
        arguments += ["--processes", str(candidate.processes)]
    place.sink.reset()
    return place.run(candidate.script, *arguments, python=candidate.python)


def _measure_sink(place: Place, number: int, events: int) -> Measurement:
    """Measure what the sink can take, from a client that does nothing but post: far above every candidate."""
    place.sink.reset()
    result = place.run("raw_client.py", place.sink.url, str(events), "900", "2")
    stats = place.sink.stats()
    place.sink.reset()
    if stats["requests"] != result["requests"]:
        raise BenchmarkError(f"the sink counted {stats['requests']} of {result['requests']} requests")
    figures = {
        "events_per_second": events / result["seconds"],
        "cpu_seconds_per_100k": result["cpu_seconds"] / events * 100_000,
    }
    notes = {"events": events, "sink_bytes": stats["bytes"], "sink_cpu_seconds": stats["cpu_seconds"]}
    return Measurement(_SINK, number, figures, notes)


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:
    """Compare medians: with the yardstick, with each peer, and with fixed bounds."""
    values: dict[tuple[str, str], list[float]] = {}
    for measurement in measurements:
        for name, value in measurement.figures.items():
            values.setdefault((measurement.candidate, name), []).append(value)
    median = {key: statistics.median(found) for key, found in values.items()}
    bars: list[Bar] = []

    def at_least(claim: str, actual: float | None, wanted: float) -> None:
        if actual is not None:
            bars.append(Bar(claim, actual, wanted, actual >= wanted))

    def at_most(claim: str, actual: float | None, wanted: float) -> None:
        if actual is not None:
            bars.append(Bar(claim, actual, wanted, actual <= wanted))

    def ratio(figure: str, above: str, below: str) -> float | None:
        if (above, figure) not in median or (below, figure) not in median:
            return None
        return median[above, figure] / median[below, figure]

    for queue, title in _QUEUES.items():
        ours = _ours(queue)
        at_least(
            f"events/s, {title}: at least 95 % of the yardstick's",
            ratio("events_per_second", ours, _yardstick(queue)),
            0.95,
        )
        for peer, times in _FASTER.items():
            label = _PEERS[peer][0]
            at_least(
                f"events/s, {title}: at least {times} times {label}",
                ratio("events_per_second", ours, label),
                times,
            )
        for figure, when in (("idle_p50_us", "idle"), ("track_p50_us", "delivering")):
            for peer, times in _CHEAPER.items():
                label = _PEERS[peer][0]
                at_least(
                    f"track() p50 {when}, {title}: at least {times} times cheaper than {label}",
                    ratio(figure, label, ours),
                    times,
                )
        at_most(f"track() p50 idle, {title}: at most 2.2 µs", median.get((ours, "idle_p50_us")), 2.2)
        at_most(f"track() p50 delivering, {title}: at most 4 µs", median.get((ours, "track_p50_us")), 4.0)
        at_most(
            f"track() p99.9 delivering, {title}: under 200 µs", median.get((ours, "track_p999_us")), 200.0
        )
    at_most(
        "CPU per 100,000 events, Redis: at most 1.0 s",
        median.get((_ours("redis"), "cpu_seconds_per_100k")),
        1.0,
    )
    return bars
