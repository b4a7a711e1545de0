"""A damaged file is set aside, never deleted; another application's file is never touched; rubbish in a row stops no queue."""

from __future__ import annotations

import logging
import random
import sqlite3

import pytest

from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import (
    LONG,
    claim_soon,
    depth,
    drain,
    fail,
    ids_of,
    new_job,
    new_jobs,
    release,
)
from eventspool._exceptions import QueueError, QueueUnavailable
from eventspool._figures import Depth
from eventspool._guest.log import drain_log
from eventspool._job import LOST, JobState

PAGE = 4096


def set_aside(path):
    return sorted(
        p for p in path.parent.glob(f"{path.name}.corrupt-*") if not p.name.endswith(("-wal", "-shm"))
    )


def fill(make, number=300):
    backend = make()
    jobs = [new_job(filling="x" * 500) for _ in range(number)]
    backend.commit(jobs)
    backend.close()  # moves the log into the file
    return jobs


def flip_pages(path, pages):
    content = bytearray(path.read_bytes())
    for page in pages:
        content[page * PAGE : (page + 1) * PAGE] = random.Random(page).randbytes(PAGE)
    path.write_bytes(content)
    return bytes(content)


@pytest.mark.parametrize(
    "content", [b"not a database at all" * 500, b"\x00" * 5000, b"SQLite format 3\x00" + b"\xff" * 9000]
)
def test_garbage_is_set_aside_and_a_new_file_begun(path, make, caplog, content):
    path.write_bytes(content)
    with caplog.at_level(logging.ERROR, "eventspool"):
        backend = make()
        drain_log(10.0)
    assert backend.commit(new_jobs(1)).accepted == 1
    [kept] = set_aside(path)
    assert kept.read_bytes() == content
    assert kept.name in caplog.text


def test_a_truncated_file_is_set_aside(path, make):
    fill(make)
    content = path.read_bytes()[: 20 * PAGE + 100]
    path.write_bytes(content)
    backend = make()
    assert backend.stats().waiting == Depth()
    assert backend.commit(new_jobs(1)).accepted == 1
    [kept] = set_aside(path)
    assert kept.read_bytes() == content


@pytest.mark.parametrize("seed", range(5))
def test_flipped_pages_are_found_when_the_file_is_opened(path, make, seed):
    fill(make)
    pages = random.Random(seed).sample(range(1, 40), 3)
    content = flip_pages(path, pages)
    backend = make()
    assert backend.stats().waiting == Depth()
    [kept] = set_aside(path)
    assert kept.read_bytes() == content


