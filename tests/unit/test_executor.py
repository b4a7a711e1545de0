"""Work that a thread of ours does for one of the host's."""

from __future__ import annotations

import os
import queue
import threading
import time
import warnings

import pytest

from eventspool._guest import executor as _executor
from eventspool._guest.executor import carry_out, start_apart
from eventspool._guest.thread import is_ours


def refuse(thread):
    raise RuntimeError("can't start new thread")


@pytest.fixture
def no_thread(monkeypatch):
    """Python can start no thread; a bare one can be had, as under a limit that has just been reached."""
    monkeypatch.setattr(_executor, "_executor", _executor._Executor())
    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.usefixtures("no_thread")
def test_what_nobody_waits_for_is_done_all_the_same():
    done = queue.SimpleQueue()
    start_apart(lambda: done.put((threading.get_ident(), is_ours())))
    thread, was_ours = done.get(timeout=30.0)
    assert thread != threading.get_ident()
    assert was_ours


@pytest.mark.usefixtures("no_thread")
def test_what_the_caller_waits_for_is_done_by_the_caller():
    assert carry_out(threading.get_ident) == threading.get_ident()


def test_after_a_moment_without_threads_the_next_call_waits_for_none_that_is_not_there(monkeypatch):
    """What the callers did themselves is still listed; a thread that comes to it must not be taken for an idle one."""
    executor = _executor._Executor()
    monkeypatch.setattr(_executor, "_executor", executor)
    monkeypatch.setattr(_executor, "_CHECK", 60.0)
    with monkeypatch.context() as limit:
        limit.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            assert carry_out(threading.get_ident) == threading.get_ident()
    for _ in range(4):
        assert carry_out(threading.get_ident) != threading.get_ident()
        executor.end_idle(time.monotonic() + 30.0)
        began = time.monotonic()
        assert carry_out(threading.get_ident) != threading.get_ident()
        assert time.monotonic() - began < 50.0
    done = queue.SimpleQueue()
    executor.end_idle(time.monotonic() + 30.0)
    start_apart(done.put, None)
    done.get(timeout=30.0)


def test_what_a_caller_without_threads_does_hands_nothing_over(monkeypatch):
    """Its lock is held by the one thread that would have to wait for the other."""
    monkeypatch.setattr(_executor, "_executor", _executor._Executor())
    starts = iter([refuse])
    genuine = threading.Thread.start

    def refuse_once(thread):
        next(starts, genuine)(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_once)
    assert carry_out(lambda: carry_out(threading.get_ident)) == threading.get_ident()


def test_a_childs_threads_are_not_ours_though_the_fork_came_from_one_of_ours():
    """The child's main thread waits for our threads as any other of the host's does."""

    def fork():
        reading, writing = os.pipe()
        if not os.fork():
            os.write(writing, b"1" if is_ours() else b"0")
            os._exit(0)
        os.wait()
        return os.read(reading, 1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert carry_out(fork) == b"0"
