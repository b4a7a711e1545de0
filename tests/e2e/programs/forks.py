"""
Stories of forks: ``forks.py STORY URL KEY [STORE-URL QUEUE-NAME]``, where STORY is JSON: its name, and what it is told.

Each story prints the ids that were accepted, by ``P`` (the parent) or ``C`` (a child). A process that hangs is ended by an
alarm, which says where each thread stood.
"""

from __future__ import annotations

import concurrent.futures
import faulthandler
import json
import logging.config
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
import traceback

story = json.loads(sys.argv[1])
url, key = sys.argv[2:4]
lock = threading.Lock()
if story["name"] == "a_lock_of_others":  # its hook is registered before ours, so it is called after ours
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lambda: None)

from quiet import fork_past_python  # noqa: E402

import eventspool  # noqa: E402
from eventspool._guest.process import is_forking, was_forked_past_python  # noqa: E402

faulthandler.register(signal.SIGALRM, chain=True)
signal.alarm(200)
store = None
if sys.argv[4:]:
    store = {
        "url": sys.argv[4],
        "queue_name": sys.argv[5],
        "is_multi_processor": True,
        "job_opts": {"backoff_initial": 0.02, "visibility_timeout": 10.0},
    }


def make_client(**options):
    """Return a client of this program's queue."""
    return eventspool.Client(key, data_plane_url=url, persistence=store, **options)


client = make_client(flush_at=5, flush_interval=story.get("flush_interval", 0.05))


def say(who, message_id):
    assert message_id
    os.write(1, f"{who} {message_id}\n".encode())


def track(who, **options):
    say(who, client.track("u1", "E", {"pid": os.getpid()}, **options))


def track_and_close():
    track("C")
    client.close(10)


def child(work, *, leave=os._exit, how=os.fork):
    """Fork a child that does *work*, and return its process id."""
    pid = how()
    if pid:
        return pid
    signal.alarm(150)  # alarms are not inherited; longer than a flush and a close may take
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        leave(status)


def reap(pid):
    """Wait for a child, which must have ended well."""
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code == 0, f"a child ended with {code}"


class EightThreads:
    """Track all the while."""

    def __init__(self):
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._track) for _ in range(8)]
        for thread in self._threads:
            thread.start()

    def _track(self):
        while not self._stop.wait(0.002):
            track("P")

    def finish(self):
        self._stop.set()
        for thread in self._threads:
            thread.join()
        result = client.flush(timeout=100)
        assert not result.pending, result
        stats = client.stats()
        assert stats.delivered == stats.accepted, stats


# -- by Python ---------------------------------------------------------------------------------------------------------


def exits_at_once():
    threads = EightThreads()
    for number in range(10):
        reap(child((lambda: client.track("u1", "Dies with the child")) if number % 2 else lambda: None))
    threads.finish()
    client.close()


def events_in_the_buffer():
    def work():
        assert client.stats().accepted == 0
        track_and_close()

    for _ in range(3):
        track("P")
    reap(child(work))
    client.close(10)


def own_exit():
    track("P")
    reap(child(lambda: track("C"), leave=sys.exit))


def grandchildren():
    def descend(depth):
        track("C")
        if depth:
            reap(child(lambda: descend(depth - 1)))
        track_and_close()

    track("P")
    reap(child(lambda: descend(2)))
    client.close(10)


def before_the_first_event():
    for pid in [child(track_and_close) for _ in range(4)]:
        reap(pid)
    track("P")
    client.close(10)


def from_another_thread():
    track("P")
    thread = threading.Thread(target=lambda: reap(child(track_and_close)))
    thread.start()
    thread.join()
    client.close(10)


def callbacks():
    def heard(error, message_id):
        assert error is None
        say("P" if os.getpid() == parent else "C", message_id)

    def work():
        client.track("u1", "E", callback=heard)
        client.close(10)

    parent = os.getpid()
    for _ in range(5):
        client.track("u1", "E", callback=heard)
    reap(child(work))
    client.close(10)


def track_three():
    for _ in range(3):
        track("C")


def processes():
    track("P")
    context = multiprocessing.get_context(story["method"])
    started = [context.Process(target=track_three) for _ in range(3)]
    for process in started:
        process.start()
    for process in started:
        process.join(100)
    assert [process.exitcode for process in started] == [0, 0, 0]
    client.close(10)


def track_one(number):
    track("C")


def pool():
    track("P")
    context = multiprocessing.get_context(story["method"])
    if story["kind"] == "Pool":
        workers = context.Pool(3)
        workers.map(track_one, range(30), 1)
        workers.close()
        workers.join()
    else:
        with concurrent.futures.ProcessPoolExecutor(3, context) as workers:
            list(workers.map(track_one, range(30)))
    client.close(10)


def not_past_python():
    kept = [make_client() for _ in range(300)]

    def work():
        assert not was_forked_past_python()
        track_and_close()

    reap(child(work))
    assert len(kept) == 300


