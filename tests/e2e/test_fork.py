"""
Forks: a client works in every process, and each process answers for its own events.

The forking is done by a process of its own: it is what prints the ids that were accepted, by ``P`` (the parent) or ``C`` (a
child). Whoever hangs is ended by an alarm, which fails the test.
"""

from __future__ import annotations

import pytest

from e2e.harness import PATIENCE, Store, new_queue_name, run_python

PREAMBLE = """
import atexit, os, random, signal, sys, threading, time
import multiprocessing
import eventspool
signal.alarm(60)
url, key = sys.argv[1:3]
store = None
if len(sys.argv) > 3:
    store = dict(url=sys.argv[3], queue_name=sys.argv[4], is_multi_processor=True,
                 job_opts=dict(backoff_initial=0.02, visibility_timeout=5.0))
client = eventspool.Client(key, data_plane_url=url, persistence=store, flush_at=5, flush_interval=0.05)

def track(who, **options):
    message_id = client.track("u1", "E", {"pid": os.getpid()}, **options)
    assert message_id
    os.write(1, f"{who} {message_id}\\n".encode())
    return message_id

def child(work, *, leave=os._exit):
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(20)  # alarms are not inherited
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
    result = run_python(PREAMBLE + code, *args, timeout=90.0)
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


@pytest.mark.timeout(150)
def test_fifty_forks_while_eight_threads_track(plane, args):
    """No deadlock in 50 children; the parent's events arrive once, by the parent, the children's once, by them."""
    code = (
        EIGHT_THREADS
        + """
def work():
    for _ in range(3): track("C")
    result = client.flush(timeout=15)
    assert not result.pending, result
    stats = client.stats()
    assert stats.delivered == stats.accepted == 3, stats
    client.close(10)
running = []
for _ in range(50):
    running.append(child(work))
    if len(running) == 4: reap(running.pop(0))
    time.sleep(random.uniform(0, 0.02))
for pid in running: reap(pid)
finish()
client.close()
"""
    )
    parents, children = run(code, args)
    assert len(children) == 150
    assert len(parents) > 100, "the parent tracked all the while"
    assert_once(plane, parents + children)


def test_a_child_that_exits_at_once_takes_nothing_of_the_parents_along(plane, args):
    """os._exit in the child, again and again, with and without using the client: the parent's events all arrive."""
    code = (
        EIGHT_THREADS
        + """
def use():
    client.track("u1", "Dies with the child")
for number in range(10):
    reap(child(use if number % 2 else lambda: None))
finish()
client.close()
"""
    )
    parents, _ = run(code, args)
    assert len(parents) > 20
    assert set(parents) <= set(plane.unique_ids())


def test_events_in_the_parents_buffer_are_not_sent_by_the_child(plane, args):
    """A fork copies the buffer's memory; its events stay the parent's, whichever process closes first."""
    code = """
for _ in range(3): track("P")
def work():
    assert client.stats().accepted == 0
    track("C")
    client.close(10)
reap(child(work))
client.close(10)
"""
    parents, children = run(code, args)
    assert (len(parents), len(children)) == (3, 1)
    assert_once(plane, parents + children)


def test_a_child_delivers_at_its_own_exit(plane, args):
    """sys.exit in the child runs its exit handlers: nothing else has to be called."""
    code = """
track("P")
reap(child(lambda: track("C"), leave=sys.exit))
"""
    parents, children = run(code, args)
    assert_once(plane, parents + children)


def test_grandchildren_work_too(plane, args):
    """Three generations; each process has its own events, and each delivers them."""
    code = """
track("P")
def descend(depth):
    track("C")
    if depth:
        reap(child(lambda: descend(depth - 1)))
    track("C")
    client.close(10)
reap(child(lambda: descend(2)))
client.close(10)
"""
    parents, children = run(code, args)
    assert len(children) == 6
    assert_once(plane, parents + children)


def test_a_fork_before_the_first_event(plane, args):
    """As a preloading server does it: made in the parent, first used in the children."""
    code = """
def work():
    track("C")
    client.close(10)
for pid in [child(work) for _ in range(4)]: reap(pid)
track("P")
client.close(10)
"""
    parents, children = run(code, args)
    assert_once(plane, parents + children)


def test_a_fork_from_another_thread(plane, args):
    """The forking thread becomes the child's main thread."""
    code = """
track("P")
def work():
    track("C")
    client.close(10)
thread = threading.Thread(target=lambda: reap(child(work)))
thread.start(); thread.join()
client.close(10)
"""
    parents, children = run(code, args)
    assert (len(parents), len(children)) == (1, 1)
    assert_once(plane, parents + children)


def test_callbacks_of_the_parent_do_not_fire_in_the_child(plane, args):
    """Exactly once, in the process that accepted the event."""
    code = """
def heard(error, message_id):
    assert error is None
    os.write(1, f"{'P' if os.getpid() == parent else 'C'} {message_id}\\n".encode())
parent = os.getpid()
for _ in range(5): client.track("u1", "E", callback=heard)
def work():
    client.track("u1", "E", callback=heard)
    client.close(10)
reap(child(work))
client.close(10)
"""
    parents, children = run(code, args)
    assert (len(parents), len(children)) == (5, 1)
    assert_once(plane, parents + children)


def test_nothing_is_imported_on_a_background_thread(plane, args):
    """A fork in the midst of such an import would leave the child with a module that is never finished."""
    code = """
late = []
def hook(event, details):
    if event == "import" and threading.current_thread() is not threading.main_thread():
        late.append(details[0])
sys.addaudithook(hook)
client.track("u1", "E", callback=lambda *_: None)
assert client.flush(timeout=20).delivered == 1
client.track("u1", "E", callback=lambda *_: None)
client.close(10)
assert late == [], late
"""
    run(code, args)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_multiprocessing_deliver_at_their_end(plane, tmp_path, args, method):
    """Neither flush nor close is called in them; a forked one runs no exit handlers of ours before Python 3.13."""
    program = tmp_path / "program.py"
    program.write_text(
        PREAMBLE
        + f"""
def work():
    for _ in range(3): track("C")
if __name__ == "__main__":
    track("P")
    context = multiprocessing.get_context("{method}")
    processes = [context.Process(target=work) for _ in range(3)]
    for process in processes: process.start()
    for process in processes: process.join(30)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    client.close(10)
"""
    )
    parents, children = run_program(program, args)
    assert (len(parents), len(children)) == (1, 9)
    assert_once(plane, parents + children)


def run_program(path, args):
    """Run a program file, which spawned processes can import again."""
    code = (
        f"import runpy, sys; sys.argv[0] = {str(path)!r}; runpy.run_path({str(path)!r}, run_name='__main__')"
    )
    result = run_python(code, *args, timeout=90.0)
    lines = [line.split() for line in result.stdout.splitlines()]
    return tuple([i for who, i in lines if who == kind] for kind in "PC")