def test_damage_found_in_use_is_set_aside_and_the_call_succeeds(path, make, monkeypatch):
    monkeypatch.setattr("eventspool._backends.sqlite.schema._CHECKED_BYTES", 0)
    fill(make)
    backend, other = make(), make()
    other.stats()
    flip_pages(path, range(2, path.stat().st_size // PAGE))
    for handle in (backend, other):
        handle.close()
    jobs = new_jobs(2)
    assert backend.commit(jobs).accepted == 2
    assert len(set_aside(path)) == 1
    assert ids_of(drain(other, "t")) == ids_of(jobs)


def test_a_file_set_aside_by_one_handle_is_left_by_the_others(path, make):
    """The log of the damaged file is not mixed into the new file either."""
    backend, other = make(), make()
    lost, kept = new_jobs(2)
    other.commit([lost])
    backend._file._handle.set_aside()
    backend.commit([kept])
    assert other.lookup([lost.id, kept.id]) == {kept.id: None}
    other.close()
    assert backend.lookup([kept.id]) == {kept.id: None}
    [aside] = set_aside(path)
    with sqlite3.connect(aside) as db:
        assert db.execute("select id from jobs").fetchall() == [(lost.id,)]
    db.close()


def test_a_deleted_file_is_begun_anew(path, make):
    backend = make()
    backend.commit(new_jobs(1))
    for suffix in ("", "-wal", "-shm", "-lock", "-next"):
        path.with_name(path.name + suffix).unlink()
    assert backend.commit(new_jobs(1)).accepted == 1
    assert backend.stats().waiting.jobs == 1


@pytest.mark.parametrize("how", ["deleted", "set aside"])
def test_jobs_are_lost_with_their_file(path, make, how):
    backend, other = make(), make()
    [lost], [kept] = new_jobs(1), new_jobs(1)
    epoch = backend.commit([lost]).epoch
    if how == "deleted":
        path.unlink()
    else:
        other._file._handle.set_aside()
    assert backend.lookup([lost.id], epoch=epoch) == {lost.id: LOST}
    second = other.commit([kept]).epoch
    assert second not in ("", epoch)
    assert backend.lookup([lost.id, kept.id], epoch=epoch) == {lost.id: LOST, kept.id: None}
    assert backend.lookup([kept.id], epoch=second) == {kept.id: None}


def test_the_log_of_a_file_that_is_gone_is_not_replayed_into_a_new_one(path, make):
    wal = path.with_name(path.name + "-wal")
    wal.write_bytes(b"old log")
    backend = make()
    assert backend.stats().waiting == Depth()
    assert [p.read_bytes() for p in path.parent.glob("*.corrupt-*-wal")] == [b"old log"]


def test_a_newer_layout_is_refused_and_left_alone(path, make):
    fill(make)
    with sqlite3.connect(path) as db:
        db.execute("pragma user_version = 99")
    db.close()
    content = path.read_bytes()
    with pytest.raises(QueueError, match="newer eventspool") as caught:
        make()
    assert not isinstance(caught.value, QueueUnavailable)
    assert path.read_bytes() == content
    assert set_aside(path) == []


def test_another_applications_database_is_refused_and_left_alone(path, make):
    with sqlite3.connect(path) as db:
        db.execute("create table precious (thing)")
    db.close()
    content = path.read_bytes()
    with pytest.raises(QueueError, match="another application"):
        make()
    assert path.read_bytes() == content
    assert set_aside(path) == []


@pytest.mark.parametrize(
    "edit",
    [
        "update payloads set payload = null",
        "update payloads set payload = 'text'",
        "update payloads set payload = 3.5",
        "delete from payloads",
        "update jobs set attempts = -9223372036854775808",
        "update jobs set attempts = 9223372036854775807",
        "update jobs set attempts = 9e999",
        "update jobs set attempts = x'ff00'",
        "update jobs set progress = x'ff00'",
        "update jobs set progress = cast(x'ff' as text)",
        "update jobs set stalled = 'what'",
        "update jobs set due = -5",
        "update jobs set until = 'then'",
        "update jobs set events = -7, bytes = -7",
        "update jobs set events = 'many', bytes = x'00'",
        "update jobs set id = x'00ff'",
        "update jobs set id = 17",
    ],
)
@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
def test_a_row_of_rubbish_is_handed_out_and_can_be_settled(path, make, edit, ordering):
    backend = make(ordering=ordering)
    backend.commit(new_jobs(1))
    with sqlite3.connect(path) as db:
        db.execute(edit)
    db.close()
    backend.stats()
    backend.jobs(JobState.WAITING, limit=9)
    [job] = claim_soon(backend, "t", probe=True)
    assert 0 <= job.attempts <= 1 << 31
    assert job.payload is None or isinstance(job.payload, bytes)
    assert backend.settle("t", [release(job.id)]) == [True]
    [job] = claim_soon(backend, "t")
    assert backend.ack([job.id]) == 1
    assert depth(backend)[:3] == (Depth(), Depth(), Depth())


@pytest.mark.parametrize("failed", [False, True], ids=["unfinished", "failed"])
def test_a_job_whose_payload_is_gone_shares_nothing_with_the_next(path, make, failed):
    """The next job must not get the same number: it could not be stored, or would lose its payload with the other job."""
    backend = make()
    hurt, sound = new_jobs(2)
    backend.commit([hurt])
    if failed:
        claim_soon(backend, "t")
        backend.settle("t", [fail(hurt.id)])
    with sqlite3.connect(path) as db:
        db.execute("delete from payloads")
    db.close()
    assert backend.commit([sound]).accepted == 1
    assert backend.payload(hurt.id) is None
    assert backend.purge(JobState.FAILED if failed else JobState.WAITING, [hurt.id]) == 1
    assert backend.payload(sound.id) == sound.payload


@pytest.mark.parametrize("due", ["null", "'never'", "''", "x'00'"])
def test_repair_makes_a_job_without_a_due_time_claimable(path, make, due):
    backend = make()
    jobs = new_jobs(2)
    backend.commit(jobs)
    with sqlite3.connect(path) as db:
        db.execute(f"update jobs set due = {due} where id = ?", (jobs[0].id,))
    db.close()
    assert ids_of(backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs) == [jobs[1].id]
    assert backend.repair() == 1
    assert ids_of(backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs) == [jobs[0].id]


def test_two_queues_share_a_file_and_nothing_else(make):
    one, two = make(queue_name="one"), make(queue_name="two")
    job = new_job()
    one.commit([job])
    two.commit([job])
    assert two.ack([job.id]) == 1
    assert depth(two) == (Depth(), Depth(), Depth(), Depth())
    assert one.lookup([job.id]) == {job.id: None}
