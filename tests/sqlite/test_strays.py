"""Rows that have lost their partner, and payloads larger than any batch."""

from __future__ import annotations

import sqlite3

import pytest

from eventspool._backends.sqlite import rows
from eventspool._contract.tools import bury, claim_soon, ids_of, new_jobs
from eventspool._envelope import OVERSIZED
from eventspool._job import JobState


@pytest.fixture
def execute(path):
    """Change the file as another program would."""

    def change(statement, *parameters):
        with sqlite3.connect(path) as db:
            assert db.execute(statement, parameters).rowcount == 1
        db.close()

    return change


def test_a_payload_without_its_job_keeps_its_number_to_itself(make, execute):
    backend = make()
    jobs = new_jobs(4)
    backend.commit(jobs[:3])
    execute("delete from jobs where id = ?", jobs[2].id)
    assert backend.commit(jobs[3:]).accepted == 1
    assert [backend.payload(job.id) for job in jobs] == [
        jobs[0].payload,
        jobs[1].payload,
        None,
        jobs[3].payload,
    ]


def test_a_failed_job_without_its_payload_can_be_replayed(make, execute):
    """The processor then fails it again, and says what is missing."""
    backend = make()
    [failed] = bury(backend, 1)
    execute("delete from payloads where seq = (select seq from failed where id = ?)", failed)
    assert backend.replay([failed]) == 1
    [job] = claim_soon(backend, "t")
    assert (job.id, job.payload) == (failed, None)


def test_a_list_goes_on_behind_a_job_that_has_lost_its_place(make, execute):
    backend = make()
    jobs = new_jobs(3)
    backend.commit(jobs)
    execute("update jobs set due = null where id = ?", jobs[0].id)
    assert ids_of(backend.jobs(JobState.WAITING, limit=9, after=jobs[0].id)) == ids_of(jobs[1:])


def test_a_payload_larger_than_any_batch_is_not_read(make, monkeypatch):
    backend = make()
    fits, large = new_jobs(2)
    monkeypatch.setattr(rows, "MAX_PAYLOAD_BYTES", len(fits.payload))
    large = type(large)(large.id, large.payload + b"!", 1)
    backend.commit([fits, large])
    claimed = claim_soon(backend, "t", limit=2)
    assert ids_of(claimed) == [fits.id, large.id]
    assert [job.payload for job in claimed] == [fits.payload, OVERSIZED]
    assert backend.payload(large.id) == OVERSIZED
