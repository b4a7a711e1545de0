"""
Forks: a client works in every process, and each process answers for its own events.

The forking is done by a process of its own (see ``forking``). tests/guest forks a thousand times, and in servers.
"""

from __future__ import annotations

import pytest

from e2e.forking import EIGHT_THREADS, PREAMBLE, args, assert_once, run, run_program

__all__ = ["args"]


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


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
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


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["Pool", "ProcessPoolExecutor"])
def test_workers_of_a_pool_deliver_at_its_end(plane, tmp_path, args, kind, method):
    """A pool that is left to finish its work lets its workers finish theirs."""
    pools = {
        "Pool": "pool = context.Pool(3); pool.map(work, range(30), 1); pool.close(); pool.join()",
        "ProcessPoolExecutor": """
    with concurrent.futures.ProcessPoolExecutor(3, context) as pool: list(pool.map(work, range(30)))""",
    }
    program = tmp_path / "program.py"
    program.write_text(
        PREAMBLE.replace("None, 0.05", "None, 3600.0")
        + f"""
import concurrent.futures
def work(number):
    track("C")
if __name__ == "__main__":
    track("P")
    context = multiprocessing.get_context("{method}")
    {pools[kind]}
    client.close(10)
"""
    )
    parents, children = run_program(program, args)
    assert (len(parents), len(children)) == (1, 30)
    assert_once(plane, parents + children)
