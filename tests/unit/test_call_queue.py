"""Foreign code runs on a thread of its own, each call once and in order, and harms nothing."""

from __future__ import annotations

import asyncio
import queue
import threading
import time

import pytest

from eventspool._guest.calls import CallQueue
from eventspool._guest.loop import Loop


@pytest.fixture
def failures():
    return []


@pytest.fixture
def callbacks(failures):
    return CallQueue("callbacks", failures.append)


def until(condition):
    deadline = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_callback_no_thread(callbacks):
    callbacks.drain(0.0)
    assert callbacks._loop is None


def test_calls_run_in_order_off_the_callers_thread(callbacks):
    seen = []
    for i in range(100):
        callbacks.submit(lambda i: seen.append((i, threading.current_thread().name)), i)
    callbacks.drain(30.0)
    assert seen == [(i, "eventspool-callbacks") for i in range(100)]


@pytest.mark.parametrize(
    "error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]
)
def test_whatever_a_callback_raises_the_next_one_runs(callbacks, failures, error):
    def burst():
        raise error("a payload")

    ran = threading.Event()
    callbacks.submit(burst)
    callbacks.submit(ran.set)
    assert ran.wait(30.0)
    assert [type(failure) for failure in failures] == [error]


def test_what_is_told_of_a_failure_may_raise_as_well(failures):
    def burst(*_):
        raise ValueError

    callbacks, ran = CallQueue("callbacks", burst), threading.Event()
    callbacks.submit(burst)
    callbacks.submit(ran.set)
    assert ran.wait(30.0)


def test_the_thread_ends_where_there_is_nothing_to_do_and_comes_again(callbacks):
    callbacks._idle = 0.05
    ran = []
    for number in range(3):
        callbacks.submit(lambda: ran.append(threading.current_thread()))
        until(
            lambda number=number: (
                len(ran) == number + 1 and callbacks._loop is None and not ran[-1].is_alive()
            )
        )
    assert len(set(ran)) == 3


def test_no_call_is_forgotten_while_the_thread_ends(callbacks):
    callbacks._idle = 0.0005
    ran = []
    for number in range(300):
        callbacks.submit(ran.append, number)
        time.sleep(0.0005 * (number % 3))  # so that some come just as the thread ends
    assert callbacks.drain(30.0)
    assert ran == list(range(300))


def test_a_call_at_a_moment_runs_then_and_not_before(callbacks):
    ran, began = [], time.monotonic()
    callbacks.submit_at(began + 0.1, lambda: ran.append(("sooner", time.monotonic() - began)))
    callbacks.submit_at(began + 0.2, lambda: ran.append(("later", time.monotonic() - began)))
    until(lambda: len(ran) == 2)
    assert [name for name, _ in ran] == ["sooner", "later"]
    assert (ran[0][1] >= 0.1, ran[1][1] >= 0.2) == (True, True)


def test_drain_gives_up_on_a_slow_callback_at_its_timeout(callbacks):
    release = threading.Event()
    callbacks.submit(release.wait)
    began = time.monotonic()
    callbacks.drain(0.05)
    assert 0.04 < time.monotonic() - began < 30.0
    release.set()
    callbacks.drain(30.0)
    assert callbacks.backlog == 0


def test_a_callback_may_drain_and_submit(callbacks):
    done = threading.Event()

    def inner():
        callbacks.submit(done.set)
        callbacks.drain(60.0)

    callbacks.submit(inner)
    assert done.wait(30.0)


def test_where_no_thread_can_start_drain_runs_the_calls(callbacks, monkeypatch):
    """At interpreter exit threads cannot be started any more."""

    def refuse(self):
        raise RuntimeError("can't start new thread at interpreter shutdown")

    seen = []
    monkeypatch.setattr(threading.Thread, "start", refuse)
    callbacks.submit(seen.append, 1)
    callbacks.submit(seen.append, 2)
    assert seen == []
    callbacks.drain(1.0)
    assert seen == [1, 2]


def test_what_is_no_function_fails_as_a_call_does_and_the_next_one_runs(callbacks, failures):
    ran = threading.Event()
    callbacks.submit("no function")
    callbacks.submit(ran.set)
    assert ran.wait(30.0)
    assert [type(failure) for failure in failures] == [TypeError]


def test_a_call_that_finds_some_other_queue_empty_fails_like_any_other(callbacks, failures):
    calls = []
    callbacks.submit(queue.SimpleQueue().get_nowait)
    callbacks.submit(calls.append, 1)
    assert callbacks.drain(30.0)
    assert [type(failure) for failure in failures] == [queue.Empty]
    assert calls == [1]


@pytest.mark.parametrize("by", ["another thread", "a destructor"])
def test_a_call_that_comes_while_the_thread_ends_is_run(failures, by):
    class Crowded(CallQueue):
        """Somebody puts a call in just when the thread has seen that there is none."""

        def __init__(self):
            super().__init__("callbacks", failures.append)
            self.comes = None

        @property
        def backlog(self):
            found = super().backlog
            if not found and self.comes and threading.current_thread() is not threading.main_thread():
                comes, self.comes = self.comes, None
                if by == "a destructor":
                    self.submit(comes)
                    return found
                thread = threading.Thread(target=self.submit, args=(comes,))
                thread.start()
                thread.join(0.2)
            return found

    called = []
    callbacks = Crowded()
    callbacks.comes = lambda: called.append("late")
    callbacks.submit(called.append, "first")
    callbacks.retire()
    until(lambda: called == ["first", "late"])


def test_a_call_submitted_amid_the_beginning_begins_no_second_thread(callbacks, monkeypatch):
    """By a destructor, that is: two threads would run the host's callbacks beside each other."""
    begun, seen = [], []

    class Interrupted(Loop):
        def start(self):
            begun.append(self)
            if len(begun) == 1:
                callbacks.submit(seen.append, 2)
            super().start()

    monkeypatch.setattr("eventspool._guest.calls.Loop", Interrupted)
    callbacks.submit(seen.append, 1)
    until(lambda: len(seen) == 2)
    assert (len(begun), seen) == (1, [1, 2])
