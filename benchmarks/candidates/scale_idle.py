"""What processors that find nothing cost the server: ``scale_idle.py URL PROCESSORS SECONDS``."""

from __future__ import annotations

import json
import os
import sys
import time

import redis

import eventspool
from scale_jobs import cpu_us

_WARM = 2.0
"""Seconds that count for nothing."""


def main(url: str, processors: int, seconds: float) -> None:
    """Start the processors, wait, and print what the server spent in a second."""
    server = redis.Redis.from_url(url)
    server.flushall()
    queue = eventspool.QueueOpts(url=url, is_multi_processor=True)
    clients = [
        eventspool.Client("key", data_plane_url="http://127.0.0.1:9", persistence=queue)
        for _ in range(processors)
    ]
    for client in clients:
        client.flush(timeout=0)  # starts it, for there will be no event that does
    time.sleep(_WARM)
    begin, cpu = time.perf_counter(), cpu_us(server)
    time.sleep(seconds)
    used = cpu_us(server) - cpu
    print(json.dumps({"server_us_per_second": used / (time.perf_counter() - begin)}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
