"""
A process that leaves with a request under way: ``leaving.py URL STORE WAY``, where STORE is ``queue_opts`` as JSON.

It prints the ids of what it has stored, then ``ready``, and leaves once it is told a line. On a way that a signal begins it
prints ``armed``; on the others it prints ``leaving`` and the moment.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time

if sys.argv[3] == "late":
    atexit.register(lambda: client.track("u1", "Too late"))  # registered before ours, so it runs after it

import eventspool

url, store, way = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
kept = None


def track_for_ever():
    while True:
        client.track("u1", "On and on")
        client.track("u1", None)
        time.sleep(0.001)


class Tracks:
    def __del__(self):
        client.track("u1", "Deleted")
        client.track("u1", None)


def close_and_exit(*_):
    client.close()
    sys.exit()


async def flush_elsewhere(patience=None):
    other = eventspool.AsyncClient("key", data_plane_url=url, persistence=store)
    other.track("u1", "Elsewhere")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(other.flush(), patience)


def start(target):
    threading.Thread(target=target, daemon=True).start()
    time.sleep(0.2)


def arm():
    """Be ready for the signal."""
    print("armed", flush=True)


def leave():
    """Say the moment of leaving."""
    print("leaving", time.monotonic(), flush=True)


def wait_for_the_signal():
    arm()
    signal.pause()


def exit_with_a_status():
    leave()
    sys.exit(3)


def fail():
    leave()
    raise ValueError("boom")


def close_twice():
    leave()
    client.close()
    client.close()


def wait_for_signals_for_ever():
    arm()
    while True:
        signal.pause()


def track_until_a_handler_closes():
    signal.signal(signal.SIGTERM, close_and_exit)
    arm()
    track_for_ever()


def flush_until_a_handler_closes():
    signal.signal(signal.SIGTERM, close_and_exit)
    arm()
    client.flush()


def exit_at_once():
    leave()
    os._exit(4)


def have_a_thread_exit_at_once():
    start(exit_at_once)
    signal.pause()


def track_at_exit():
    atexit.register(lambda: client.track("u1", "At exit"))
    leave()


def track_when_deleted():
    global kept
    kept = Tracks()
    leave()


def track_when_a_cycle_is_deleted():
    gc.disable()
    tracks = Tracks()
    tracks.itself = tracks
    del tracks
    leave()


def have_threads_track():
    for _ in range(4):
        start(track_for_ever)
    leave()


def have_a_thread_flush():
    start(client.flush)
    leave()


def have_a_thread_close():
    start(lambda: client.close(60))
    leave()


def await_a_flush():
    arm()
    asyncio.run(flush_elsewhere())


def await_a_flush_no_longer():
    asyncio.run(flush_elsewhere(patience=0.3))
    leave()


def make_a_client_at_exit():
    atexit.register(lambda: eventspool.Client("key", data_plane_url=url).track("u1", "E"))
    leave()


WAYS = {
    "the last line": leave,
    "sys.exit": exit_with_a_status,
    "an exception": fail,
    "close": close_twice,
    "SIGTERM": wait_for_the_signal,
    "handled": wait_for_signals_for_ever,
    "a handler that closes": track_until_a_handler_closes,
    "a handler that closes amid a flush": flush_until_a_handler_closes,
    "SIGINT": wait_for_the_signal,
    "SIGINT twice": wait_for_the_signal,
    "os._exit": exit_at_once,
    "os._exit of a daemon thread": have_a_thread_exit_at_once,
    "early": track_at_exit,
    "late": leave,
    "__del__ at shutdown": track_when_deleted,
    "__del__ of a cycle at shutdown": track_when_a_cycle_is_deleted,
    "daemon threads that track": have_threads_track,
    "a daemon thread that flushes": have_a_thread_flush,
    "a daemon thread that closes": have_a_thread_close,
    "SIGINT amid an awaited flush": await_a_flush,
    "a flush that is awaited no longer": await_a_flush_no_longer,
    "a client made at exit": make_a_client_at_exit,
}

client = eventspool.Client(
    "key",
    data_plane_url=url,
    persistence=store,
    flush_at=5,
    flush_interval=0.05,
    handle_sigterm=way == "handled",
)
for number in range(20):
    print(client.track("u1", "E", {"n": number}))
client.flush(until="persisted", timeout=20)
while not client.stats().in_flight:
    time.sleep(0.01)
print("ready", flush=True)
sys.stdin.readline()
WAYS[way]()
