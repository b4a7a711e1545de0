"""
A small load from end to end: ``scale_live.py URL SINK EVENTS_A_SECOND SECONDS [EVENTS_A_BATCH]``.

One client tracks at that rate and only stores, another one delivers. Prints how many events a job had, how many jobs there
were each second, and how busy the server's main thread was.
"""

from __future__ import annotations

import json
import os
import sys
import time

import redis

import eventspool
from benchmarks.event import CONTEXT, EVENT, varied_properties
from scale_jobs import cpu_us

_LONGEST = 570
"""Bytes of one of the longer events, by which a batch is kept small."""
_STEP = 0.004
"""Seconds between two looks at how many events are due."""
_WARM = 1.0
"""Seconds that count for nothing."""
_VARIED = varied_properties(500)


def main(url: str, sink: str, rate: float, seconds: float, size: float = 0) -> None:
    """Track for a second to warm up, then measure."""
    server = redis.Redis.from_url(url)
    server.flushall()
    queue = eventspool.QueueOpts(url=url, is_multi_processor=True)
    bounds = {"max_batch_bytes": int(size * _LONGEST), "max_event_bytes": 800} if size else {}
    storing = eventspool.Client("key", process=False, persistence=queue, **bounds)
    delivering = eventspool.Client("key", data_plane_url=sink, persistence=queue)
    delivering.flush(timeout=0)  # starts it, for there will be no event that does

    def track(begin: float, first: int, end: float) -> int:
        tracked = first
        while (now := time.perf_counter()) < end:
            while tracked < first + (now - begin) * rate:
                storing.track(f"u{tracked % 1000}", EVENT, _VARIED[tracked % len(_VARIED)], {**CONTEXT})
                tracked += 1
            time.sleep(_STEP)
        return tracked

    begin = time.perf_counter()
    warm = track(begin, 0, begin + _WARM)
    begin, cpu = time.perf_counter(), cpu_us(server)
    sent, arrived = delivering.stats().sent, delivering.queue.stats().accepted_events
    track(begin, warm, begin + seconds)
    seconds, used = time.perf_counter() - begin, cpu_us(server) - cpu
    jobs = delivering.stats().sent - sent
    events = delivering.queue.stats().accepted_events - arrived
    found = {
        "events_per_batch": events / jobs,
        "jobs_per_second": jobs / seconds,
        "events_per_second": events / seconds,
        "server_share": used / seconds / 1e6,
        "server_job_us": used / jobs,
    }
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:]))
