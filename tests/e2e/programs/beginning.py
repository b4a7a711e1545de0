"""Clients that begin by themselves, or not: ``beginning.py STORY URL KEY STORE-URL QUEUE-NAME``."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import warnings
import weakref

import eventspool
from eventspool._guest import lifecycle

story, url, key, queue, name = sys.argv[1:6]
PATIENCE = 60.0
warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads


def new_client():
    return eventspool.Client(key, data_plane_url=url, persistence={"url": queue, "queue_name": name})


def movers():
    """Return the names of the threads that move events."""
    moving = ("eventspool-processor", "eventspool-flusher")
    return [thread.name for thread in threading.enumerate() if thread.name in moving]


def eventually(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, movers()
        time.sleep(0.01)


def is_delivered():
    with eventspool.open_queue(queue, queue_name=name) as looking:
        stats = looking.stats()
    return not (stats.waiting.jobs or stats.leased.jobs or stats.delayed.jobs)


def begun_unasked():
    client = new_client()
    eventually(lambda: "eventspool-processor" in movers())
    return client


def is_dropped():
    client = new_client()
    known = weakref.ref(client)
    del client
    print(known())


def only_makes_clients():
    """As a command that is over before a client that was only made begins, however slow the machine is."""
    lifecycle._BEGIN_AFTER = 10 * PATIENCE
    new_client()
    kept.extend([new_client(), new_client()])
    atexit.unregister(lifecycle._exit)
    atexit.register(lambda: print(time.monotonic() - before))
    atexit.register(lifecycle._exit)
    before = time.monotonic()


def forks_before_it_tracks():
    kept.append(new_client())
    children = []
    for _ in range(2):
        pid = os.fork()
        if not pid:
            eventually(is_delivered)
            os._exit(0)
        children.append(pid)
    time.sleep(2.5)
    print(movers())
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0


def stands_down():
    client = begun_unasked()
    gate = os.pipe()
    if not os.fork():
        os.close(gate[1])
        os.read(gate[0], 1)  # until its parent has ended
        os._exit(0)
    eventually(lambda: not movers())
    assert client.track("u1", "Asked") is not None
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    os.close(gate[1])
    os.wait()


def goes_on():
    client = begun_unasked()
    client.track("u1", "Asked", callback=lambda *_: None)
    client.track("u1", "Asked")
    if not os.fork():
        os._exit(0)
    os.wait()
    time.sleep(0.5)
    assert client.stats().accepted == 2
    assert "eventspool-processor" in movers()


kept: list[eventspool.Client] = []

if __name__ == "__main__":
    globals()[story]()
