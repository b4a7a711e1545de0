"""Operators' tools do not know the ordering of a queue: what they do holds for every ordering."""

from __future__ import annotations

import pytest

from eventspool import open_queue
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import LONG, claim_soon, ids_of, new_jobs, retry


@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
def test_a_job_that_is_retried_now_is_claimed_now(make, path, ordering):
    backend = make(queue_name="q", ordering=ordering)
    jobs = new_jobs(2)
    backend.commit(jobs)
    claim_soon(backend, "t", limit=2)
    backend.settle("t", [retry(job_id, delay=LONG) for job_id in ids_of(jobs)])
    with open_queue(f"sqlite:///{path}", queue_name="q", prefix="p") as queue:
        assert queue.retry_now() == 2
        assert queue.stats().waiting.jobs == 2
    assert ids_of(claim_soon(backend, "t", limit=9)) == ids_of(jobs)


def test_what_a_successor_in_order_does_not_reach_is_due_without_ordering(make):
    """The successor takes over all leases, and takes the queue over from its dead holder."""
    unordered, fifo = make(), make(ordering=Ordering.FIFO)
    jobs = new_jobs(3)
    unordered.commit(jobs)
    claim_soon(unordered, "dead", limit=3)
    claim_soon(fifo, "t", limit=1)
    fifo.leave("t")
    assert len(unordered.claim("u", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs) == 3
