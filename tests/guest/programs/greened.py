"""
A worker that is forked first and patched by gevent afterwards: ``greened.py URL KEY [STORE-URL QUEUE-NAME]``.

It prints the longest that a green thread stood still, in seconds, while others tracked, flushed and looked at counts.
"""

from __future__ import annotations

import os
import sys
import time
import warnings

import eventspool

url, key, *store = sys.argv[1:]
persistence = {"url": store[0], "queue_name": store[1]} if store else None
client = eventspool.Client(key, data_plane_url=url, persistence=persistence, flush_interval=0.05)
client.track("u1", "Loaded")
client.flush(timeout=60)
if child := os.fork():
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))

warnings.simplefilter("ignore")
import gevent.monkey  # noqa: E402

gevent.monkey.patch_all()
import gevent  # noqa: E402

longest, ending = 0.0, False


def tick():
    global longest
    last = time.monotonic()
    while not ending:
        time.sleep(0.01)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()


ticking = gevent.spawn(tick)
time.sleep(0.05)
for _ in range(4):
    client.track("u1", "Requested")
    client.stats()
    client.flush(timeout=60)
    time.sleep(0.3)
ending = True
ticking.join()
print(longest)
client.close(60)
