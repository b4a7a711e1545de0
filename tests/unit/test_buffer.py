"""The bounded buffer: nothing is lost or doubled under contention, and wake-ups are few."""

from __future__ import annotations

import signal
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._buffering.buffer import Buffer

ALL = 1 << 40


class _Rig(Buffer):
    """A buffer, and a queue that has room only for what was released."""

    outside = 0

    def __init__(self, capacity):
        super().__init__(capacity, lambda: self.outside)

    def take(self, max_batch_bytes):
        drawn = self.draw(max_batch_bytes)
        self.outside += len(drawn.events)
        self.forget(drawn)
        self.refresh()
        return drawn

    def release(self, events):
        self.outside -= events
        self.refresh()


def _buffer(capacity=100):
    return _Rig(capacity)


def _take(buffer):
    return buffer.take(ALL)


def _woken(buffer):
    return buffer.await_trigger(0)


def test_events_are_numbered_in_the_order_of_acceptance():
    buffer = _buffer()
    assert all(buffer.put(b"x") for _ in range(3))
    assert _take(buffer).first == 0
    assert buffer.put(b"y")
    taken = _take(buffer)
    assert (taken.first, taken.events) == (3, [b"y"])
    assert _take(buffer).events == []


def test_eight_threads_lose_and_double_nothing_and_keep_the_bound():
    """Also while somebody takes: what was taken is still only in memory. Each thread may exceed the bound by one."""
    buffer, barrier = _buffer(1_000), threading.Barrier(9)
    accepted, taken = [[] for _ in range(8)], []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def produce(own, name):
        barrier.wait()
        for number in range(400):
            event = b"%d-%d" % (name, number)
            if buffer.put(event):
                own.append(event)

    def consume():
        barrier.wait()
        while any(thread.is_alive() for thread in producers):
            taken.append(buffer.take(200))
            assert buffer.held <= 1_008

    producers = [threading.Thread(target=produce, args=(own, name)) for name, own in enumerate(accepted)]
    consumer = threading.Thread(target=consume)
    try:
        for thread in [*producers, consumer]:
            thread.start()
        for thread in [*producers, consumer]:
            thread.join(30.0)
    finally:
        sys.setswitchinterval(interval)
    taken.append(_take(buffer))
    events = [event for each in taken for event in each.events]
    # While events are drawn there is less room than it seems: so many may have been refused besides.
    assert 1_000 - 200 <= len(events) <= 1_008
    assert sorted(events) == sorted(event for own in accepted for event in own)
    for name, own in enumerate(accepted):
        assert [event for event in events if event.startswith(b"%d-" % name)] == own, (
            "each thread's order is kept"
        )
    position = 0
    for each in taken:
        assert each.first == position
        position += len(each.events)
    assert (buffer.waiting, buffer.held, buffer.accepted) == (0, len(events), len(events))


def test_a_signal_handler_may_put_while_it_interrupts_a_put():
    """``put`` holds no lock that the handler could wait for."""
    buffer, handled = _buffer(1 << 30), []

    def handle(*_):
        handled.append(buffer.put(b"h"))

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
    puts, deadline = 0, time.monotonic() + 30
    try:
        while len(handled) < 200:
            assert time.monotonic() < deadline
            puts += buffer.put(b"x")
            buffer.arm(1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        # The last alarm may wait for another thread to run, and must not find the handler that was there before.
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, before)
    assert len(_take(buffer).events) == puts + sum(handled)


def test_what_was_taken_counts_until_it_is_released():
    buffer = _buffer(3)
    for _ in range(3):
        buffer.put(b"x")
    assert not buffer.put(b"x")
    _take(buffer)
    assert not buffer.put(b"x")
    buffer.release(2)
    assert [buffer.put(b"x") for _ in range(3)] == [True, True, False]
    assert (buffer.accepted, buffer.waiting, buffer.held) == (5, 2, 3)


def test_the_first_event_wakes_so_that_the_clock_can_start():
    buffer = _buffer()
    assert not _woken(buffer)
    buffer.put(b"x")
    assert _woken(buffer)


def test_there_is_one_wake_up_per_flush_however_many_events_come():
    buffer = _buffer()
    buffer.put(b"x")
    assert _woken(buffer)
    assert not buffer.arm(5)
    for _ in range(3):
        buffer.put(b"x")
    assert not _woken(buffer)
    buffer.put(b"x")
    assert _woken(buffer)
    for _ in range(50):
        buffer.put(b"x")
    assert not _woken(buffer), "raised once already"
    assert buffer.arm(5)
    _take(buffer)
    assert not buffer.arm(1)
    buffer.put(b"x")
    assert _woken(buffer), "the first event of the next flush"


