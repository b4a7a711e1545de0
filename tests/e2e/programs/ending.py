"""
Processes that come to their end: ``ending.py STORY URL KEY [STORE-URL QUEUE-NAME]``.

STORY is JSON: its name, and what it is told.
"""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import signal
import sys
import threading
import time

story = json.loads(sys.argv[1])
if story["name"] == "exit_handlers":  # registered before the import of eventspool, so it runs after ours

    @atexit.register
    def late():
        print("late", *(each.track("u1", "Late") for each in (used, unused, new_client())))


import eventspool  # noqa: E402

url, key = sys.argv[2:4]
store = None
if sys.argv[4:]:
    store = {"url": sys.argv[4], "queue_name": sys.argv[5], "job_opts": {"backoff_initial": 0.02}}


def new_client(**options):
    return eventspool.Client(
        key, data_plane_url=url, persistence=store, **{"flush_interval": 3600.0, **options}
    )


def no_threads_before_the_first_event():
    alone = [threading.main_thread()]
    assert threading.enumerate() == alone
    client = new_client()
    assert threading.enumerate() == alone
    client.stats()
    assert threading.enumerate() == alone
    assert client.track("", "") is None  # refused: not an event
    assert threading.enumerate() == alone
    client.track("u1", "E")
    assert len(threading.enumerate()) > 1


# -- the exit --------------------------------------------------------------------------------------------------------------


def events_at_exit():
    client = new_client()
    for n in range(30):
        client.track("u1", "E", {"n": n})
    if story["ending"] == "sys.exit":
        sys.exit(3)
    elif story["ending"] == "an exception":
        raise ValueError("boom")
    elif story["ending"] == "another thread's end":
        threading.Thread(target=lambda: [client.track("u1", "E") for _ in range(5)]).start()


def a_client_that_was_dropped():
    new_client().track("u1", "E")
    gc.collect()


def no_thread_at_exit():
    def start(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    clients = [new_client(on_error=print) for _ in range(3)]
    for client in clients:
        client.track("u1", "E", callback=lambda error, _: print("called", error))
    atexit.register(lambda: setattr(threading.Thread, "start", start))


def a_closing_that_fails():
    clients = [new_client() for _ in range(3)]
    for client in clients:
        client.track("u1", "E")
    from eventspool._closing import Closing

    real, calls = Closing.begin, []

    def begin(closing):
        calls.append(closing)
        if len(calls) == 1:
            raise ZeroDivisionError
        real(closing)

    Closing.begin = begin


def an_event_in_vain():
    new_client(timeout=200.0).track("u1", "E")


def ten_events():
    logging.basicConfig()
    client = new_client()
    for n in range(10):
        client.track("u1", "E", {"n": n})


def exit_handlers():
    global used, unused
    atexit.register(lambda: print("early", used.track("u1", "Early") is not None))
    used, unused = new_client(), new_client()
    used.track("u1", "E")


# -- SIGTERM ---------------------------------------------------------------------------------------------------------------


def track_for_ever():
    """Print the ids until the client is closed, as fast as a busy machine delivers them in the seconds of an exit."""
    client = new_client(handle_sigterm=story["handled"], flush_interval=0.05)
    while message_id := client.track("u1", "E"):
        os.write(1, message_id.encode() + b"\n")
        time.sleep(0.002)


def sigterm():
    track_for_ever()
    signal.pause()


def sigterm_with_a_handler():
    def mine(signum, frame):
        assert threading.current_thread() is threading.main_thread()
        print("mine", flush=True)
        sys.exit(7)

    signal.signal(signal.SIGTERM, mine)
    track_for_ever()
    while True:
        signal.pause()


if __name__ == "__main__":
    globals()[story["name"]]()
