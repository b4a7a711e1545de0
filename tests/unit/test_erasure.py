"""An erasure over many jobs: page by page, in bulk, and right while others use the queue."""

from __future__ import annotations

import json
from itertools import groupby

import pytest

from eventspool import Erasure, Queue
from eventspool._backends.memory import MemoryBackend
from eventspool._contract.tools import claim_soon, fail, ids_of, release
from eventspool._envelope import open_envelope, seal
from eventspool._job import PURGED, NewJob, new_job_id
from eventspool._operate.selection import PAGE

MANY = 2 * PAGE + 100


def batch(*users):
    events = [json.dumps({"userId": user, "messageId": user}).encode() for user in users]
    return NewJob(new_job_id(), seal(events), len(events))


@pytest.fixture
def backend():
    return MemoryBackend()


@pytest.fixture
def queue(backend):
    return Queue(backend)


@pytest.fixture
def steps(backend, monkeypatch):
    """The names of the calls to the queue, in order."""
    taken = []

    def watch(name):
        method = getattr(backend, name)
        monkeypatch.setattr(backend, name, lambda *a, **o: taken.append(name) or method(*a, **o))

    for name in ("jobs", "scan", "payload", "payloads", "rewrite", "purge", "lookup", "repair"):
        watch(name)
    return taken


def test_jobs_are_read_and_changed_a_page_at_a_time_and_none_by_itself(queue, backend, steps):
    jobs = [batch("ann") if n % 2 else batch("ann", "bob") for n in range(MANY)]
    backend.commit(jobs)
    assert queue.erase("ann") == Erasure(MANY, MANY // 2, MANY // 2, looked_at=MANY)
    assert [name for name, _ in groupby(steps)] == ["repair", "scan", *["payloads", "rewrite", "purge"] * 3]
    assert len(steps) <= 2 + 3 * 5
    left = [open_envelope(backend.payload(job.id)).split() for job in jobs[::2]]
    assert [[json.loads(event)["userId"] for event in events] for events in left] == [["bob"]] * (MANY // 2)
    assert backend.lookup(ids_of(jobs)) == {job.id: PURGED if n % 2 else None for n, job in enumerate(jobs)}
    assert queue.erase("ann") == Erasure(looked_at=MANY // 2)


def test_the_operator_sees_it_move_after_each_page(queue, backend, steps):
    backend.commit([batch("ann") for _ in range(MANY)])
    queue.erase("ann", on_job=steps.append)
    assert [step for step in steps if step == "payloads" or isinstance(step, int)] == [
        "payloads", PAGE, "payloads", PAGE, "payloads", 100
    ]  # fmt: skip


def test_what_is_in_the_way_is_told_for_each_of_many_jobs(queue, backend, monkeypatch):
    """In one page: jobs that are delivered, claimed or cut off after they were read, and others."""
    jobs = {name: [batch("a"), batch("a", "b")] for name in ("half", "held", "fine", "gone")}
    backend.commit([job for pair in jobs.values() for job in pair])
    read = backend.payloads

    def read_and_change(ids):
        found = read(ids)
        backend.ack(ids_of(jobs["gone"]))
        claim_soon(backend, "t", limit=4)
        backend.settle("t", [release(job.id, progress="0-1|") for job in jobs["half"]])
        return found

    monkeypatch.setattr(backend, "payloads", read_and_change)
    done = queue.erase("a")
    held, [alone, mixed] = jobs["held"], jobs["half"]
    assert (done.events, done.rewritten, done.removed) == (3, 1, 2), (
        "a job of theirs alone is removed, half sent or not"
    )
    assert set(done.leased) == set(ids_of(held))
    assert done.sent_in_part == (mixed.id,)
    assert backend.lookup([alone.id]) == {alone.id: PURGED}


def test_a_job_that_a_scan_finds_twice_is_counted_once(queue, backend, monkeypatch):
    backend.commit(jobs := [batch("ann"), batch("ann", "bob"), batch("bob")])
    junk = NewJob(new_job_id(), b"junk", 1)
    backend.commit([junk])
    ids = ids_of([*jobs, junk])
    monkeypatch.setattr(backend, "scan", lambda cursor: (ids, "" if cursor else "more"))
    planned = queue.erase("ann", dry_run=True)
    assert (planned.events, planned.rewritten, planned.removed, planned.unreadable) == (2, 1, 1, (junk.id,))
    done = queue.erase("ann")
    assert (done.events, done.rewritten, done.removed, done.unreadable) == (2, 1, 1, (junk.id,))


def test_those_that_failed_for_a_reason_are_found_without_reading_other_lists(queue, backend, steps):
    backend.commit(jobs := [batch("ann"), batch("ann"), batch("ann")])
    claim_soon(backend, "t", limit=2)
    backend.settle("t", [fail(jobs[0].id, reason="rejected"), fail(jobs[1].id, reason="stalled")])
    assert queue.erase("ann", reason="stalled").removed == 1
    assert [name for name in steps if name in ("jobs", "scan")] == ["jobs"]
    assert backend.lookup(ids_of(jobs)).keys() >= {jobs[0].id, jobs[2].id}


def test_an_export_reads_in_bulk(queue, backend, steps, tmp_path):
    backend.commit([batch(f"user-{n}", "ann") for n in range(MANY)])
    assert queue.export(tmp_path / "all.jsonl", "waiting") == 2 * MANY
    assert steps.count("payloads") == 3
    assert "payload" not in steps
    written = [json.loads(line)["userId"] for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert written == [user for n in range(MANY) for user in (f"user-{n}", "ann")]
    assert queue.export(tmp_path / "one.jsonl", "waiting", user_id="user-7") == 1


def test_what_is_left_of_a_batch_no_longer_says_in_which_spans_its_events_were_tracked(queue, backend):
    """One of them may lead to the user."""
    events = [b'{"userId":"ann"}', b'{"userId":"bob"}']
    job = NewJob(new_job_id(), seal(events, trace=b"a span"), 2)
    backend.commit([job])
    queue.erase("ann")

    left = open_envelope(backend.payload(job.id))
    assert (left.split(), left.trace) == ([b'{"userId":"bob"}'], b"")
