"""What an event was marked with is known where its batch is made, and what a batch says of it is read with care."""

from __future__ import annotations

import pytest

from eventspool import Queue
from eventspool._backends.memory import MemoryBackend
from eventspool._claim import ClaimedJob
from eventspool._delivery.attempt import Outcome, fail_rest
from eventspool._delivery.observation import MAX_SPANS, describe_attempt, write_trace
from eventspool._envelope import open_envelope, seal
from eventspool._job import NewJob, new_job_id
from eventspool._operate.move import move_jobs
from eventspool._settling.ledger import Ledger
from eventspool._settling.watched import mark, origins_of

SPANS = [f"00-{number:032x}-{number:016x}-01" for number in range(1, 50)]


@pytest.fixture
def ledger():
    return Ledger(lambda calls: [call() for call in calls])


def spans_of(trace):
    """Return what an observer is told of a batch that says *trace*."""
    job = ClaimedJob("j", seal([b"{}"], trace=trace), 0)
    return describe_attempt(job, Outcome("j", delivered=True, requests=[("200", 0.1)]), 1.0, 2.0).spans


def test_each_origin_of_some_events_is_found_once_and_in_order():
    one, other = object(), object()

    assert origins_of([mark(b"{}", origin) for origin in (one, one, other, None, one)]) == [one, other]


def test_a_marked_event_is_its_bytes_and_may_have_a_callback_too(ledger):
    calls = []
    event = mark(ledger.watch(b"{}", lambda *args: calls.append(args), "m0"), "origin")
    assert (event, origins_of([event])) == (b"{}", ["origin"])
    ledger.open_job("a", 0, [event])
    ledger.settle("a")

    assert calls == [(None, "m0")]


def test_an_event_without_an_origin_stays_as_it_is():
    event = b"{}"

    assert mark(event, None) is event


def test_a_marked_event_without_a_callback_is_nobody_waiting(ledger):
    ledger.open_job("a", 0, [mark(b"{}", "origin")])

    assert not ledger.has_waiters


def test_a_batch_names_as_many_spans_as_a_person_can_follow():
    assert spans_of(write_trace(SPANS)) == tuple(SPANS[:MAX_SPANS])
    assert spans_of(write_trace([])) == spans_of(b"") == ()


@pytest.mark.parametrize(
    "junk",
    [
        b"junk",
        b"\xff\x00",
        b",,,",
        f"00-{0:032x}-{1:016x}-01".encode(),
        f"00-{1:032x}-{0:016x}-01".encode(),
        f"00-{1:032X}-{10:016X}-01".encode(),
        f"01-{1:032x}-{1:016x}-01-more".encode(),
        SPANS[0].encode() + b"\n",
    ],
)
def test_what_is_no_span_is_left_out(junk):
    """Other processes write to the queue, too."""
    assert spans_of(junk) == ()
    assert spans_of(junk + b"," + SPANS[0].encode()) == (SPANS[0],)


def test_an_endless_trace_is_not_read_to_its_end():
    assert spans_of(",".join(SPANS * 10_000).encode()) == tuple(SPANS[:MAX_SPANS])
    assert spans_of(b"," * 1_000_000) == ()


def test_what_is_left_of_a_batch_still_says_where_it_comes_from():
    trace = write_trace(SPANS[:2])
    failure = fail_rest("rejected", "No.", seal([b"{}", b"[]", b"1"], trace=trace), "1-3|", 422)
    left = open_envelope(failure.payload)

    assert (left.trace, left.split(), left.cut.here) == (trace, [b"[]", b"1"], (1, 2))


def test_a_moved_batch_says_it_and_an_exported_one_does_not(tmp_path):
    source, target = MemoryBackend(), MemoryBackend()
    job = NewJob(new_job_id(), seal([b'{"event":"a"}'], trace=write_trace(SPANS[:2])), 1)
    source.commit([job])
    Queue(source).export(str(tmp_path / "events"), state="waiting")
    move_jobs(source, target)

    assert (tmp_path / "events").read_bytes() == b'{"event":"a"}\n'
    assert target.payload(job.id) == job.payload
    assert Queue(target).events(job.id) == [{"event": "a"}]
