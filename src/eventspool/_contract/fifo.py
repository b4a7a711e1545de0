# ruff: noqa: S101 - these are tests
"""The part of the contract that is about first-in-first-out queues."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from eventspool._backends.rules import QUEUE_LEASE
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import (
    LONG,
    SHORT,
    SOON,
    BackendFactory,
    bury,
    claim_soon,
    fail,
    ids_of,
    new_job,
    new_jobs,
    release,
    renew_in_time,
    retry,
)
from eventspool._job import CommitResult

if TYPE_CHECKING:
    from eventspool._backends import Backend

__all__ = ["FIFOContract"]


class FIFOContract:
    """Strict order, one processor at a time, a prompt successor. Part of ``QueueContract``."""

    @pytest.fixture
    def fifo(self, backend_factory: BackendFactory) -> Backend:
        """An opened first-in-first-out queue."""
        return backend_factory(ordering=Ordering.FIFO)

    @pytest.fixture
    def standby(self, fifo: Backend, backend_factory: BackendFactory) -> Backend:
        """A second handle on that queue, if a backend can have one."""
        return backend_factory(ordering=Ordering.FIFO) if fifo.shared else fifo

    @pytest.fixture
    def unordered(self, fifo: Backend, backend_factory: BackendFactory) -> Backend:
        """A handle on that queue which does not keep its order, if a backend can have one."""
        return backend_factory(ordering=Ordering.NONE) if fifo.shared else fifo

    def test_fifo_a_job_larger_than_the_queue_may_be_waits_behind_nothing_and_holds_up_nothing(
        self, backend_factory: BackendFactory
    ) -> None:
        backend = backend_factory(ordering=Ordering.FIFO, max_bytes=1000, max_jobs=2)
        jobs, large = new_jobs(4), new_job(filling="x" * 3000)
        told = CommitResult(2, rejected=tuple(ids_of(jobs[2:])), impossible=(large.id, large.id))
        assert backend.commit([jobs[0], large, *jobs[1:3], large, jobs[3]]) == told
        assert ids_of(backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs) == ids_of(
            jobs[:2]
        )

    def test_fifo_one_claim_may_return_several_jobs_in_order(self, fifo: Backend) -> None:
        jobs = new_jobs(5)
        fifo.commit(jobs[:3])
        fifo.commit(jobs[3:])
        assert ids_of(fifo.claim("t", ClaimTerms(limit=4, visibility_timeout=LONG)).jobs) == ids_of(jobs[:4])

    def test_fifo_nothing_overtakes_a_leased_job(self, fifo: Backend) -> None:
        jobs = new_jobs(3)
        fifo.commit(jobs)
        claim_soon(fifo, "t", limit=2)
        fifo.ack([jobs[0].id])
        for probe in (False, True):
            assert fifo.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG, probe=probe)).jobs == ()
        fifo.ack([jobs[1].id])
        assert ids_of(fifo.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs) == [jobs[2].id]

    def test_fifo_another_token_gets_nothing_and_learns_how_long(
        self, fifo: Backend, standby: Backend
    ) -> None:
        fifo.commit(new_jobs(2))
        claim_soon(fifo, "t")
        for probe in (False, True):
            claim = standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG, probe=probe))
            assert claim.jobs == ()
            assert claim.wait is not None
            assert 0 < claim.wait <= QUEUE_LEASE + 0.001

    def test_fifo_an_empty_queue_is_leased_as_well(self, fifo: Backend, standby: Backend) -> None:
        fifo.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
        fifo.commit(new_jobs(1))
        assert standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs == ()
        assert len(fifo.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs) == 1

    def test_fifo_a_retry_holds_the_whole_queue_and_keeps_its_place(self, fifo: Backend) -> None:
        jobs = new_jobs(3)
        fifo.commit(jobs)
        claim_soon(fifo, "t")
        started = time.monotonic()
        fifo.settle("t", [retry(jobs[0].id, delay=0.4)])
        claim = fifo.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG))
        assert claim.jobs == ()
        assert claim.wait is not None
        assert 0 <= claim.wait <= 0.4 + 0.001
        claimed = claim_soon(fifo, "t", limit=9)
        assert time.monotonic() - started >= 0.4 - 0.05
        assert [(j.id, j.attempts) for j in claimed] == [(jobs[0].id, 1), (jobs[1].id, 0), (jobs[2].id, 0)]

    def test_fifo_a_retry_holds_up_nothing_before_it(self, fifo: Backend) -> None:
        first, second = new_jobs(2)
        fifo.commit([first, second])
        claim_soon(fifo, "t")
        fifo.settle("t", [retry(first.id)])
        assert ids_of(claim_soon(fifo, "t", probe=True)) == [second.id]
        fifo.settle("t", [retry(second.id, delay=LONG)])
        assert ids_of(fifo.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs) == [first.id]
        fifo.ack([first.id])
        claim = fifo.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG))
        assert claim.jobs == ()
        assert claim.wait == pytest.approx(LONG, abs=SOON)

    def test_fifo_the_hold_outlives_its_processor(self, fifo: Backend, standby: Backend) -> None:
        fifo.commit(new_jobs(2))
        [head] = claim_soon(fifo, "t")
        fifo.settle("t", [retry(head.id, delay=LONG)])
        fifo.leave("t")
        claim = standby.claim("u", ClaimTerms(limit=9, visibility_timeout=LONG))
        assert claim.jobs == ()
        assert claim.wait == pytest.approx(LONG, abs=SOON)

    def test_fifo_a_probe_ignores_the_hold(self, fifo: Backend) -> None:
        fifo.commit(new_jobs(1))
        [head] = claim_soon(fifo, "t")
        fifo.settle("t", [retry(head.id, delay=LONG)])
        [probed] = fifo.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG, probe=True)).jobs
        assert (probed.id, probed.attempts) == (head.id, 1)

    def test_fifo_a_probe_picks_the_job_with_the_fewest_attempts(self, fifo: Backend) -> None:
        jobs = new_jobs(3)
        fifo.commit(jobs)
        claim_soon(fifo, "t")
        fifo.settle("t", [retry(jobs[0].id, delay=LONG)])
        assert ids_of(fifo.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG, probe=True)).jobs) == [
            jobs[1].id
        ]

    def test_fifo_a_probe_lets_no_job_pass_those_that_were_put_off_without_an_attempt(
        self, fifo: Backend
    ) -> None:
        """They shared a request that failed. Whichever is at fault, none behind them is to come before the others."""
        jobs = new_jobs(4)
        fifo.commit(jobs)
        claim_soon(fifo, "t", limit=3)
        fifo.settle("t", [replace(release(job.id), delay=LONG) for job in jobs[:3]])
        assert ids_of(fifo.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG, probe=True)).jobs) == [
            jobs[0].id
        ]

    def test_fifo_a_released_job_keeps_its_place(self, fifo: Backend) -> None:
        jobs = new_jobs(3)
        fifo.commit(jobs)
        claim_soon(fifo, "t", limit=2)
        fifo.settle("t", [release(jobs[1].id), release(jobs[0].id)])
        claimed = claim_soon(fifo, "t", limit=9)
        assert [(j.id, j.attempts) for j in claimed] == [(j.id, 0) for j in jobs]

    def test_fifo_a_failed_head_lets_the_next_through(self, fifo: Backend) -> None:
        jobs = new_jobs(2)
        fifo.commit(jobs)
        claim_soon(fifo, "t")
        fifo.settle("t", [fail(jobs[0].id)])
        assert ids_of(claim_soon(fifo, "t", limit=9)) == [jobs[1].id]

    def test_fifo_a_successor_takes_over_from_a_dead_processor(self, fifo: Backend, standby: Backend) -> None:
        jobs = new_jobs(3)
        fifo.commit(jobs)
        claim_soon(fifo, "dead", limit=2, visibility_timeout=2 * SHORT)
        claimed = claim_soon(standby, "u", limit=9)
        assert [(j.id, j.attempts, j.stalled) for j in claimed] == [
            (jobs[0].id, 1, True),
            (jobs[1].id, 1, True),
            (jobs[2].id, 0, False),
        ]
        assert fifo.settle("dead", [retry(jobs[0].id), fail(jobs[1].id)]) == [False, False]
        assert fifo.renew("dead", ids_of(jobs[:2]), visibility_timeout=LONG) == set(ids_of(jobs[:2]))

    def test_fifo_a_lease_of_the_holder_itself_may_run_out(self, fifo: Backend) -> None:
        jobs = new_jobs(2)
        fifo.commit(jobs)
        claim_soon(fifo, "t", visibility_timeout=SHORT)
        claimed = claim_soon(fifo, "t", limit=9)
        assert [(j.id, j.attempts, j.stalled) for j in claimed] == [
            (jobs[0].id, 1, True),
            (jobs[1].id, 0, False),
        ]

    def test_fifo_leaving_hands_the_queue_over_at_once(self, fifo: Backend, standby: Backend) -> None:
        jobs = new_jobs(2)
        fifo.commit(jobs)
        claim_soon(fifo, "t")
        fifo.leave("t")
        claimed = standby.claim("u", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs
        assert [(j.id, j.attempts, j.stalled) for j in claimed] == [(j.id, 0, False) for j in jobs]

    def test_fifo_renewing_keeps_the_queue(self, fifo: Backend, standby: Backend) -> None:
        fifo.commit(new_jobs(2))
        [head], moment = renew_in_time(fifo, "t", visibility_timeout=LONG)
        deadline = time.monotonic() + 3 * moment
        while time.monotonic() < deadline:
            assert standby.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs == ()
        assert fifo.settle("t", [release(head.id)]) == [True]

    def test_fifo_a_replayed_job_is_delivered_once(self, fifo: Backend) -> None:
        [buried] = bury(fifo, 1)
        assert fifo.replay([buried]) == 1
        assert ids_of(claim_soon(fifo, "t", limit=9)) == [buried]

    # Two processes should be configured for the same ordering. If they are not, both still deliver.

    def test_a_processor_without_ordering_leaves_alone_what_a_fifo_processor_leases_or_delays(
        self, fifo: Backend, unordered: Backend
    ) -> None:
        [job] = new_jobs(1)
        fifo.commit([job])
        claim_soon(fifo, "t")
        for probe in (False, True):
            claim = unordered.claim("u", ClaimTerms(limit=9, visibility_timeout=LONG, probe=probe))
            assert claim.jobs == ()
            assert claim.wait is not None
            assert claim.wait > 0
        assert fifo.renew("t", [job.id], visibility_timeout=LONG) == set()
        assert fifo.settle("t", [retry(job.id, delay=LONG)]) == [True]
        claim = unordered.claim("u", ClaimTerms(limit=9, visibility_timeout=LONG))
        assert claim.jobs == ()
        assert claim.wait is not None
        assert claim.wait > 0

    @pytest.mark.parametrize("step", ["leave", "settle"])
    def test_fifo_a_job_that_was_leased_without_ordering_is_due_when_it_is_given_back(
        self, fifo: Backend, unordered: Backend, step: str
    ) -> None:
        jobs = new_jobs(2)
        ids = ids_of(jobs)
        unordered.commit(jobs)
        claim_soon(unordered, "t", limit=2)
        if step == "leave":
            fifo.leave("t")
        else:
            assert fifo.settle("t", [retry(ids[0]), release(ids[1])]) == [True, True]
        assert sorted(ids_of(claim_soon(unordered, "t", limit=9))) == sorted(ids)
