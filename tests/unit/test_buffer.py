"""The bounded buffer: exact under contention, and frugal with wake-ups."""

from __future__ import annotations

import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventspool._buffering.buffer import Buffer


def _buffer(capacity=100, flush_at=5, flush_bytes=1_000):
    return Buffer(capacity=capacity, flush_at=flush_at, flush_bytes=flush_bytes)


def _woken(buffer):
    return buffer.await_trigger(0)


def test_events_are_numbered_in_the_order_of_acceptance():
    buffer = _buffer()
    assert [buffer.put(b"x") for _ in range(3)] == [0, 1, 2]
    assert buffer.take().first == 0
    assert buffer.put(b"y") == 3
    taken = buffer.take()
    assert (taken.first, taken.events) == (3, [b"y"])
    assert buffer.take().events == []


def test_the_bound_is_exact_under_eight_threads():
    """Also while somebody takes: what was taken is still only in memory."""
    buffer, barrier = _buffer(capacity=1_000), threading.Barrier(9)
    numbers, taken = [[] for _ in range(8)], []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def produce(own):
        barrier.wait()
        for _ in range(400):
            own.append(buffer.put(b"x"))

    def consume():
        barrier.wait()
        while any(thread.is_alive() for thread in producers):
            taken.append(buffer.take())
            assert buffer.held <= 1_000

    producers = [threading.Thread(target=produce, args=(own,)) for own in numbers]
    consumer = threading.Thread(target=consume)
    try:
        for thread in [*producers, consumer]:
            thread.start()
        for thread in [*producers, consumer]:
            thread.join(30.0)
    finally:
        sys.setswitchinterval(interval)
    taken.append(buffer.take())
    accepted = sorted(number for own in numbers for number in own if number >= 0)
    assert accepted == list(range(1_000))
    assert all(own == sorted(own, key=lambda n: (n < 0, n)) for own in numbers), "once full, full"
    assert sum(len(t.events) for t in taken) == 1_000
    assert [t.first for t in taken] == sorted(t.first for t in taken)
    assert (buffer.waiting, buffer.held) == (0, 1_000)


def test_what_was_taken_counts_until_it_is_released():
    buffer = _buffer(capacity=3)
    for _ in range(3):
        buffer.put(b"x")
    assert buffer.put(b"x") == -1
    buffer.take()
    assert buffer.put(b"x") == -1
    buffer.release(2)
    assert [buffer.put(b"x") for _ in range(3)] == [3, 4, -1]
    assert (buffer.accepted, buffer.waiting, buffer.held) == (5, 2, 3)


def test_the_first_event_wakes_so_that_the_clock_can_start():
    buffer = _buffer()
    assert not _woken(buffer)
    buffer.put(b"x")
    assert _woken(buffer)


def test_there_is_one_wake_up_per_flush_however_many_events_come():
    buffer = _buffer(flush_at=5)
    buffer.put(b"x")
    assert _woken(buffer)
    assert not buffer.arm()
    for _ in range(3):
        buffer.put(b"x")
    assert not _woken(buffer)
    buffer.put(b"x")
    assert _woken(buffer)
    for _ in range(50):
        buffer.put(b"x")
    assert not _woken(buffer), "raised once already"
    assert buffer.arm()
    buffer.take()
    buffer.put(b"x")
    assert _woken(buffer), "the first event of the next flush"


def test_bytes_trigger_a_flush_too():
    buffer = _buffer(flush_at=50, flush_bytes=100)
    buffer.put(b"x")
    assert _woken(buffer)
    assert not buffer.arm()
    buffer.put(b"x" * 98)
    assert not _woken(buffer)
    buffer.put(b"x")
    assert _woken(buffer)
    assert buffer.arm()


def test_a_buffer_smaller_than_flush_at_flushes_when_it_is_full():
    buffer = _buffer(capacity=2, flush_at=20)
    buffer.put(b"x")
    _woken(buffer)
    buffer.arm()
    buffer.put(b"x")
    assert _woken(buffer)
    assert buffer.arm()


def test_immediate_wakes_for_every_event():
    buffer = _buffer()
    buffer.put(b"x")
    assert _woken(buffer)
    assert buffer.arm(immediate=True)
    buffer.take()
    assert not buffer.arm(immediate=True)
    buffer.put(b"x")
    assert _woken(buffer)


def test_an_alarm_wakes_an_empty_buffer():
    buffer = _buffer()
    buffer.alarm()
    assert _woken(buffer)
    assert not _woken(buffer)


def test_a_closed_buffer_takes_nothing_and_gives_what_it_has():
    buffer = _buffer()
    buffer.put(b"x")
    buffer.close()
    assert buffer.put(b"y") == -1
    assert buffer.take().events == [b"x"]
    buffer.release(1)
    assert buffer.put(b"y") == -1


@given(
    st.integers(1, 20),
    st.integers(1, 30),
    st.lists(st.sampled_from(["put", "take", "release", "arm"]), max_size=200),
)
def test_no_sequence_of_calls_loses_counts_or_wake_ups(capacity, flush_at, steps):
    """Whenever a flush is due and nobody was woken for it, the next ``arm`` says so."""
    buffer = _buffer(capacity=capacity, flush_at=flush_at, flush_bytes=1 << 40)
    waiting = outside = accepted = 0
    pending = False
    for step in steps:
        if step == "put":
            number = buffer.put(b"x")
            assert number == (accepted if waiting + outside < capacity else -1)
            accepted += number >= 0
            waiting += number >= 0
        elif step == "take":
            assert len(buffer.take().events) == waiting
            waiting, outside = 0, outside + waiting
        elif step == "release" and outside:
            buffer.release(1)
            outside -= 1
        else:
            pending = buffer.arm()
            assert pending is (waiting >= min(flush_at, capacity) and waiting > 0)
        assert (buffer.waiting, buffer.held, buffer.accepted) == (waiting, waiting + outside, accepted)
    if waiting and not pending:
        assert buffer._wake.is_set() or buffer.waiting < buffer._wake_count


@pytest.mark.parametrize("delay_alarm", [False, True])
def test_a_wake_up_from_another_thread_is_not_missed(delay_alarm):
    """Each round the consumer sleeps until it is woken; a missed wake-up would end in the timeout."""
    buffer, rounds = _buffer(flush_at=1), 300
    seen = 0
    handed = threading.Semaphore(0)

    def produce():
        for _ in range(rounds):
            buffer.put(b"x")
            if delay_alarm:
                buffer.alarm()
            handed.acquire(timeout=5.0)

    producer = threading.Thread(target=produce)
    producer.start()
    while seen < rounds:
        assert buffer.await_trigger(5.0), "slept through an event"
        if buffer.arm():
            count = len(buffer.take().events)
            seen += count
            buffer.release(count)
            for _ in range(count):
                handed.release()
    producer.join(5.0)
