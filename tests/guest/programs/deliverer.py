"""Delivers all that some queues hold: ``deliverer.py URL KEY STORE...``, where each STORE is ``queue_opts`` as JSON."""

from __future__ import annotations

import json
import sys
import time

import eventspool

url, key, *stores = sys.argv[1:]
clients = [eventspool.Client(key, data_plane_url=url, persistence=json.loads(store)) for store in stores]


def left(client):
    stats = client.queue.stats()
    return stats.waiting.jobs + stats.delayed.jobs + stats.leased.jobs


for client in clients:
    client.flush()
deadline = time.monotonic() + 100
while any(map(left, clients)):
    assert time.monotonic() < deadline, list(map(left, clients))
    time.sleep(0.05)
for client in clients:
    client.close()
