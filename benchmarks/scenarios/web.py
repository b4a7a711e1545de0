"""
What a web request pays for five events, in a small ASGI and a small WSGI application at half of their maximum load. Where
calls are durable, that is half of what the application can do with them.

And what their handler pays, called on the same kind of schedule without a server: load generator, web server, Redis and sink
share two processors otherwise, and what they do to each other drowns what tracking adds to the slowest requests. What these
wait for is measured by the scenario ``trace``.
"""

from __future__ import annotations

import json
import subprocess
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.errors import BenchmarkError
from benchmarks.measurement import Bar, Figure, Measurement
from benchmarks.summary import spreads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from benchmarks.place import Place

NAME = "web"
TITLE = "What a web request pays for five events"
COMPARES = False
OPTIONS = ("server",)
FIGURES = (
    Figure("p50_ms", "p50", "ms", "lower"),
    Figure("p99_ms", "p99", "ms", "lower"),
    Figure("added_p50_ms", "added p50", "ms", "lower"),
    Figure("added_p99_ms", "added p99", "ms", "lower"),
    Figure("p99_growth_percent", "growth of p99", "%", "lower"),
    Figure("added_cpu_ms", "added CPU time a request", "ms", "lower"),
    Figure("full_collections", "full collections, 1,000 requests", "", "lower"),
    Figure("requests_per_second", "requests/s", "1/s", "higher"),
)
SERVERS = {"handler": "handler alone", "uvicorn": "ASGI", "gunicorn": "WSGI"}
BASE, CONTROL = "no tracking", "no tracking, once more"
"""The second shows how far two equal variants are apart on this machine: growth below that is noise."""
EVENTS_A_REQUEST = 5
BUFFERED = ("eventspool, memory", "eventspool, SQLite", "eventspool, Redis")
DURABLE = ("eventspool, SQLite, durable", "eventspool, Redis, durable")
SEGMENT, POSTHOG = "segment-analytics-python", "posthog"
MOST_OF_SEGMENTS = 0.2
"""What the growth of a request's p99 may be, in growths that segment causes. Durable calls wait for the store: no bar."""
TURNS, SECONDS = 8, 2.5
QUICK_TURNS, QUICK_SECONDS = 2, 1.0
"""Each variant's slices of the load in a round, and their length: about a thousand requests a slice."""


def measure(place: Place, *, rounds: int, quick: bool, server: Sequence[str] | None) -> Iterator[Measurement]:
    """Run all variants of one server side by side, slice by slice in turns: figures are compared within one round only."""
    for number in range(rounds):
        for kind in server or SERVERS:
            result = load(place, kind, variants(place), quick=quick)
            yield from _measurements(kind, number, result)


def load(
    place: Place, server: str, chosen: Mapping[str, Mapping[str, Any]], *, quick: bool
) -> dict[str, Any]:
    """Have *server* run the *chosen* variants. Return what ``web_load.py`` prints, once every event has arrived."""
    turns, seconds = (QUICK_TURNS, QUICK_SECONDS) if quick else (TURNS, SECONDS)
    place.sink.reset()
    result = place.run("web_load.py", server, str(turns), str(seconds), json.dumps(chosen), timeout=1800)
    _check(server, place.sink.orders(), chosen, result["variants"])
    place.sink.reset()
    return result


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:
    """See that the slowest requests grow by a fraction of what a peer makes them grow by."""
    growth = {name: found["p99_growth_percent"].median for name, found in spreads(measurements).items()}
    bars = []
    for server in SERVERS.values():
        segment = growth.get(f"{SEGMENT}, {server}")
        if segment is None:
            continue
        most = segment * MOST_OF_SEGMENTS
        for name in BUFFERED:
            ours = growth[f"{name}, {server}"]
            claim = f"{name}, {server}: p99 grows by at most a fifth of {SEGMENT}'s growth, %"
            bars.append(Bar(claim, ours, most, ours <= most))
    return bars


def variants(place: Place) -> dict[str, dict[str, Any]]:
    """Return the environment of each variant's server, see candidates/web_app.py."""
    plain = {"url": place.sink.url, "queue": None}
    redis = {"url": place.queue_url("redis"), "is_multi_processor": True}
    found = {
        BASE: {**plain, "tracker": "none"},
        CONTROL: {**plain, "tracker": "none"},
    }
    for name in (*BUFFERED, *DURABLE):
        queue = None
        if "Redis" in name:
            queue = {**redis, "queue_name": "durable" if name in DURABLE else "buffered"}
        elif "SQLite" in name:
            queue = {"url": place.queue_url("sqlite"), "is_multi_processor": True}
        found[name] = {**plain, "tracker": "eventspool", "queue": queue, "durable": name in DURABLE}
    if place.peers_python is not None:
        # In the web server's own environment, last on its path: the peers' environment has no web server.
        path = [_site_packages(place.peers_python)]
        found[SEGMENT] = {**plain, "tracker": "segment", "path": path}
        found[POSTHOG] = {**plain, "tracker": "posthog", "path": path}
    return found


def _site_packages(python: Path) -> str:
    command = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _check(
    server: str, stored: set[int], chosen: Mapping[str, Mapping[str, Any]], measured: Mapping[str, Any]
) -> None:
    """Raise where an event of a request that was answered is missing."""
    for name, found in measured.items():
        if chosen[name]["tracker"] == "none":
            continue
        events = {order * EVENTS_A_REQUEST + n for order in found["orders"] for n in range(EVENTS_A_REQUEST)}
        if not events <= stored:
            missing = len(events - stored)
            raise BenchmarkError(f"web, {server}, {name}: {missing} of {len(events)} events did not arrive")


def full_collections(slices: Sequence[Mapping[str, float]]) -> float:
    """Return how many full collections of garbage there were in 1,000 requests."""
    return sum(s["full_collections"] for s in slices) / sum(s["requests"] for s in slices) * 1000


def _measurements(server: str, number: int, result: Mapping[str, Any]) -> Iterator[Measurement]:
    """
    Compare each slice with that of the base in the same turn, and take medians over the turns.

    A machine that stalls for an instant thus spoils the slice that it meets and not the round.
    """
    base = result["variants"][BASE]["slices"]
    for name, found in result["variants"].items():
        slices = found["slices"]
        pairs = list(zip(slices, base, strict=True))
        figures = {
            "p50_ms": median(s["p50_ms"] for s in slices),
            "p99_ms": median(s["p99_ms"] for s in slices),
            "added_p50_ms": median(s["p50_ms"] - b["p50_ms"] for s, b in pairs),
            "added_p99_ms": median(s["p99_ms"] - b["p99_ms"] for s, b in pairs),
            "p99_growth_percent": median((s["p99_ms"] / b["p99_ms"] - 1) * 100 for s, b in pairs),
            "full_collections": full_collections(slices),
            "requests_per_second": result["rates"][name],
            "added_cpu_ms": median(s["cpu_ms"] - b["cpu_ms"] for s, b in pairs),
        }
        notes = {
            "server": server,
            "requests": sum(s["requests"] for s in slices),
            "events_a_request": EVENTS_A_REQUEST,
            "cpu_ms": median(s["cpu_ms"] for s in slices),
            "p99_ms_of_slices": [round(s["p99_ms"], 2) for s in slices],
        }
        yield Measurement(f"{name}, {SERVERS[server]}", number, figures, notes)
