"""
The load that every candidate of ``throughput`` gets, each in a process of its own.

``SCRIPT idle|flat-out EVENTS SINK_URL [--name NAME] [--queue URL] [--processes N]`` prints one JSON object.

- ``idle``: bursts of calls while nothing is delivered: no other thread of the process is at work.
- ``flat-out``: one thread calls as fast as it can while the client delivers, and waits where the client is full, so nothing
  is dropped. Time and CPU count from the first call until the client says that all is delivered.

With more *processes* each has its share of the events, all begin at the same moment, and all go on delivering until the last
one is done. The time then ends when the sink has the last event, because a process may learn late what another delivered.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import resource
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.event import CONTEXT, properties, varied_properties

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Candidate", "Order", "run"]

_WARM = 90_000_000
"""Orders from this number on warm up the client and its connection. They are not counted."""
_WARM_EVENTS = 50
_VARIETY = 2000
_BURST = 500
"""Idle: less than makes any client deliver."""


@dataclass(frozen=True)
class Order:
    """What a script is asked to make: which client, for which sink and queue, and whether it may deliver."""

    name: str
    sink: str
    queue: str | None
    idle: bool

    @property
    def port(self) -> int:
        """The sink's port on 127.0.0.1."""
        return int(self.sink.rsplit(":", 1)[1])


@dataclass(frozen=True)
class Candidate:
    """
    A client, ready to be called.

    Args:
        track: Called, and timed, as ``track(properties, context)``.
        flush: Returns when everything is delivered.
        rest: Idle: called between bursts, to have the client empty again.
        refusal: What *track* returns where it took nothing, to be called again. Compared by identity.
        is_full: Asked before each call, outside the timed span; while it is true the caller waits.
    """

    track: Callable[[dict[str, Any], dict[str, Any]], object]
    flush: Callable[[], object]
    rest: Callable[[], object]
    refusal: object = object()
    is_full: Callable[[], bool] | None = None


@functools.cache
def _variety() -> list[dict[str, Any]]:
    return varied_properties(_VARIETY)


def _varied(number: int) -> dict[str, Any]:
    return {**_variety()[number % _VARIETY], "order_id": f"o-{number:08d}"}


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _summary(costs: Sequence[int]) -> dict[str, float]:
    ordered = sorted(costs)

    def at(share: float) -> float:
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] / 1000

    return {"track_p50_us": at(0.5), "track_p99_us": at(0.99), "track_p999_us": at(0.999)}


def _idle(candidate: Candidate, events: int) -> dict[str, float]:
    costs = []
    clock, track = time.perf_counter_ns, candidate.track
    for start in range(-_BURST, events, _BURST):  # one burst more, to warm up
        if start == 0:
            costs.clear()
        calls = [(properties(number), {**CONTEXT}) for number in range(max(start, 0), max(start, 0) + _BURST)]
        for given, context in calls:
            before = clock()
            track(given, context)
            costs.append(clock() - before)
        candidate.rest()
    return _summary(costs)


def _flood(candidate: Candidate, first: int, events: int) -> list[int]:
    """Call as fast as possible. Return what each call cost, in nanoseconds."""
    costs: list[int] = []
    note, clock, sleep = costs.append, time.perf_counter_ns, time.sleep
    track, refusal, is_full = candidate.track, candidate.refusal, candidate.is_full
    for number in range(first, first + events):
        given, context = _varied(number), {**CONTEXT}
        if is_full is not None:
            while is_full():
                sleep(0.001)
        while True:
            before = clock()
            result = track(given, context)
            cost = clock() - before
            if result is not refusal:
                break
            sleep(0.001)
        note(cost)
    return costs


def _warm_up(candidate: Candidate, first: int) -> None:
    _variety()
    for number in range(_WARM + first, _WARM + first + _WARM_EVENTS):
        candidate.track(properties(number), {**CONTEXT})
    candidate.flush()


def _flat_out(candidate: Candidate, events: int) -> dict[str, float]:
    _warm_up(candidate, 0)
    cpu, begin = _cpu_seconds(), time.perf_counter()
    costs = _flood(candidate, 0, events)
    candidate.flush()
    seconds, cpu = time.perf_counter() - begin, _cpu_seconds() - cpu
    return _summary(costs) | {"seconds": seconds, "cpu_seconds": cpu}


def _tell(message: object) -> None:
    print(json.dumps(message), flush=True)


def _share_of_flat_out(candidate: Candidate, first: int, events: int) -> None:
    """One of several processes: begins, and ends, when the parent says so."""
    _warm_up(candidate, first)
    _tell("ready")
    sys.stdin.readline()
    cpu = _cpu_seconds()
    costs = _flood(candidate, first, events)
    candidate.flush()
    _tell("done")
    sys.stdin.readline()
    cpu = _cpu_seconds() - cpu
    _tell({"cpu_seconds": cpu, "costs": costs})


def _in_processes(count: int, events: int, sink: str) -> dict[str, float]:
    share = events // count
    pipe = subprocess.PIPE
    children = [
        subprocess.Popen(
            [sys.executable, *sys.argv, "--share", str(share), "--first", str(share * index)],
            stdin=pipe,
            stdout=pipe,
            text=True,
        )
        for index in range(count)
    ]

    def hear() -> list[Any]:
        return [json.loads(child.stdout.readline()) for child in children]  # type: ignore[union-attr]

    def say() -> None:
        for child in children:
            child.stdin.write("\n")  # type: ignore[union-attr]
            child.stdin.flush()  # type: ignore[union-attr]

    hear()
    begin = time.perf_counter()
    say()
    hear()
    with urllib.request.urlopen(f"{sink}/__stats") as answer:
        quiet = json.load(answer)["quiet_seconds"]
    seconds = time.perf_counter() - begin - quiet
    say()
    results = hear()
    costs = [cost for result in results for cost in result["costs"]]
    return _summary(costs) | {
        "seconds": seconds,
        "cpu_seconds": sum(result["cpu_seconds"] for result in results),
    }


def run(make: Callable[[Order], Candidate]) -> None:
    """Do what the command line asks for with the client that *make* returns, print the result and end the process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["idle", "flat-out"])
    parser.add_argument("events", type=int)
    parser.add_argument("sink")
    parser.add_argument("--name", default="")
    parser.add_argument("--queue")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="one of several processes: its first event")
    parser.add_argument("--share", type=int, help="one of several processes: its events")
    given = parser.parse_args()
    order = Order(given.name, given.sink, given.queue, given.mode == "idle")
    if given.share is not None:
        _share_of_flat_out(make(order), given.first, given.share)
    elif given.processes > 1:
        _tell(_in_processes(given.processes, given.events, given.sink))
    elif order.idle:
        _tell(_idle(make(order), given.events))
    else:
        _tell(_flat_out(make(order), given.events))
    sys.stdout.flush()
    os._exit(0)  # all is delivered, and some clients take seconds to find that out at exit
