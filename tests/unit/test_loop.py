"""One loop drives everything that repeats: it is started once, again when it has ended too early, and survives its turns."""

from __future__ import annotations

import threading
import time

import pytest

from eventspool._delivery.exchange import Exchange
from eventspool._delivery.sender import Sender
from eventspool._guest import loop as _loop
from eventspool._guest.loop import Loop
from eventspool._guest.thread import NoThread, is_ours


class Countdown:
    """Takes *turns* turns without waiting, and notes what it is asked and where."""

    def __init__(self, turns, act=lambda: None):
        self.left, self.calls, self._act = turns, [], act

    def patience(self, now):
        self.calls.append("patience")
        return 0.0

    def wait(self, patience):
        self.calls.append(f"wait {patience}")

    def turn(self, now):
        self.calls.append("turn")
        self._act()
        self.left -= 1
        return self.left > 0


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(_loop, "_PAUSE", 0.001)


def test_it_asks_waits_and_takes_a_turn_until_one_is_the_last():
    repeated, turns = Countdown(2), []
    loop = Loop(
        "counting", repeated, on_turn=lambda: turns.append((threading.current_thread().name, is_ours()))
    )
    loop.start()
    loop.join(30.0)
    assert not loop.is_alive
    assert repeated.calls == ["patience", "wait 0.0", "turn"] * 2
    assert turns == [("eventspool-counting", True)] * 2


def test_a_turn_that_fails_is_told_and_taken_again():
    failures = []

    def fail_once():
        if not failures:
            raise MemoryError

    repeated = Countdown(1, fail_once)
    loop = Loop("failing", repeated, on_failure=failures.append)
    loop.start()
    loop.join(30.0)
    assert [type(failure) for failure in failures] == [MemoryError]
    assert repeated.left == 0


def test_what_is_told_of_a_failure_may_fail_as_well():
    tries = []

    def fail_thrice():
        tries.append(1)
        if len(tries) < 4:
            raise SystemExit

    def fail_too(_):
        raise KeyboardInterrupt

    loop = Loop("failing", Countdown(1, fail_thrice), on_failure=fail_too)
    loop.start()
    loop.join(30.0)
    assert len(tries) == 4


def test_it_may_fail_to_start_and_be_started_again(monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    repeated = Countdown(1)
    loop = Loop("late", repeated)
    with monkeypatch.context() as limit:
        limit.setattr(threading.Thread, "start", refuse)
        with pytest.raises(NoThread):
            loop.start()
    assert not loop.is_started
    assert not repeated.calls
    loop.start()
    loop.join(30.0)
    assert repeated.left == 0


def test_it_is_not_started_again_once_it_is_over():
    repeated = Countdown(1)
    loop = Loop("once", repeated)
    for _ in range(2):
        loop.start()
        loop.join(30.0)
    assert repeated.calls.count("turn") == 1


def test_it_knows_its_thread_before_that_runs_and_never_waits_for_itself():
    known = []

    def look():
        known.append(loop.is_current)
        began = time.monotonic()
        loop.join(60.0)
        known.append(time.monotonic() - began < 50.0)

    loop = Loop("self", Countdown(1, look))
    loop.start()
    loop.join(30.0)
    assert known == [True, True]
    assert not loop.is_current


def test_a_sender_that_is_cut_off_while_it_ends_waits_for_no_second_word():
    exchange = Exchange()
    sender = Sender(exchange, None, gzip=False)
    exchange.end(senders=1)
    assert exchange.parcels.get_nowait() is None  # it had heard it, and the exception came then
    assert not sender.wait(None)
    assert not sender.turn(0.0)
