"""
A worker that produces nothing and delivers what is stored: ``drain.py QUEUE_URL SINK_URL JOBS shared|ordered [SECONDS]``.

After SECONDS it stops, whatever is left.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time

import eventspool
from eventspool._backends import import_driver


def cpu_seconds() -> float:
    """Return the processor time that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(queue_url: str, sink_url: str, jobs: int, mode: str, most_seconds: float = 600.0) -> None:
    """Drain the queue and print how long that took, from making the client until the queue was empty."""
    persistence = eventspool.QueueOpts(url=queue_url, is_multi_processor=mode == "shared")
    import_driver(persistence)  # a worker does it once, however long it drains
    cpu, begin = cpu_seconds(), time.perf_counter()
    client = eventspool.Client("key", data_plane_url=sink_url, persistence=persistence)
    client.flush(timeout=0)  # starts it, for there will be no event that does
    end = begin + most_seconds
    while client.stats().sent < jobs and time.perf_counter() < end:
        time.sleep(0.005)
    assert client.queue is not None
    while (left := count_left(stats := client.queue.stats())) and time.perf_counter() < end:
        time.sleep(0.001)  # the last acknowledgements
    seconds, used = time.perf_counter() - begin, cpu_seconds() - cpu
    if not left:
        client.close()
    found = {"seconds": seconds, "cpu_seconds": used, "failed": stats.failed.jobs, "drained": not left}
    print(json.dumps(found), flush=True)
    os._exit(0)


def count_left(stats: eventspool.QueueStats) -> int:
    """Return how many jobs are not delivered yet."""
    return stats.waiting.jobs + stats.delayed.jobs + stats.leased.jobs


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], *map(float, sys.argv[5:]))
