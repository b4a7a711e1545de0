"""A worker of gunicorn's that is forked first and patched by gevent afterwards, with us imported and used before both."""

from __future__ import annotations

import pytest

from e2e.harness import Store, new_queue_name, run_python

PROGRAM = """
import os, sys, time
import eventspool
url, key, *store = sys.argv[1:]
store = dict(url=store[0], queue_name=store[1]) if store else None
client = eventspool.Client(key, data_plane_url=url, persistence=store, flush_interval=0.05)
client.track("u1", "Loaded")
client.flush(timeout=20)
if child := os.fork():
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))
import warnings
warnings.simplefilter("ignore")
import gevent.monkey
gevent.monkey.patch_all()
import gevent
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
    client.flush(timeout=20)
    time.sleep(0.3)
ending = True
ticking.join()
print(longest)
client.close(10)
"""


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
def test_no_wait_of_ours_halts_the_green_threads(plane, tmp_path, kind, request):
    """What waits in a call of C's halts them all: a request would stand still for seconds."""
    store = {
        "memory": lambda: None,
        "sqlite": lambda: Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name()),
        "redis": lambda: request.getfixturevalue("redis_store"),
    }[kind]()
    args = [store.url, store.queue_name] if store else []
    result = run_python(PROGRAM, plane.url, plane.write_key, *args, measured=False)
    assert float(result.stdout) < 0.5
    assert plane.stats().unique == 5
