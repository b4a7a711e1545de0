"""
What an operator does to a long queue: ``operate.py erase|export QUEUE_URL MOST_SECONDS USER|PATH``.

Prints one JSON object: the seconds that it took, or MOST_SECONDS where it was not done by then; the events that were erased
or exported, ``null`` where it was not done; the seconds until an erasure first told of its progress; the peak of memory.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

import eventspool
from outage import memory


def _end(signal_number: int, frame: object) -> None:
    raise TimeoutError


def main(what: str, url: str, most_seconds: float, target: str) -> None:
    """Do it, and print."""
    queue = eventspool.open_queue(url)
    events = progress = None

    def note_progress(jobs: int) -> None:
        nonlocal progress
        progress = progress or time.perf_counter() - begin

    signal.signal(signal.SIGALRM, _end)
    signal.setitimer(signal.ITIMER_REAL, most_seconds)
    begin = time.perf_counter()
    try:
        events = (
            queue.erase(target, on_job=note_progress).events
            if what == "erase"
            else queue.export(target, state="waiting")
        )
        signal.setitimer(signal.ITIMER_REAL, 0)
        seconds = time.perf_counter() - begin
    except TimeoutError:
        seconds = most_seconds
    _, peak_mb = memory()
    found = {"seconds": seconds, "events": events, "progress_seconds": progress, "peak_mb": peak_mb}
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4])