def storm():
    threads, finished = EightThreads(), []
    seed, forks, forkers = story["seed"], story["forks"], story["forkers"]

    def work():
        track_three()
        result = client.flush(timeout=60)
        assert not result.pending, result
        stats = client.stats()
        assert stats.delivered == stats.accepted == 3, stats
        client.close(10)

    def fork_often(number):
        dice, running = random.Random(f"{seed} {number}"), []
        for _ in range(forks // forkers):
            running.append(child(work))
            if len(running) * forkers >= 4:
                reap(running.pop(0))
            time.sleep(dice.choice([0, dice.uniform(0, 0.02)]))
        for pid in running:
            reap(pid)
        finished.append(number)

    forking = [threading.Thread(target=fork_often, args=(number,)) for number in range(forkers)]
    for thread in forking:
        thread.start()
    for thread in forking:
        thread.join()
    assert len(finished) == forkers
    threads.finish()
    client.close()


# -- by a server that is written in C ------------------------------------------------------------------------------------


def past_python_children():
    def work():
        for _ in range(12):
            track("C")
        assert not client.flush(timeout=60).pending
        assert client.stats().accepted == client.stats().delivered == 12
        track_and_close()

    track("P")
    assert not client.flush(timeout=60).pending
    for _ in range(3):
        reap(child(work, how=fork_past_python))
    track("P")
    client.close(10)


def past_python_durable():
    global client
    client = make_client(durability="persisted", timeout=60.0)

    def work():
        began = time.monotonic()
        track("C")
        assert time.monotonic() - began < 30.0
        client.close(10)

    track("P")
    for _ in range(2):
        reap(child(work, how=fork_past_python))
    track("P")
    client.close(10)


def past_python_exit():
    global client
    client.close()
    client = make_client(flush_interval=3600)
    for _ in range(3):
        track("P")
    pid = child(lambda: story["used"] and track("C"), leave=sys.exit, how=fork_past_python)
    began = time.monotonic()
    reap(pid)
    assert time.monotonic() - began < 4.0, "it waited for threads that it does not have"
    client.close(10)


def past_python_first_call():
    called = []
    queue = store and eventspool.open_queue(store["url"], queue_name=store["queue_name"])

    def nothing_was_accepted():
        assert client.stats().accepted == 0

    calls = {
        "a callback": lambda: client.track("u1", "E", callback=lambda *_: called.append(None)),
        "flush": lambda: client.flush(timeout=60),
        "a flush with a callback": lambda: client.flush(lambda *_: called.append(None)),
        "stats": nothing_was_accepted,
        "queue": lambda: store and client.queue.stats(),
        "create_persistence_queue": lambda: store and client.create_persistence_queue(store),
        "a client that is new": lambda: make_client().close(),
        "a queue of the parent's": lambda: store and queue.stats(),
    }

    def work():
        began = time.monotonic()
        calls[story["first"]]()
        track("C")
        assert not client.flush(timeout=60).pending
        client.close(10)
        assert time.monotonic() - began < 30.0

    track("P")
    assert not client.flush(timeout=60).pending
    if store:
        queue.stats()
    reap(child(work, how=fork_past_python))
    if store:
        queue.stats()
    client.close(10)
    if store:
        queue.close()


def amid_a_durable_call():
    global client
    client = make_client(durability="persisted", timeout=20.0)
    track("P")
    backend = client._beginning.ready.engine.backend
    commit, entered, may_go = backend.commit, threading.Event(), threading.Event()

    def hold(jobs):
        entered.set()
        assert may_go.wait(20)
        return commit(jobs)

    def fork(*_):
        reap(child(track_and_close))
        may_go.set()

    def interrupt():
        assert entered.wait(20)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    backend.commit = hold
    signal.signal(signal.SIGUSR1, fork)
    threading.Thread(target=interrupt).start()
    track("P")
    assert may_go.is_set()
    track("P")
    client.close(10)


# -- amid locks of others ------------------------------------------------------------------------------------------------


def track_with_a_new_client():
    other = make_client(durability="persisted" if store else "buffered", timeout=60.0)
    say("P", other.track("u1", "E"))
    other.close(10)


MEANWHILE = {
    "makes a client": make_client,
    "tracks": lambda: track("P"),
    "tracks with a client that is new": track_with_a_new_client,
    "looks into the queue": lambda: store and client.queue.stats(),
    "flushes": lambda: client.flush(timeout=10),
    "closes": lambda: client.close(5),
}


def a_lock_of_logging():
    client.flush(timeout=10)
    entered, forking = threading.Event(), threading.Event()
    os.register_at_fork(before=forking.set)  # the last that is registered is the first that is called

    class Handler(logging.Handler):
        def __init__(self):
            super().__init__()
            entered.set()
            assert forking.wait(60)
            MEANWHILE[story["does"]]()

    def fork():
        entered.wait(60)
        reap(child(lambda: client.track("u1", "E") and client.close(10)))

    thread = threading.Thread(target=fork)
    thread.start()
    began = time.monotonic()
    handlers = {"h": {"()": Handler}}
    logging.config.dictConfig({"version": 1, "handlers": handlers, "root": {"handlers": ["h"]}})
    assert time.monotonic() - began < 30.0
    thread.join()
    client.close(10)


def a_lock_of_others():
    client.flush(timeout=10)
    entered, held = threading.Event(), []

    def hold():
        with lock:
            entered.set()
            deadline = time.monotonic() + 60
            while not is_forking():
                assert time.monotonic() < deadline
                time.sleep(0.001)
            began = time.monotonic()
            MEANWHILE[story["does"]]()
            assert time.monotonic() - began < 30.0
        held.append(True)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(60)
    reap(child(lambda: None))
    thread.join()
    assert held
    client.close(10)


if __name__ == "__main__":
    globals()[story["name"]]()
