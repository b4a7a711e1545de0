"""Foreign code runs on a thread of its own and harms nothing."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from eventspool._buffering.callbacks import CallbackThread


@pytest.fixture
def callbacks():
    return CallbackThread()


def test_no_callback_no_thread(callbacks):
    callbacks.drain(0.0)
    assert callbacks._thread is None


def test_calls_run_in_order_off_the_callers_thread(callbacks):
    seen = []
    for i in range(100):
        callbacks.submit(lambda i: seen.append((i, threading.current_thread().name)), i)
    callbacks.drain(5.0)
    assert seen == [(i, "eventspool-callbacks") for i in range(100)]


@pytest.mark.parametrize(
    "error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit]
)
def test_whatever_a_callback_raises_the_next_one_runs_and_its_text_is_not_logged(callbacks, caplog, error):
    def burst():
        raise error("a payload")

    ran = threading.Event()
    callbacks.submit(burst)
    callbacks.submit(ran.set)
    assert ran.wait(5.0)
    assert [record.getMessage() for record in caplog.records] == [f"a callback raised {error.__name__}"]
    assert not any(record.exc_info for record in caplog.records)


def test_drain_gives_up_on_a_slow_callback_at_its_timeout(callbacks):
    release = threading.Event()
    callbacks.submit(release.wait)
    began = time.monotonic()
    callbacks.drain(0.05)
    assert 0.04 < time.monotonic() - began < 2.0
    release.set()
    callbacks.drain(5.0)
    assert callbacks.backlog == 0


def test_a_callback_may_drain_and_submit(callbacks):
    done = threading.Event()

    def inner():
        callbacks.submit(done.set)
        callbacks.drain(60.0)

    callbacks.submit(inner)
    assert done.wait(5.0)


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