def test_an_alarm_wakes_an_empty_buffer():
    buffer = _buffer()
    buffer.alarm()
    assert _woken(buffer)
    assert not _woken(buffer)


def test_what_is_drawn_stays_until_it_is_forgotten_whatever_comes_between():
    """An exception may cut the flusher off before the batch is a job: then it finds the same events, with the same numbers."""
    buffer = _buffer(3)
    for event in (b"a", b"b"):
        buffer.put(event)
    drawn = buffer.draw(ALL)
    buffer.put(b"c")
    assert buffer.draw(ALL) is drawn
    assert (drawn.first, drawn.events, buffer.accepted, buffer.held) == (0, [b"a", b"b"], 3, 3)
    assert not buffer.put(b"d"), "it counts"
    buffer.forget(drawn)
    buffer.forget(drawn)
    assert (buffer.taken, buffer.accepted) == (2, 3)
    assert buffer.draw(ALL).events == [b"c"]


def test_a_closed_buffer_takes_nothing_and_gives_what_it_has():
    buffer = _buffer()
    buffer.put(b"x")
    buffer.close()
    assert not buffer.put(b"y")
    assert _take(buffer).events == [b"x"]
    buffer.release(1)
    assert not buffer.put(b"y")


def test_an_event_that_slips_in_at_the_end_is_taken_or_refused_but_never_forgotten():
    for _ in range(200):
        buffer, accepted = _buffer(1 << 30), []

        def produce(buffer=buffer, accepted=accepted):
            accepted.extend([buffer.put(b"%d" % number) for number in range(50)])

        threads = [threading.Thread(target=produce) for _ in range(3)]
        for thread in threads:
            thread.start()
        left = buffer.end()
        for thread in threads:
            thread.join(30.0)
        assert sum(accepted) == len(left.events) == buffer.waiting
        buffer.forget(left)
        assert buffer.waiting == 0


def test_a_put_that_passed_the_check_before_the_end_is_taken_back():
    buffer = _buffer()

    event = b"x"
    assert buffer.end().events == []
    buffer._events.append(event)  # as a put does whose check was before the end
    assert not buffer._wake(event)
    assert buffer.waiting == 0


@given(
    st.integers(1, 20),
    st.integers(1, 30),
    st.lists(st.sampled_from(["put", "take", "release", "arm"]), max_size=200),
)
def test_no_sequence_of_calls_loses_counts_or_wake_ups(capacity, flush_at, steps):
    """Whenever a flush is due and nobody was woken for it, the next ``arm`` says so."""
    buffer = _buffer(capacity)
    waiting = outside = accepted = 0
    pending = False
    for step in steps:
        if step == "put":
            taken = buffer.put(b"x")
            assert taken is (waiting + outside < capacity)
            accepted += taken
            waiting += taken
        elif step == "take":
            assert len(_take(buffer).events) == waiting
            waiting, outside = 0, outside + waiting
        elif step == "release" and outside:
            buffer.release(1)
            outside -= 1
        else:
            pending = buffer.arm(flush_at)
            assert pending is (waiting >= flush_at)
        assert (buffer.waiting, buffer.held, buffer.accepted) == (waiting, waiting + outside, accepted)
    if waiting and not pending:
        assert not buffer._wakeups.empty() or buffer.waiting < buffer._wake_at


@pytest.mark.parametrize("delay_alarm", [False, True])
def test_a_wake_up_from_another_thread_is_not_missed(delay_alarm):
    """Each round the consumer sleeps until it is woken; a missed wake-up would end in the timeout."""
    buffer, rounds = _buffer(), 300
    seen = 0
    handed = threading.Semaphore(0)

    def produce():
        for _ in range(rounds):
            buffer.put(b"x")
            if delay_alarm:
                buffer.alarm()
            handed.acquire(timeout=30.0)

    producer = threading.Thread(target=produce)
    producer.start()
    while seen < rounds:
        assert buffer.await_trigger(30.0), "slept through an event"
        if buffer.arm(1):
            count = len(_take(buffer).events)
            seen += count
            buffer.release(count)
            for _ in range(count):
                handed.release()
    producer.join(30.0)
