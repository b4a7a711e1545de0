# ruff: noqa: S101 - these are tests
"""The part of the contract that is about committing: what is stored, once and in order, and what does not fit."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from eventspool._claim import ClaimTerms
from eventspool._contract.tools import (
    LONG,
    BackendFactory,
    bury,
    claim_soon,
    depth,
    drain,
    fail,
    ids_of,
    new_job,
    new_jobs,
)
from eventspool._figures import Depth
from eventspool._job import CommitResult, JobState, NewJob

if TYPE_CHECKING:
    from eventspool._backends import Backend

__all__ = ["CommitContract"]


class CommitContract:
    """A job is stored once, in order, and only within the queue's bounds. Part of ``QueueContract``."""

    def test_jobs_come_out_in_the_order_they_were_committed(self, backend: Backend) -> None:
        jobs = new_jobs(12)
        for commit in (jobs[:5], jobs[5:6], jobs[6:]):
            backend.commit(commit)
        assert ids_of(drain(backend, "t", limit=5)) == ids_of(jobs)

    def test_a_claim_hands_out_what_was_committed(self, backend: Backend) -> None:
        job = NewJob(new_job().id, bytes(range(256)) * 5000, 7)
        assert backend.commit([job]) == CommitResult(1)
        [claimed] = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs
        assert (claimed.id, claimed.payload, claimed.attempts) == (job.id, job.payload, 0)
        assert (claimed.progress, claimed.stalled) == ("", False)
        assert claimed.created_at == pytest.approx(time.time(), abs=60)

    def test_committing_again_changes_nothing(self, backend: Backend) -> None:
        jobs = new_jobs(3)
        backend.commit(jobs[:2])
        before = depth(backend)
        assert backend.commit(jobs[:2]) == CommitResult(0, duplicates=2)
        assert depth(backend) == before
        assert backend.commit(jobs) == CommitResult(1, duplicates=2)
        assert ids_of(drain(backend, "t")) == ids_of(jobs)

    def test_a_job_named_twice_in_one_commit_is_stored_once(self, backend: Backend) -> None:
        job = new_job()
        assert backend.commit([job, job]) == CommitResult(1, duplicates=1)
        assert backend.stats().waiting == Depth(1, 1, len(job.payload))

    def test_a_job_named_twice_that_does_not_fit_is_not_stored(self, backend_factory: BackendFactory) -> None:
        job = new_job(filling="x" * 1000)
        backend = backend_factory(max_bytes=10)
        assert backend.commit([job, job]) == CommitResult(0, impossible=(job.id, job.id))
        assert backend.lookup([job.id]) == {}

    def test_a_job_larger_than_the_queue_may_be_is_told_apart_and_holds_up_nothing(
        self, backend_factory: BackendFactory
    ) -> None:
        before, after = new_jobs(2)
        large = new_job(filling="x" * 3000)
        backend = backend_factory(max_bytes=1000)
        assert backend.commit([before, large, after]) == CommitResult(2, impossible=(large.id,))
        [third] = new_jobs(1)
        full = backend_factory(max_bytes=1000, max_jobs=2)
        told = CommitResult(0, rejected=(third.id,), impossible=(large.id,))
        if full.shared:
            assert full.commit([third, large]) == told, (
                "it does not wait behind the job that does not fit now"
            )
        assert backend.lookup([large.id]) == {}
        assert ids_of(drain(backend, "t")) == ids_of([before, after])
        assert backend.ack(ids_of([before, after])) == 2
        assert backend.commit([large]).impossible == (large.id,), "it does not fit into an empty queue either"
        assert depth(backend) == (Depth(),) * 4

    def test_a_job_that_was_stored_while_it_fitted_is_known_and_not_impossible(
        self, backend_factory: BackendFactory
    ) -> None:
        job = new_job(filling="x" * 3000)
        wide = backend_factory()
        wide.commit([job])
        narrow = backend_factory(max_bytes=1000)
        known = narrow.shared  # otherwise it is a handle on another queue
        expected = CommitResult(0, duplicates=1) if known else CommitResult(0, impossible=(job.id,))
        assert narrow.commit([job]) == expected

    def test_committing_a_leased_job_again_leaves_its_lease(self, backend: Backend) -> None:
        job = new_job()
        backend.commit([job])
        claim_soon(backend, "t")
        assert backend.commit([job]).duplicates == 1
        assert not backend.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs

    def test_committing_a_failed_job_again_leaves_it_failed(self, backend: Backend) -> None:
        job = new_job()
        backend.commit([job])
        claim_soon(backend, "t")
        backend.settle("t", [fail(job.id)])
        assert backend.commit([job]) == CommitResult(0, duplicates=1)
        assert backend.stats().waiting == Depth()
        assert backend.stats().failed.jobs == 1

    def test_jobs_beyond_max_jobs_are_rejected_and_the_rest_stored(
        self, backend_factory: BackendFactory
    ) -> None:
        backend = backend_factory(max_jobs=3)
        jobs = new_jobs(5)
        assert backend.commit(jobs) == CommitResult(3, rejected=tuple(ids_of(jobs[3:])))
        assert backend.lookup(ids_of(jobs)).keys() == set(ids_of(jobs[:3]))
        assert backend.payload(jobs[3].id) is None
        backend.ack(ids_of(jobs[:2]))
        assert backend.commit(jobs[3:]) == CommitResult(2)

    def test_bytes_beyond_max_bytes_are_rejected(self, backend_factory: BackendFactory) -> None:
        jobs = new_jobs(3)
        size = len(jobs[0].payload)
        backend = backend_factory(max_bytes=2 * size)
        assert backend.commit(jobs) == CommitResult(2, rejected=(jobs[2].id,))
        assert backend.stats().waiting == Depth(2, 2, 2 * size)
        backend.ack([jobs[0].id])
        assert backend.commit([jobs[2]]) == CommitResult(1)

    def test_failed_jobs_count_towards_the_bounds(self, backend_factory: BackendFactory) -> None:
        backend = backend_factory(max_jobs=2)
        buried = bury(backend, 2)
        job = new_job()
        assert backend.commit([job]).rejected == (job.id,)
        backend.purge(JobState.FAILED, buried[:1])
        assert backend.commit([job]).accepted == 1
