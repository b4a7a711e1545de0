"""Pages of a queue that a processor empties meanwhile."""

from __future__ import annotations

import time

from eventspool._contract.tools import ids_of, new_job
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
