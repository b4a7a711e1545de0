"""
The persistence mode of the Node SDK, which eventspool's is modelled on: Bull on the same Redis, into the same data plane.

``@rudderstack/rudder-sdk-node`` stands in for the document's SDK. It is the same code with the faults repaired that would end
the process, and as slow: every job waits for a second, and one goes at a time.
"""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.errors import BenchmarkError
from benchmarks.measurement import Bar, Figure, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.place import Place

NAME = "node"
TITLE = "Through Redis: eventspool and the Node SDK's persistence mode"
FIGURES = (
    Figure("events_per_second", "events/s", "1/s", "higher"),
    Figure("cpu_seconds_per_100k", "CPU per 100,000 events", "s", "lower"),
)
BATCHES = (20, 100)
"""Events a batch: the Node SDK's default, and the most that its family is often set to."""
JOBS = 10
"""Batches that the Node SDK is given. It takes a second for each."""
EVENTS = 200_000
FACTOR = 1000
OURS = "eventspool, Redis"
_HERE = Path(__file__).resolve().parent
_SOURCES = _HERE.parent / "candidates" / "node"
_INSTALLED = _HERE.parents[1] / ".venv-bench-node"
"""Ignored by git, and kept: installed once for each lock file."""


def measure(place: Place, *, rounds: int, quick: bool) -> Iterator[Measurement]:
    """Run every candidate in each round, and count what arrived. Nothing where Node is missing."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        print("node: left out, for node and npm are not installed", file=sys.stderr)
        return
    modules = install()
    for number in range(rounds):
        for size in BATCHES:
            events = size * (JOBS // 5 if quick else JOBS)
            result = _run(place, events, size, Path(node), modules)
            figures = {figure.name: result.pop(figure.name) for figure in FIGURES}
            yield Measurement(_node(size), number, figures, {"events": events, "flush_at": size, **result})
        events = EVENTS // 10 if quick else EVENTS
        result = _run_ours(place, events)
        figures = {
            "events_per_second": events / result["seconds"],
            "cpu_seconds_per_100k": result["cpu_seconds"] / events * 1e5,
        }
        yield Measurement(OURS, number, figures, {"events": events, "flush_at": 20})


def install() -> Path:
    """
    Install the Node SDK at its pinned version, once, and return the folder of its modules.

    Raises:
        BenchmarkError: npm could not.
    """
    lock = _INSTALLED / "package-lock.json"
    if not lock.exists() or not filecmp.cmp(lock, _SOURCES / lock.name, shallow=False):
        shutil.rmtree(_INSTALLED, ignore_errors=True)
        _INSTALLED.mkdir()
        for name in ("package.json", ".npmrc"):
            shutil.copy(_SOURCES / name, _INSTALLED)
        shutil.copy(_SOURCES / lock.name, _INSTALLED)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(command, cwd=_INSTALLED, check=False, capture_output=True, text=True)
        if done.returncode:
            lock.unlink()  # so that the next run tries again
            raise BenchmarkError(f"npm ci failed\n{done.stderr[-2000:]}")
    return _INSTALLED / "node_modules"


def _run(place: Place, events: int, size: int, node: Path, modules: Path) -> dict[str, float]:
    url = place.queue_url("redis")
    assert url is not None
    place.sink.reset()
    result = place.run(
        "node/run.js",
        *(str(events), str(size), place.sink.url, url),
        python=node,
        env={"NODE_PATH": str(modules)},
    )
    _check(place, _node(size), events)
    return result


def _run_ours(place: Place, events: int) -> dict[str, float]:
    url = place.queue_url("redis")
    assert url is not None
    place.sink.reset()
    result = place.run("eventspool_client.py", "flat-out", str(events), place.sink.url, "--queue", url)
    _check(place, OURS, events)
    return result


def _check(place: Place, label: str, events: int) -> None:
    missing = set(range(events)) - place.sink.orders()
    place.sink.reset()
    if missing:
        raise BenchmarkError(f"{label}: {len(missing):,} of {events:,} events did not arrive")


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:
    """Compare eventspool with each batch size."""
    ours = [m.figures["events_per_second"] for m in measurements if m.candidate == OURS]
    bars = []
    for size in BATCHES:
        theirs = [m.figures["events_per_second"] for m in measurements if m.candidate == _node(size)]
        if ours and theirs:
            ratio = median(ours) / median(theirs)
            claim = f"events/s, Redis: at least {FACTOR:,} times the Node SDK's at {size} events a batch"
            bars.append(Bar(claim, ratio, FACTOR, ratio >= FACTOR))
    return bars


def _node(size: int) -> str:
    return f"rudder-sdk-node, Redis, {size} a batch"
