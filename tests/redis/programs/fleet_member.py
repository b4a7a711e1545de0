"""Ten clients in one process that deliver what is in a queue until they are killed: URL, queue's name, data plane's URL."""

from __future__ import annotations

import sys
import time

import eventspool

url, queue_name, plane = sys.argv[1:]
clients = [
    eventspool.Client(
        "k",
        data_plane_url=plane,
        persistence=eventspool.QueueOpts(
            url=url, queue_name=queue_name, prefix="test", is_multi_processor=True
        ),
    )
    for _ in range(10)
]
print("ready", flush=True)
time.sleep(600)
