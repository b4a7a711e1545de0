"""
Calls that return once their event is stored: ``durable.py calls|deliver QUEUE_URL SINK_URL SLICES|SECONDS``.

- ``calls``: one thread makes durable calls, eight threads do, and one thread stores the same payload with the driver alone:
  redis-py's ``MULTI … EXEC``, or an ``INSERT`` and ``COMMIT`` of the module ``sqlite3``. They take turns, slice by slice.
  The process delivers what it stores, and before each slice it has delivered all of the slice before.
- ``deliver``: twenty threads make durable calls for so many seconds, while the process delivers in order. Time ends when
  the sink has the last event. A process that falls behind gets twice as long to catch up.

Prints one JSON object.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
import time
import urllib.request
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import eventspool
from benchmarks.event import CONTEXT, EVENT, USER, properties
from eventspool._envelope import seal
from fill import encoded_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Store = Callable[[int], object]
    """Stores the order of this number, and returns ``None`` where that is not certain."""
    Span = tuple[int, int, int]
    """An order's number, and when its call began and ended, in nanoseconds."""

SLICE_CALLS = 400
CALLERS = 8
"""Threads that call at a time where one thread's bare ``MULTI … EXEC`` is the measure."""
CROWD = 20
"""Threads that call while the process delivers in order."""
_THREAD_NUMBERS = 1_000_000
"""Numbers that a thread of the crowd has for its orders, counted from a multiple of this."""
_CATCH_UP = 2.0
"""Times as long as the calls took, after which a delivery that has fallen behind is judged by what has arrived."""
_WAL_FRAMES = 2_000
"""Commits after which SQLite's log has been checkpointed and does not grow any more (1,000 pages)."""
_WARM = 90_000_000
"""Orders from this number on warm up the client and are not counted."""


def make_client(url: str, sink: str) -> tuple[eventspool.Client, Store]:
    """Return a client whose calls are durable, warmed up, and its call."""
    client = eventspool.Client("key", data_plane_url=sink, durability="persisted", persistence=url)

    def track(number: int) -> str | None:
        return client.track(USER, EVENT, properties(number), CONTEXT)

    for number in range(_WARM, _WARM + 50):
        track(number)
    client.flush()
    return client, track


def make_bare(url: str) -> Store:
    """Return what stores an order with the driver alone, as the payload that eventspool would make of it."""
    payloads = [seal(encoded_events(number, number + 1)) for number in range(SLICE_CALLS)]
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///") + ".bare", isolation_level=None)
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE jobs (payload BLOB)")

        def insert(number: int) -> bool:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO jobs VALUES (?)", (payloads[number % SLICE_CALLS],))
            connection.execute("COMMIT")
            return True

        connection.execute("PRAGMA synchronous = off")
        call(insert, range(_WAL_FRAMES))  # while its log still grows, each sync takes longer
        connection.execute("PRAGMA synchronous = full")
        return insert
    import redis

    pipeline = redis.Redis.from_url(url).pipeline(transaction=True)

    def transact(number: int) -> bool:
        pipeline.rpush("bare", payloads[number % SLICE_CALLS])
        pipeline.execute()
        return True

    return transact


def call(store: Store, numbers: Iterable[int]) -> list[Span]:
    """Store an order for each of *numbers* and return the spans of those that are certainly stored."""
    spans: list[Span] = []
    clock = time.perf_counter_ns
    for number in numbers:
        begin = clock()
        stored = store(number)
        end = clock()
        if stored is not None:
            spans.append((number, begin, end))
    return spans


def call_in_threads(store: Store, shares: Iterable[Iterable[int]]) -> list[Span]:
    """Have a thread for each of *shares* make its calls, all at the same time. Return all spans."""
    spans: list[Span] = []
    workers = [
        threading.Thread(target=lambda share=share: spans.extend(call(store, share))) for share in shares
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return spans


def summary(spans: list[Span]) -> dict[str, float]:
    """Return what one slice shows: the cost of a call in microseconds, and calls a second."""
    costs = sorted(end - begin for _, begin, end in spans)
    seconds = (max(end for *_, end in spans) - min(begin for _, begin, _ in spans)) / 1e9
    return {
        "calls": len(costs),
        "p50_us": costs[len(costs) // 2] / 1e3,
        "p99_us": costs[int(len(costs) * 0.99)] / 1e3,
        "calls_per_second": len(costs) / seconds,
    }


def measure_calls(url: str, sink: str, slices: int) -> dict[str, Any]:
    """Measure the three in turns."""
    client, track = make_client(url, sink)
    bare = make_bare(url)
    call(bare, range(50))
    numbers = count()

    def share(calls: int) -> list[int]:
        return list(islice(numbers, calls))

    ways: dict[str, Callable[[], list[Span]]] = {
        "bare": lambda: call(bare, range(SLICE_CALLS)),
        "one": lambda: call(track, share(SLICE_CALLS)),
        "eight": lambda: call_in_threads(track, [share(SLICE_CALLS // 2) for _ in range(CALLERS)]),
    }
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for turn in range(slices):
        for way in reversed(ways) if turn % 2 else ways:
            found[way].append(summary(ways[way]()))
            client.flush()
    return {"slices": found, "events": next(numbers)}


def measure_delivery(url: str, sink: str, seconds: float) -> dict[str, Any]:
    """Measure how fast what a crowd of threads stores is delivered."""
    client, track = make_client(url, sink)
    end = time.perf_counter() + seconds

    def numbers(thread: int) -> Iterable[int]:
        for number in count(thread * _THREAD_NUMBERS):
            if time.perf_counter() >= end:
                return
            yield number

    begin = time.perf_counter()
    spans = call_in_threads(track, [numbers(thread) for thread in range(CROWD)])
    pending = client.flush(timeout=seconds * _CATCH_UP).pending
    elapsed = time.perf_counter() - begin
    with urllib.request.urlopen(f"{sink}/__stats") as answer:
        quiet = json.load(answer)["quiet_seconds"]
    return {
        **summary(spans),
        "seconds": elapsed - quiet,
        "pending": pending,
        "refused": sum(client.stats().refused.values()),
        "spans": spans,
    }


def main(mode: str, url: str, sink: str, size: str) -> None:
    """Measure, print, and leave without delivering what a slow delivery has left."""
    found = (
        measure_calls(url, sink, int(size)) if mode == "calls" else measure_delivery(url, sink, float(size))
    )
    print(json.dumps(found))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
