"""What is on the disk: modes, durability, and what happens when there is no room."""

from __future__ import annotations

import json
import os
import stat

import pytest

from eventspool._claim import ClaimTerms
from eventspool._contract.tools import LONG, claim_soon, fail, ids_of, new_job, new_jobs, retry, rewrite
from eventspool._exceptions import QueueError, QueueUnavailable
from eventspool._job import JobState


def test_only_the_owner_can_read_the_files(path, make):
    old = os.umask(0)
    try:
        make().commit(new_jobs(1))
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.glob("queue.db*")}
    finally:
        os.umask(old)
    names = {f"queue.db{suffix}" for suffix in ("", "-wal", "-shm", "-lock", "-next")}
    assert modes == dict.fromkeys(names, 0o600)


def _modes(path):
    return {
        p.name.removeprefix("queue.db"): stat.S_IMODE(p.stat().st_mode) for p in path.parent.glob("queue.db*")
    }


SUFFIXES = ("", "-wal", "-shm", "-lock", "-next")


def test_an_empty_file_that_was_there_is_made_private(path, make):
    path.touch()
    path.chmod(0o666)
    make().commit(new_jobs(1))
    assert _modes(path) == dict.fromkeys(SUFFIXES, 0o600)


def test_a_queue_that_others_could_read_is_made_private(path, make):
    """A backup was restored, or a folder copied: all of its files are made private, and keep their content."""
    make().commit(new_jobs(1))
    for file in path.parent.glob("queue.db*"):
        file.chmod(0o644)
    again = make()
    assert _modes(path) == dict.fromkeys(SUFFIXES, 0o600)
    assert again.stats().waiting.jobs == 1


def test_a_queue_that_was_shared_with_a_group_stays_so_and_is_kept_from_everybody_else(path, make):
    make().commit(new_jobs(1))
    for file in path.parent.glob("queue.db*"):
        file.chmod(0o666)
    make().commit(new_jobs(1))
    assert _modes(path) == dict.fromkeys(SUFFIXES, 0o660)


def test_a_file_of_another_user_is_used_as_it_is(path, make, monkeypatch):
    def refuse(*_):
        raise PermissionError

    path.touch()
    path.chmod(0o666)
    monkeypatch.setattr(os, "chmod", refuse)
    make().commit(new_jobs(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o666


def test_a_missing_folder_is_made_for_the_owner_alone(path, make, monkeypatch):
    folder = path.parent / "spool"
    backend = make(opened=False)
    backend._file.__init__(str(folder / "queue.db"), "full")
    backend.open()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    backend.close()


@pytest.mark.parametrize(("synchronous", "committing"), [("full", 2), ("normal", 1)])
def test_synchronous_is_set_for_commits_and_spared_for_leases(make, synchronous, committing):
    """Losing a lease or an ack costs a duplicate at worst; losing a commit loses events. What an operator did stays done."""
    backend = make(synchronous=synchronous)
    levels = []
    run = backend._file.run

    def spy(step, **options):
        def spying(db):
            levels.append(db.execute("pragma synchronous").fetchone()[0])
            return step(db)

        return run(spying, **options)

    backend._file.run = spy
    backend.commit(new_jobs(2))
    [job] = claim_soon(backend, "t")
    backend.settle("t", [retry(job.id)])
    backend.renew("t", [job.id], visibility_timeout=1.0)
    backend.ack([job.id])
    assert levels == [committing, 1, 1, 1, 1]
    levels.clear()
    [job] = claim_soon(backend, "t")
    backend.settle("t", [retry("another's"), fail(job.id)])
    rewrite(backend, job.id, job.payload, b"less", 1)
    backend.replay([job.id])
    backend.purge(JobState.WAITING, [job.id])
    backend.pause(True)
    assert levels == [1, *[committing] * 5]


def test_a_full_disk_refuses_commits_and_lets_deliveries_go_on(make, spawn):
    error, stored = json.loads(spawn("fill_the_disk").communicate()[0])
    assert error
    assert len(stored) > 100
    backend = make()
    assert backend.lookup(stored) == dict.fromkeys(stored)
    assert backend.stats().waiting.jobs == len(stored)


def test_new_jobs_leave_the_last_of_the_disk_to_deliveries(make, monkeypatch):
    backend = make()
    jobs = new_jobs(2)
    backend.commit(jobs)
    monkeypatch.setattr("eventspool._backends.sqlite.space.low_water", lambda _total: 1 << 62)
    with pytest.raises(QueueUnavailable, match="disk is full"):
        backend.commit(new_jobs(1))
    claimed = backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs
    assert ids_of(claimed) == ids_of(jobs)
    assert backend.ack(ids_of(jobs)) == 2


def test_the_log_stays_bounded(path, make):
    backend = make()
    sizes = []
    for _ in range(60):
        jobs = [new_job(filling="x" * 60_000) for _ in range(10)]
        backend.commit(jobs)
        backend.ack(ids_of(jobs))
        sizes.append(path.with_name("queue.db-wal").stat().st_size)
    assert max(sizes) < 10 << 20
    assert path.stat().st_size < 10 << 20


def test_a_file_that_cannot_be_opened_is_an_outage_without_details(path, make):
    path.mkdir()
    with pytest.raises(QueueError) as caught:
        make()
    assert str(path) not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_million_jobs_can_be_counted_without_looking_at_each(make):
    """This checks the query plan and not the clock: only totals, and an index of the leased and delayed jobs, are read."""
    backend = make()
    backend.commit(new_jobs(3))
    statements = (
        (
            "select token != '', count(*), sum(events), sum(bytes) from jobs indexed by jobs_until"
            " where queue = 1 and until > 5 group by token != ''"
        ),
        (
            "select seq from jobs where queue = 1 and due <= 5 and (typeof(until) != 'integer' or until <= 5)"
            " order by due, seq limit 3"
        ),
        "select min(due) from jobs where queue = 1 and due > 5",
        "select min(until) from jobs where queue = 1 and until > 5",
        "select id from jobs where queue = 1 order by id limit 1",
    )

    def explain(db, _queue):
        return [[row[3] for row in db.execute(f"explain query plan {s}")] for s in statements]

    plans = backend._run(explain)
    assert all(
        line.startswith(("SEARCH jobs USING", "USE TEMP B-TREE FOR GROUP BY")) for p in plans for line in p
    )
    assert "USING COVERING INDEX jobs_until" in plans[0][0]


@pytest.mark.parametrize("how", ["purge", "rewrite", "bury in part", "replay"])
def test_what_is_erased_is_overwritten_in_the_file(path, make, how):
    backend = make()
    [job] = jobs = [new_job(filling="personal" * 4000)]
    backend.commit(jobs)
    if how == "rewrite":
        assert rewrite(backend, job.id, job.payload, b"", 0)
    elif how == "purge":
        assert backend.purge(JobState.WAITING, ids_of(jobs)) == 1
    else:
        claim_soon(backend, "t")
        part = new_job(filling="personal" * 900).payload
        backend.settle("t", [fail(job.id, payload=part if how == "bury in part" else None)])
        if how == "replay":
            assert backend.replay([job.id]) == 1
        assert backend.purge(JobState.WAITING if how == "replay" else JobState.FAILED, [job.id]) == 1
    backend.close()
    assert b"personalpersonal" not in path.read_bytes()
    assert not path.with_name(f"{path.name}-wal").exists()
