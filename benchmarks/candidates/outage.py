"""
The load of ``outage``: ``outage.py CLIENT RATE SECONDS SINK_URL [--name NAME] [--queue URL]`` prints one JSON object.

Calls a client RATE times a second for SECONDS while the sink answers with status 503, then has the sink answer again and waits
until the client has delivered what it holds. CLIENT is a module beside this one. What a client refuses is counted and not
offered again: a web application would not wait either.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.event import CONTEXT, properties
from driver import Candidate, Order

_TICK = 0.01
"""Seconds between two bursts of calls: a sleep for each call would cost more than the call."""


def memory() -> tuple[float, float]:
    """Return the resident memory of this process, now and at most so far, in MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return float(lines["VmRSS"].split()[0]) / 1024, float(lines["VmHWM"].split()[0]) / 1024


def drive(candidate: Candidate, rate: float, seconds: float) -> dict[str, Any]:
    """Call at *rate* for *seconds*. Return the samples of memory, one a second, and the accepted numbers as ranges."""
    accepted: list[list[int]] = []
    samples: list[float] = []
    offered = 0
    begin = time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        if elapsed >= len(samples):
            samples.append(memory()[0])
        while offered < elapsed * rate:
            if _is_taken(candidate.track(properties(offered), {**CONTEXT}), candidate.refusal):
                if accepted and accepted[-1][1] == offered:
                    accepted[-1][1] += 1
                else:
                    accepted.append([offered, offered + 1])
            offered += 1
        time.sleep(_TICK)
    now, peak = memory()
    return {"offered": offered, "accepted": accepted, "samples_mb": [*samples, now], "peak_mb": peak}


def _is_taken(result: object, refusal: object) -> bool:
    return result is not refusal and not (isinstance(result, tuple) and not result[0])


def _set_status(sink: str, status: int) -> None:
    urllib.request.urlopen(f"{sink}/__status/{status}", timeout=60).close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("client")
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    parser.add_argument("sink")
    parser.add_argument("--name", default="")
    parser.add_argument("--queue")
    given = parser.parse_args()
    logging.disable()  # some log every attempt
    order = Order(given.name, given.sink, given.queue, idle=False)
    candidate = importlib.import_module(given.client).make(order)
    _set_status(given.sink, 503)
    result = drive(candidate, given.rate, given.seconds)
    _set_status(given.sink, 200)
    begin = time.perf_counter()
    candidate.flush()
    result |= {"recovery_seconds": time.perf_counter() - begin, "recovery_peak_mb": memory()[1]}
    print(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
