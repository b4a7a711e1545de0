"""
What a job and an event cost, of which ``eventspool capacity`` makes its plans, and whether these plans hold.

The constants are fitted to queues of one to four partitions, of both orders, and to one small load from end to end. What the
model says of these shows how well its lines fit. Held back from the fit are queues of 16 partitions and the other small loads:
what it says of those is a forecast, though for the same machine and the same hour. Each bar says which of the two it is.
Costs are those of the server's main thread, as the server itself counts them, so other programs on the machine disturb them
little.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import asdict, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.errors import BenchmarkError
from benchmarks.fitting import Cell, fit_constants, is_fitted, reckon
from benchmarks.measurement import Bar, Figure, Measurement
from benchmarks.place import free_port
from eventspool._operate.capacity import Load, make_plan
from eventspool._redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.fitting import Found
    from benchmarks.place import Place
    from eventspool._operate.capacity import Constants

NAME = "scale"
TITLE = "What a job costs Redis and Python, and what the capacity model says of it"
COMPARES = False
FIGURES = (
    Figure("commit_us", "commit", "us", "lower"),
    Figure("claim_us", "claim", "us", "lower"),
    Figure("ack_us", "ack", "us", "lower"),
    Figure("total_us", "a job", "us", "lower"),
    Figure("payload_bytes", "stored", "B", "lower"),
    Figure("memory_job_bytes", "memory a job", "B", "lower"),
    Figure("python_us_per_event", "Python an event", "us", "lower"),
    Figure("events_per_batch", "events a batch", "", "higher"),
    Figure("jobs_per_second", "jobs/s", "1/s", "lower"),
    Figure("server_job_us", "server a job", "us", "lower"),
    Figure("server_us_per_second", "server a second", "us", "lower"),
)
CLOSE = 0.15
"""How far the model may be off."""
SIZES = {1: 8000, 2: 8000, 5: 6000, 20: 6000, 100: 3000, 500: 1500, 900: 1000}
"""Events of a job -> how many of these jobs a measurement has."""
LIVE = ((100.0, 0), (1000.0, 0), (8000.0, 0), (4000.0, 20), (1000.0, 5))
"""The small loads: events a second, and the events of a batch where the flush rules do not decide that."""
FITTED_LIVE = (1000.0, 0)
"""The one that says what it takes to wake a processor. The others are there to be foretold."""
IDLE = (0, 1, 12)
"""Processors that find nothing."""
_LIVE_SECONDS = 8.0
_PYTHON = {1: 20_000, 20: 100_000, 900: 300_000}
"""Events of a job -> how many events a process tracks and another one delivers."""


def cells() -> list[Cell]:
    """Return what is measured in each round."""
    plain = [Cell("plain", size, group) for size in SIZES for group in ((8,) if size in (2, 5) else (1, 8))]
    spread = [Cell("plain", size, 8, partitions=n) for size in (20, 500) for n in (4, 16)]
    spread += [Cell("plain", 20, 1, partitions=4)]
    spread += [Cell("plain", 20, 1, partitions=16)]
    kept = [Cell(server, size, 8) for server in ("file", "replica") for size in (20, 100, 500)]
    waiting = [Cell("replica", 20, group, wait=w) for group in (1, 8) for w in (False, True)]
    lanes = [Cell("plain", 20, group, ordering="per_user") for group in (1, 8)]
    return list(dict.fromkeys([*plain, *spread, *kept, *waiting, *lanes]))


def measure(place: Place, *, rounds: int, quick: bool) -> Iterator[Measurement]:
    """Measure every set-up in each round, then the Python side, then the small loads."""
    everything: list[Measurement] = []
    with _servers() as servers:
        for number in range(rounds):
            for measurement in _measure_round(place, servers, number, quick=quick):
                everything.append(measurement)
                yield measurement
    constants = fit(everything)
    if constants is not None:
        yield Measurement("constants, fitted", rounds - 1, {}, asdict(constants))


def _measure_round(
    place: Place, servers: Mapping[str, RedisServer], number: int, *, quick: bool
) -> Iterator[Measurement]:
    for cell in cells():
        count = max(SIZES[cell.events] // (40 if quick else 1), cell.group * cell.partitions)
        arguments = [cell.events, cell.group, count, cell.partitions, cell.ordering]
        words = [*map(str, arguments), *(["wait"] if cell.wait else [])]
        found = place.run("scale_jobs.py", servers[cell.server].url, *words)
        total = found["commit_us"] + found["claim_us"] + found["ack_us"]
        figures = {name: found[name] for name in found if name in _NAMES} | {"total_us": total}
        yield Measurement(str(cell), number, figures, {"cell": cell, **found})
    yield from _measure_python(place, number, quick=quick)
    seconds = 1.0 if quick else _LIVE_SECONDS
    for processors in IDLE:
        yield _measure_idle(place, servers["plain"].url, number, processors, seconds)
    for rate, size in LIVE[:1] if quick else LIVE:
        yield _measure_live(place, servers["plain"].url, number, rate, size, seconds)


_FITTED, _HELD_BACK = "fitted to this", "held back from the fit"
_NAMES = {figure.name for figure in FIGURES}


@contextlib.contextmanager
def _servers() -> Iterator[Mapping[str, RedisServer]]:
    """Run a server that keeps nothing, one with an append-only file, and one with a replica."""
    with contextlib.ExitStack() as stack:
        started = {
            name: stack.enter_context(RedisServer(port=free_port(), aof=aof))
            for name, aof in (("plain", None), ("file", "everysec"), ("replica", None))
        }
        port = started["replica"].url.rsplit(":", 1)[1].split("/")[0]
        args = ("--replicaof", "127.0.0.1", port)
        stack.enter_context(RedisServer(port=free_port(), aof=None, args=args))
        yield started


def _measure_python(place: Place, number: int, *, quick: bool) -> Iterator[Measurement]:
    for size, events in _PYTHON.items():
        wanted = events // 20 if quick else events
        url = place.queue_url("redis")
        assert url is not None
        made = place.run("scale_produce.py", url, str(wanted), str(size))
        yield _of_python("produce", size, number, wanted, made["jobs"], made["cpu_seconds"])
        filled = place.run("fill.py", place.queue_url("redis") or "", str(wanted), str(size))
        place.sink.reset()
        sent = place.run("drain.py", url, place.sink.url, str(filled["jobs"]), "shared")
        place.sink.reset()
        if sent["failed"] or not sent["drained"]:
            raise BenchmarkError(f"scale: {sent['failed']} jobs of {size} events were not delivered")
        yield _of_python("deliver", size, number, wanted, filled["jobs"], sent["cpu_seconds"])


def _of_python(name: str, size: int, number: int, events: int, jobs: int, seconds: float) -> Measurement:
    notes = {"python": name, "events": events, "jobs": jobs, "seconds": seconds}
    return Measurement(
        f"{name}, {size} events", number, {"python_us_per_event": seconds / events * 1e6}, notes
    )


def _measure_idle(place: Place, url: str, number: int, processors: int, seconds: float) -> Measurement:
    found = place.run("scale_idle.py", url, str(processors), str(seconds))
    return Measurement(f"idle, {processors} processors", number, found, {"processors": processors, **found})


def _measure_live(place: Place, url: str, number: int, rate: float, size: int, seconds: float) -> Measurement:
    place.sink.reset()
    found = place.run("scale_live.py", url, place.sink.url, str(rate), str(seconds), str(size))
    place.sink.reset()
    figures = {name: found[name] for name in found if name in _NAMES}
    words = f"live, {rate:g} events/s" + (f" in {size}s" if size else "")
    return Measurement(words, number, figures, {"live": (rate, size), **found})


def fit(measurements: Sequence[Measurement]) -> Constants | None:
    """Return the constants that *measurements* make, ``None`` for too few of these."""
    found, python = collect(measurements)
    idle: dict[int, float] = {}
    for m in measurements:
        if "processors" in m.notes:
            number, spent = int(m.notes["processors"]), float(m.notes["server_us_per_second"])  # type: ignore[call-overload,arg-type]
            idle[number] = min(spent, idle.get(number, spent))
    if not (found and python["produce"]):
        return None
    constants = fit_constants(found, python, idle)
    shares = [
        float(m.notes["server_share"])  # type: ignore[arg-type]
        for m in measurements
        if m.notes.get("live") == FITTED_LIVE
    ]
    return replace(constants, wake_us=_wake_us(min(shares), constants)) if shares else constants


def _wake_us(share: float, constants: Constants) -> float:
    """Return what it takes to wake a processor: what a small load costs beyond its jobs and what costs nothing but time."""
    plan = make_plan(_live_load(*FITTED_LIVE), replace(constants, wake_us=0.0))
    wakes = plan.load.events_per_second / plan.batches.events_per_flush
    return max(share - plan.redis_cores, 0.0) * 1e6 / wakes


def _live_load(rate: float, size: int) -> Load:
    load = Load(events_per_second=rate, producers=1, partitions=1, replicas=0, aof=False)
    # Where the flush rules do not decide how large a batch is, max_batch_bytes does.
    return replace(load, max_batch_bytes=round(size * (load.event_bytes + 2) + 1)) if size else load


def collect(measurements: Sequence[Measurement]) -> tuple[Found, dict[str, list[tuple[float, float, float]]]]:
    """Return the server's costs by cell, and the runs of the Python side."""
    cells: dict[Cell, list[Mapping[str, Any]]] = defaultdict(list)
    python: dict[str, list[tuple[float, float, float]]] = {"produce": [], "deliver": []}
    for m in measurements:
        if isinstance(cell := m.notes.get("cell"), Cell):
            cells[cell].append(m.notes)
        if name := m.notes.get("python"):
            python[str(name)].append(tuple(m.notes[key] for key in ("events", "jobs", "seconds")))  # type: ignore[arg-type]
    found = {  # the least of all rounds: what other programs do at the same time only adds to it
        cell: {name: min(n[name] for n in notes) for name in notes[0] if name != "cell"}
        for cell, notes in cells.items()
    }
    return found, python


