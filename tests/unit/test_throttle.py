"""Lines that repeat are written once per interval."""

from __future__ import annotations

import logging
import threading

import pytest

from eventspool._guest import throttle as _throttle
from eventspool._guest.throttle import Throttle


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 5.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(_throttle, "time", clock)
    return clock


@pytest.fixture
def throttle():
    return Throttle(logging.getLogger("eventspool.test"), interval=30.0)


def test_the_first_line_is_written_also_right_after_boot(throttle, caplog, clock):
    clock.now = 0.0
    throttle.warning("down (%s)", 1)
    assert caplog.messages == ["down (1)"]


def test_one_line_per_interval_and_then_how_many_were_left_out(throttle, caplog, clock):
    for i in range(10):
        throttle.warning("down (%s)", i)
    clock.now += 29.9
    throttle.warning("down (%s)", 10)
    clock.now += 0.1
    throttle.warning("down (%s)", 11)
    clock.now += 30.0
    throttle.warning("down (%s)", 12)
    assert caplog.messages == ["down (0)", "down (11) (10 more like it)", "down (12)"]


def test_lines_of_different_kinds_do_not_silence_each_other(throttle, caplog, clock):
    throttle.warning("down")
    throttle.error("paused")
    assert [(r.levelname, r.message) for r in caplog.records] == [("WARNING", "down"), ("ERROR", "paused")]


def test_of_many_threads_one_writes(throttle, caplog, clock):
    threads = [threading.Thread(target=throttle.warning, args=("down",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert caplog.messages == ["down"]
