"""Pages of a queue that a processor empties meanwhile."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

from eventspool._contract.tools import ids_of, new_job, new_jobs
from eventspool._job import JobState


def test_a_list_goes_on_where_it_was_though_that_job_is_gone(make):
    """If it began from the start again, the list of a busy queue would never end."""
    backend = make()
    jobs = []
    for _ in range(5):
        jobs.append(new_job())
        backend.commit(jobs[-1:])
        time.sleep(0.003)  # ids carry milliseconds
    backend.ack([jobs[2].id])
    assert ids_of(backend.jobs(JobState.WAITING, limit=9, after=jobs[2].id)) == ids_of(jobs[3:])


def test_a_scan_goes_on_behind_an_id_that_is_no_valid_text(path, make, monkeypatch):
    """Another program wrote it. Looked for as the text that it is read as, it would be found again and again."""
    monkeypatch.setattr("eventspool._backends.sqlite.listing._SCANNED", 2)
    backend = make()
    ids = ids_of(jobs := new_jobs(5))
    backend.commit(jobs)
    with closing(sqlite3.connect(path)) as db:
        db.execute("update jobs set id = cast(? as text) where id = ?", (b"\x30\xff\xfe", ids[0]))
        db.execute("update jobs set id = cast(? as text) where id = ?", (b"\x30\xff\xff", ids[1]))
        db.commit()
    found, cursor = backend.scan()
    while cursor:
        page, cursor = backend.scan(cursor)
        found += page
    assert sorted(found) == sorted(["0\ufffd\ufffd"] * 2 + ids[2:])
