"""
Forks: a client works in every process, and each process answers for its own events.

The forking is done by a process of its own (see ``programs/forks.py``). tests/guest forks a thousand times, and in servers.
"""

from __future__ import annotations

import pytest

from e2e.forking import PROGRAM, args, assert_once, run
from e2e.harness import PATIENCE, run_python

__all__ = ["args"]


def test_a_child_that_exits_at_once_takes_nothing_of_the_parents_along(plane, args):
    """os._exit in the child, again and again, with and without using the client: the parent's events all arrive."""
    parents, _ = run("exits_at_once", args)
    assert len(parents) > 20
    assert set(parents) <= set(plane.unique_ids())


def test_events_in_the_parents_buffer_are_not_sent_by_the_child(plane, args):
    """A fork copies the buffer's memory; its events stay the parent's, whichever process closes first."""
    parents, children = run("events_in_the_buffer", args)
    assert (len(parents), len(children)) == (3, 1)
    assert_once(plane, parents + children)


def test_a_child_delivers_at_its_own_exit(plane, args):
    """sys.exit in the child runs its exit handlers: nothing else has to be called."""
    parents, children = run("own_exit", args)
    assert_once(plane, parents + children)


def test_grandchildren_work_too(plane, args):
    """Three generations; each process has its own events, and each delivers them."""
    parents, children = run("grandchildren", args)
    assert len(children) == 6
    assert_once(plane, parents + children)


def test_a_fork_before_the_first_event(plane, args):
    """As a preloading server does it: made in the parent, first used in the children."""
    parents, children = run("before_the_first_event", args)
    assert_once(plane, parents + children)


def test_a_fork_from_another_thread(plane, args):
    """The forking thread becomes the child's main thread."""
    parents, children = run("from_another_thread", args)
    assert (len(parents), len(children)) == (1, 1)
    assert_once(plane, parents + children)


def test_callbacks_of_the_parent_do_not_fire_in_the_child(plane, args):
    """Exactly once, in the process that accepted the event."""
    parents, children = run("callbacks", args)
    assert (len(parents), len(children)) == (5, 1)
    assert_once(plane, parents + children)


def test_nothing_is_imported_on_a_background_thread(plane, args):
    """A fork in the midst of such an import would leave the child with a module that is never finished."""
    run_python(PROGRAM.with_name("imports.py"), *args, measured=False)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_multiprocessing_deliver_at_their_end(plane, args, method):
    """Neither flush nor close is called in them; a forked one runs no exit handlers of ours before Python 3.13."""
    parents, children = run("processes", args, measured=True, method=method)
    assert (len(parents), len(children)) == (1, 9)
    assert_once(plane, parents + children)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["Pool", "ProcessPoolExecutor"])
def test_workers_of_a_pool_deliver_at_its_end(plane, args, kind, method):
    """A pool that is left to finish its work lets its workers finish theirs."""
    parents, children = run("pool", args, measured=True, kind=kind, method=method, flush_interval=3600.0)
    assert (len(parents), len(children)) == (1, 30)
    assert_once(plane, parents + children)


# -- by a server that is written in C, and calls none of Python's hooks -----------------------------------------------------


def test_children_forked_past_python_work(plane, args):
    """Each has its own threads, connections and ids, and leaves its parent's events to the parent, which goes on."""
    parents, children = run("past_python_children", args)
    assert (len(parents), len(children)) == (2, 39)
    assert_once(plane, parents + children)


def test_a_durable_call_in_a_child_forked_past_python_is_stored(plane, store):
    """The parent's threads, which stored its events, are not there to store this one."""
    parents, children = run("past_python_durable", [plane.url, plane.write_key, store.url, store.queue_name])
    assert (len(parents), len(children)) == (2, 2)
    assert_once(plane, parents + children)


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
def test_the_exit_of_a_child_forked_past_python_takes_nothing_of_the_parents_along(plane, args, used):
    """Its exit handlers close its client, which it may never have used: what waits in there is the parent's."""
    parents, children = run("past_python_exit", args, used=used)
    assert (len(parents), len(children)) == (3, int(used))
    assert_once(plane, parents + children)


FIRST_CALLS = [
    "a callback",
    "flush",
    "a flush with a callback",
    "stats",
    "queue",
    "create_persistence_queue",
    "a client that is new",
    "a queue of the parent's",
]


@pytest.mark.parametrize("first", FIRST_CALLS)
def test_whatever_a_child_forked_past_python_calls_first_works(plane, args, first):
    parents, children = run("past_python_first_call", args, first=first)
    assert (len(parents), len(children)) == (1, 1)
    expected = parents + children
    assert plane.wait_for(len(expected) + (first == "a callback"), timeout=PATIENCE)
    assert set(expected) <= set(plane.unique_ids())
    assert plane.stats().duplicates == 0


# -- locks of others --------------------------------------------------------------------------------------------------------

MEANWHILE = [
    "makes a client",
    "tracks",
    "tracks with a client that is new",
    "looks into the queue",
    "flushes",
    "closes",
]


@pytest.mark.parametrize("does", MEANWHILE)
def test_a_fork_and_who_holds_the_lock_of_logging_do_not_wait_for_each_other(plane, args, does):
    """Python forks once it has that lock; its holder makes a handler, of a configuration, which uses a client."""
    parents, _ = run("a_lock_of_logging", args, does=does)
    assert plane.wait_for(len(parents) + (does != "closes"), timeout=PATIENCE), "the child's has arrived, too"
    assert set(parents) <= set(plane.unique_ids())
    assert plane.stats().duplicates == 0


@pytest.mark.parametrize("does", MEANWHILE)
def test_a_fork_waits_for_a_lock_of_others_whose_holder_calls_us(plane, args, does):
    """Of a library whose hook comes after ours: the fork is announced, and the call waits for it, but not for ever."""
    parents, _ = run("a_lock_of_others", args, does=does)
    assert_once(plane, parents)


def test_a_child_that_python_forks_is_not_taken_for_one_that_a_server_did(plane, store):
    """And each of many clients begins once there, not one within the other."""
    _, children = run("not_past_python", [plane.url, plane.write_key, store.url, store.queue_name])
    assert_once(plane, children)