def judge(measurements: Sequence[Measurement]) -> Sequence[Bar]:
    """Compare the model with what was measured, both where it was fitted to that and where it was held back from the fit."""
    constants = fit(measurements)
    if constants is None:
        return []
    found, _ = collect(measurements)
    bars = []
    for cell, figures in found.items():
        if cell.server == "plain" and (cell.partitions > 1 or cell.events in (20, 500)):
            actual = sum(figures[name] for name in ("commit_us", "claim_us", "ack_us"))
            model = reckon(cell, constants, figures["payload_bytes"])
            kind = _FITTED if is_fitted(cell) else _HELD_BACK
            bars.append(_bar(f"server time of a job, {cell} ({kind})", actual, model))
    return [*bars, *_judge_live(measurements, constants)]


def _judge_live(measurements: Sequence[Measurement], constants: Constants) -> Iterator[Bar]:
    runs: dict[tuple[float, int], list[Mapping[str, Any]]] = defaultdict(list)
    for m in measurements:
        if "live" in m.notes:
            runs[m.notes["live"]].append(m.notes)  # type: ignore[index]
    for (rate, size), notes in runs.items():
        words = f"{rate:g} events/s" + (f" in {size}s" if size else "")
        plan = make_plan(_live_load(rate, size), constants)
        if not size:
            found = median(note["events_per_batch"] for note in notes)
            yield _bar(f"events a batch at {words}", found, plan.batches.events_per_batch)
        kind = _FITTED if (rate, size) == FITTED_LIVE else _HELD_BACK
        yield _bar(
            f"share of a core at {words} ({kind})",
            min(note["server_share"] for note in notes),
            plan.redis_cores,
        )


def _bar(claim: str, actual: float, model: float) -> Bar:
    is_close = abs(model / actual - 1) <= CLOSE
    return Bar(f"{claim}: the model is at most {CLOSE:.0%} off", model / actual, 1.0, is_close)
