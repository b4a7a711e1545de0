"""Files that an older release wrote, and goes on using beside this release."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from eventspool._backends.sqlite.schema import ADDITIONS, TABLES
from eventspool._claim import ClaimTerms
from eventspool._contract.tools import claim_soon, drain, fail, ids_of, new_job, rewrite
from eventspool._figures import Depth
from eventspool._job import PURGED, JobState

LONG = 60.0


@pytest.fixture
def old(path):
    """The statements of the first release, on its own file: a waiting job of two events and a failed one of three."""

    class Old:
        def __init__(self):
            self.jobs = [new_job(2), new_job(3)]
            with closing(self.connect()) as db:
                db.execute("pragma journal_mode = wal")
                db.executescript(f"begin; {TABLES} commit;")
                db.execute("insert into queues (name) values ('p:q')")
                for job in self.jobs:
                    self.insert(db, job)
                self.bury(db, self.jobs[1])

        def connect(self):
            return sqlite3.connect(path, isolation_level=None)

        def insert(self, db, job):
            seq = db.execute("insert into payloads (payload) values (?)", (job.payload,)).lastrowid
            db.execute(
                "insert into jobs (seq, queue, id, events, bytes, due) values (?, 1, ?, ?, ?, 1)",
                (seq, job.id, job.events, len(job.payload)),
            )

        def bury(self, db, job):
            db.execute(
                "insert into failed select seq, queue, id, events, bytes, 1, 1, 'stalled', '', null, null"
                " from jobs where id = ?",
                (job.id,),
            )
            db.execute("delete from jobs where id = ?", (job.id,))

        def sight(self, db):
            db.execute("insert or replace into processors values (1, 'old', 1)")

    return Old()


def test_an_older_file_keeps_its_jobs_and_learns_what_is_new(old, make):
    backend = make()
    waiting, failed = old.jobs
    stats = backend.stats()
    assert (stats.waiting.events, stats.failed.events, stats.paused) == (2, 3, False)
    assert (stats.accepted_events, stats.delivered_events, stats.failed_events) == (0, 0, 0)
    assert backend.reasons() == {"stalled": Depth(1, 3, len(failed.payload))}
    backend.pause(True)
    assert not backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs
    backend.pause(False)
    assert rewrite(backend, failed.id, failed.payload, waiting.payload, 2)
    assert backend.stats().failed == Depth(1, 2, len(waiting.payload))
    assert backend.replay([failed.id]) == 1
    backend.renew("t", [], visibility_timeout=LONG, note="{}")
    assert ids_of(drain(backend, "t")) == ids_of(old.jobs)
    backend.ack(ids_of(old.jobs))
    assert backend.stats().delivered_events == 4
    epoch = backend.commit([new_job()]).epoch
    assert epoch
    backend.close()
    assert make().commit([new_job()]).epoch == epoch
    assert make().stats().delivered_events == 4, "the additions are made only once"


@pytest.mark.parametrize("known", range(len(ADDITIONS) + 1))
def test_a_file_learns_what_came_after_the_release_that_made_it(old, make, known):
    with closing(old.connect()) as db:
        db.executescript("".join(list(ADDITIONS.values())[:known]))
    backend = make()
    waiting, failed = old.jobs
    assert backend.purge(JobState.WAITING, [waiting.id]) == 1
    backend.close()
    again = make()
    assert again.lookup(ids_of(old.jobs)).keys() == {waiting.id, failed.id}
    assert again.lookup([waiting.id]) == {waiting.id: PURGED}
    assert again.stats().purged_events == 2


def test_an_older_release_works_on_beside_this_one(old, make):
    backend = make()
    with closing(old.connect()) as db:
        [version] = db.execute("pragma user_version").fetchone()
        assert version == 1, "the older release would refuse a newer file"
        job = new_job()
        old.sight(db)
        old.insert(db, job)
        old.bury(db, job)
        old.insert(db, new_job())
        old.insert(db, purged := new_job())
        db.execute("delete from jobs where id = ?", (purged.id,))
    assert backend.lookup([purged.id]) == {}, "the older release remembers no purge"
    assert backend.stats().failed.jobs == 2
    assert backend.reasons()["stalled"].jobs == 2
    claim_soon(backend, "t")
    backend.settle("t", [fail(old.jobs[0].id, events=2)])
    assert {job.reason for job in backend.jobs(JobState.FAILED, limit=9)} == {"stalled", "rejected"}
