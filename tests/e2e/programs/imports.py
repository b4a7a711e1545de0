"""
Fails where one of our threads imports a module: ``imports.py URL KEY [STORE-URL QUEUE-NAME]``.

It imports as little as it can by itself, since what it has imported no thread of ours imports any more.
"""

from __future__ import annotations

import sys
import threading

import eventspool

url, key, *store = sys.argv[1:]
late = []


def hook(event, details):
    if event == "import" and threading.current_thread() is not threading.main_thread():
        late.append(details[0])


persistence = {"url": store[0], "queue_name": store[1], "is_multi_processor": True} if store else None
client = eventspool.Client(key, data_plane_url=url, persistence=persistence, flush_at=5, flush_interval=0.05)
sys.addaudithook(hook)
client.track("u1", "E", callback=lambda *_: None)
assert client.flush(timeout=20).delivered == 1
client.track("u1", "E", callback=lambda *_: None)
client.close(10)
assert late == [], late
