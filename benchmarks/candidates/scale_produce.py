"""
What tracking and storing costs a process: ``scale_produce.py URL EVENTS EVENTS_A_BATCH``. Nobody delivers.

The batches are as large as ``max_batch_bytes`` lets them be, so that is what makes them small.
"""

from __future__ import annotations

import json
import os
import resource
import sys

import eventspool
from benchmarks.event import CONTEXT, EVENT, varied_properties
from fill import encoded_events

_VARIED = varied_properties(2000)


def cpu_seconds() -> float:
    """Return the processor time that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(url: str, events: int, size: int) -> None:
    """Track all events as fast as they are taken, and print the processor time and the jobs that they became."""
    longest = max(map(len, encoded_events(0, 500, 1000)))
    queue = eventspool.QueueOpts(url=url, is_multi_processor=True, max_bytes=1 << 40)
    client = eventspool.Client(
        "key",
        process=False,
        persistence=queue,
        max_batch_bytes=max(1024, size * (longest + 2) + 60),
        max_event_bytes=800,
    )
    client.track("warm", EVENT)
    client.flush(until="persisted")
    before, jobs = cpu_seconds(), client.queue.stats().waiting.jobs
    for number in range(events):
        given = {**_VARIED[number % len(_VARIED)], "order_id": f"o-{number:08d}"}
        while client.track(f"u{number % 1000}", EVENT, given, {**CONTEXT}) is None:
            client.flush(until="persisted")
    client.flush(until="persisted")
    used = cpu_seconds() - before
    print(json.dumps({"cpu_seconds": used, "jobs": client.queue.stats().waiting.jobs - jobs}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
