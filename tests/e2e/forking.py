"""
Programs that fork, and what they promise: they print the ids that were accepted, by ``P`` (the parent) or ``C`` (a child).

Whoever hangs in them is ended by an alarm, which fails the test and says where each thread stood.
"""

from __future__ import annotations

import pytest

from e2e.harness import PATIENCE, Store, new_queue_name, run_python

PREAMBLE = """
import atexit, faulthandler, os, random, signal, sys, threading, time
import multiprocessing
import eventspool
faulthandler.register(signal.SIGALRM, chain=True)
signal.alarm(85)
url, key = sys.argv[1:3]
store, flush_interval = None, 0.05
if len(sys.argv) > 3:
    store = dict(url=sys.argv[3], queue_name=sys.argv[4], is_multi_processor=True,
                 job_opts=dict(backoff_initial=0.02, visibility_timeout=5.0))
client = eventspool.Client(key, data_plane_url=url, persistence=store, flush_at=5, flush_interval=flush_interval)

def track(who, **options):
    message_id = client.track("u1", "E", {"pid": os.getpid()}, **options)
    assert message_id
    os.write(1, f"{who} {message_id}\\n".encode())
    return message_id

def child(work, *, leave=os._exit):
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(40)  # alarms are not inherited; longer than a flush and a close may take
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        leave(status)

def reap(pid):
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code == 0, f"a child ended with {code}"
"""

EIGHT_THREADS = """
stop = threading.Event()
def keep_tracking():
    while not stop.wait(0.002):
        track("P")
threads = [threading.Thread(target=keep_tracking) for _ in range(8)]
for thread in threads: thread.start()
def finish():
    stop.set()
    for thread in threads: thread.join()
    result = client.flush(timeout=30)
    assert not result.pending, result
    stats = client.stats()
    assert stats.delivered == stats.accepted, stats
"""


@pytest.fixture(params=["memory", "sqlite", "redis"])
def args(request, plane, tmp_path):
    """The arguments of a forking program, once for each backend."""
    if request.param == "memory":
        return [plane.url, plane.write_key]
    if request.param == "sqlite":
        store = Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name())
    else:
        store = request.getfixturevalue("redis_store")
    return [plane.url, plane.write_key, store.url, store.queue_name]


def run(code, args):
    """Run *code* after the preamble; return the ids that the parent and the children were given."""
    result = run_python(PREAMBLE + code, *args, timeout=90.0, measured=EIGHT_THREADS not in code)
    assert result.stderr == ""
    lines = [line.split() for line in result.stdout.splitlines()]
    parents, children = ([i for who, i in lines if who == kind] for kind in "PC")
    assert len(set(parents + children)) == len(parents) + len(children), "two processes drew the same id"
    return parents, children


def assert_once(plane, ids):
    """Fail unless each of *ids* arrived, once."""
    assert plane.wait_for(len(ids), timeout=PATIENCE), (
        f"{len(ids) - plane.stats().unique} of {len(ids)} are missing"
    )
    assert set(plane.unique_ids()) == set(ids)
    assert plane.stats().duplicates == 0


def run_program(path, args):
    """Run a program file, which spawned processes can import again."""
    code = (
        f"import runpy, sys; sys.argv[0] = {str(path)!r}; runpy.run_path({str(path)!r}, run_name='__main__')"
    )
    result = run_python(code, *args, timeout=90.0)
    lines = [line.split() for line in result.stdout.splitlines()]
    return tuple([i for who, i in lines if who == kind] for kind in "PC")
