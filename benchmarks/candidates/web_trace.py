"""
The web application's handler, called without a server, and what each request waited for. Questions as for web_handler.py.

An answer has ``parts`` besides. They say by how many milliseconds the slowest hundredth of the requests took longer than the
median one, by what took them, and how long the longest full collection of garbage took. A request that had to wait for earlier
ones inherits what those waited for.

- ``collector``: collections of garbage.
- ``scheduler``: the thread could run and another thread or process had the processor (``schedstat`` of the kernel).
- ``interpreter``: the thread neither ran nor could: another thread had the interpreter, or the alarm rang late.
- ``work``: the request used more processor time than the median one.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import threading
import time
from collections import Counter
from operator import itemgetter
from statistics import mean, median
from typing import TYPE_CHECKING, Any, NamedTuple

from web_app import handle

if TYPE_CHECKING:
    from collections.abc import Sequence

_clock = time.perf_counter_ns
_OLDEST = 2
"""The generation whose collection visits every object."""


class Delay:
    """The nanoseconds that this thread has waited for a processor so far. Asking does not let go of the interpreter."""

    def __init__(self) -> None:
        thread = threading.get_native_id()
        self._file = os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY)
        self._buffer = ctypes.create_string_buffer(128)
        self._read = ctypes.PyDLL(None).pread

    def __call__(self) -> int:
        length = self._read(self._file, self._buffer, 127, 0)
        return int(self._buffer.raw[:length].split()[1])


class Collector:
    """The nanoseconds that collections of garbage have taken so far, on this thread and on others, and each full one."""

    def __init__(self) -> None:
        self.here = self.elsewhere = 0
        self.full: list[int] = []
        self._begin = 0
        self._thread = threading.get_ident()
        gc.callbacks.append(self._note)

    def _note(self, phase: str, about: dict[str, int]) -> None:
        if phase == "start":
            self._begin = _clock()
            return
        taken = _clock() - self._begin
        if threading.get_ident() == self._thread:
            self.here += taken
        else:
            self.elsewhere += taken
        if about["generation"] == _OLDEST:
            self.full.append(taken)


class Request(NamedTuple):
    """
    One request, in nanoseconds. A tuple of numbers is soon left alone by the collector: measuring must not make work for it.

    Args:
        latency: From the scheduled moment until the answer.
        behind: Of it, until the request before was answered.
        collected: Collections of garbage since then.
        delayed: Waits for a processor.
        blocked: Waits for anything else, but for the scheduled moment.
        worked: Processor time, without that of collections.
    """

    latency: int
    behind: int
    collected: int
    delayed: int
    blocked: int
    worked: int


def measure(carts: Sequence[bytes], rate: float | None) -> list[Request]:
    """Handle all *carts*, on schedule."""
    found = []
    begin = previous_end = _clock()
    for number, cart in enumerate(carts):
        moment = begin + int(number / rate * 1e9) if rate else _clock()
        delay_asleep, elsewhere_asleep = delay(), collector.elsewhere
        wait = moment - _clock()
        if wait > 0:
            time.sleep(wait / 1e9)
        delay_awake, elsewhere_awake = delay(), collector.elsewhere
        here, worked, start = collector.here, time.thread_time_ns(), _clock()
        handle("/", cart)
        end, worked, here = _clock(), time.thread_time_ns() - worked, collector.here - here
        delay_done, elsewhere_done = delay(), collector.elsewhere
        late = max(start - max(moment, previous_end) - (delay_awake - delay_asleep), 0)
        late_by_collector = min(late, elsewhere_awake - elsewhere_asleep)
        elsewhere = elsewhere_done - elsewhere_awake
        blocked = max(end - start - worked - (delay_done - delay_awake) - elsewhere, 0)
        found.append(
            Request(
                latency=end - moment,
                behind=max(previous_end - moment, 0),
                collected=here + elsewhere + late_by_collector,
                delayed=delay_done - delay_asleep,
                blocked=late - late_by_collector + blocked,
                worked=worked - here,
            )
        )
        previous_end = end
    return found


def explain(requests: Sequence[Request]) -> dict[str, float]:
    """Return the parts of the slowest hundredth, in milliseconds."""
    usual = Request(*(median(column) for column in zip(*requests, strict=True)))
    inherited: Counter[str] = Counter()
    explained = []
    for request in requests:
        own = Counter(
            collector=request.collected - usual.collected,
            scheduler=request.delayed - usual.delayed,
            interpreter=request.blocked - usual.blocked,
            work=request.worked - usual.worked,
        )
        inherited = +own + (inherited if request.behind else Counter())
        explained.append((request.latency - usual.latency, inherited))
    slowest = sorted(explained, key=itemgetter(0))[-max(len(requests) // 100, 1) :]
    return {
        name: mean(excess * waits[name] / (waits.total() or 1) for excess, waits in slowest) / 1e6
        for name in ("collector", "scheduler", "interpreter", "work")
    }


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked for."""
    begin = time.perf_counter()
    collector.full.clear()
    requests = measure([cart.encode() for cart in question["carts"]], question["rate"])
    seconds = time.perf_counter() - begin
    full = collector.full
    parts = {
        "full_collections": len(full),
        "full_collection_ms": max(full, default=0) / 1e6,
        **explain(requests),
    }
    return {"latencies": [r.latency / 1e6 for r in requests], "seconds": seconds, "parts": parts}


delay, collector = Delay(), Collector()
for line in sys.stdin:
    given = json.loads(line)
    if given.get("flush"):
        print(handle("/flush", b"").decode(), flush=True)
    else:
        print(json.dumps(answer(given)), flush=True)
