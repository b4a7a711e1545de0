# ruff: noqa: S101 - these are tests
"""The part of the contract that is about jobs that come from another queue, or go to one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import (
    LONG,
    SHORT,
    SOON,
    claim_soon,
    depth,
    eventually,
    fail,
    ids_of,
    new_job,
    new_jobs,
    release,
    retry,
    rewrite,
)
from eventspool._figures import Depth
from eventspool._job import LOST, MOVED, PURGED, Failure, JobState

if TYPE_CHECKING:
    from eventspool._backends import Backend
    from eventspool._contract.tools import BackendFactory

__all__ = ["MovingContract"]


class MovingContract:
    """A move forgets nothing that a job went through. Part of ``QueueContract``."""

    @pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
    def test_a_job_that_comes_from_elsewhere_keeps_its_attempts_and_its_progress(
        self,
        backend_factory: BackendFactory,
        ordering: Ordering,
    ) -> None:
        backend = backend_factory(ordering=ordering)
        plain, tried, half = new_jobs(3)
        tried, half = replace(tried, attempts=4), replace(half, progress="0-1|ä\n:")
        assert backend.commit([plain, tried, half]).accepted == 3
        assert backend.stats().waiting.jobs == 3
        assert [job.attempts for job in backend.jobs(JobState.WAITING, limit=9)] == [0, 4, 0]
        claimed = claim_soon(backend, "t", limit=3)
        assert [(job.attempts, job.progress) for job in claimed] == [(0, ""), (4, ""), (0, "0-1|ä\n:")]
        assert backend.settle("t", [retry(tried.id)]) == [True]

    def test_a_job_that_has_failed_elsewhere_is_a_failed_job(self, backend: Backend) -> None:
        job = new_job(3)
        failure = Failure("rejected", "The data plane said no.", 3, indices=(4, 5, 7), status=422)
        moved = replace(job, attempts=7, failure=failure, failed_at=1_700_000_000.5)
        ready = new_job()
        assert backend.commit([moved, ready]).accepted == 2
        assert backend.commit([moved]).duplicates == 1
        [listed] = backend.jobs(JobState.FAILED, limit=9)
        assert (listed.id, listed.reason, listed.error) == (job.id, "rejected", failure.error)
        assert (listed.events, listed.attempts) == (3, 7)
        assert listed.failed_at == pytest.approx(1_700_000_000.5, abs=0.001)
        assert backend.lookup([job.id]) == {job.id: failure}
        assert backend.payload(job.id) == job.payload
        assert backend.reasons() == {"rejected": Depth(1, 3, len(job.payload))}
        stats = backend.stats()
        assert (stats.failed, stats.waiting.jobs) == (Depth(1, 3, len(job.payload)), 1)
        assert (stats.accepted_events, stats.failed_events) == (4, 0), "it was not given up here"
        assert ids_of(claim_soon(backend, "t", limit=9)) == [ready.id]
        assert backend.replay([job.id]) == 1
        assert claim_soon(backend, "t")[0].attempts == 0

    def test_what_another_queue_has_taken_was_not_delivered_here(
        self, backend: Backend, other: Backend
    ) -> None:
        waiting, failed, leased, delivered, forgotten = (
            new_job(2),
            new_job(3),
            new_job(4),
            new_job(),
            new_job(5),
        )
        everything = [failed, leased, waiting, delivered, forgotten]
        epoch = backend.commit(everything).epoch
        claim_soon(backend, "t", limit=2)
        backend.settle("t", [fail(failed.id, events=3)])
        backend.ack([delivered.id])
        assert other.pass_on([waiting.id, failed.id, leased.id, "never-stored"]) == 3
        assert other.pass_on([forgotten.id], remember=False) == 1
        moved = dict.fromkeys(ids_of([waiting, failed, leased]), MOVED)
        assert backend.lookup(ids_of(everything)) == moved
        assert backend.lookup(ids_of(everything), epoch=epoch) == moved
        assert backend.lookup([delivered.id, waiting.id], epoch="another") == {
            delivered.id: LOST,
            waiting.id: MOVED,
        }
        assert depth(backend) == (Depth(),) * 4
        stats = backend.stats()
        assert (stats.accepted_events, stats.moved_events, stats.delivered_events) == (15, 14, 1)
        assert (stats.purged_events, backend.reasons()) == (0, {})
        assert backend.settle("t", [release(leased.id)]) == [False]
        assert backend.pass_on([waiting.id]) == 0, "that job is gone already"

    @pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
    def test_a_lease_of_a_holder_that_does_not_send_costs_no_attempt(
        self,
        backend_factory: BackendFactory,
        ordering: Ordering,
    ) -> None:
        backend = backend_factory(ordering=ordering)
        jobs = new_jobs(2)
        backend.commit(jobs)
        for _ in range(2):
            for moment in (SHORT, 10 * SHORT, SOON / 2):
                claimed = eventually(
                    lambda: (
                        backend.claim(
                            "mover",
                            ClaimTerms(limit=2, visibility_timeout=moment, sending=False),  # noqa: B023
                        ).jobs
                    )
                )
                assert sorted(ids_of(claimed)) == sorted(ids_of(jobs))
                lost = backend.renew("mover", ids_of(jobs), visibility_timeout=moment)
                leased = backend.stats().leased.jobs
                if not lost and leased == 2:
                    break  # a busy machine needs a longer lease, so that it does not run out before
            assert (lost, leased) == (set(), 2)
            claimed = claim_soon(backend, "t", limit=2)
            assert [(job.attempts, job.stalled) for job in claimed] == [(0, False)] * 2
            assert backend.settle("mover", [retry(jobs[0].id)]) == [False]
            backend.leave("t")
        claim_soon(backend, "t", limit=2, visibility_timeout=SHORT)
        again = claim_soon(backend, "mover", limit=2)
        assert [(job.attempts, job.stalled) for job in again] == [(1, True)] * 2, (
            "the holder whose lease ran out meant to send them"
        )

    def test_what_was_erased_out_of_a_batch_is_told_when_the_rest_is_gone(
        self, backend: Backend, other: Backend
    ) -> None:
        cut, whole = new_job(3), new_job(3)
        epoch = backend.commit([cut, whole]).epoch
        rest = new_job(2)
        assert rewrite(backend, cut.id, cut.payload, rest.payload, 2, purged=(1,))
        assert backend.lookup([cut.id]) == {cut.id: None}
        backend.ack([cut.id, whole.id])
        assert other.lookup([cut.id, whole.id], epoch=epoch) == {cut.id: replace(PURGED, indices=(1,))}

    def test_what_was_erased_out_of_a_batch_is_told_beside_what_failed(self, backend: Backend) -> None:
        job, rest = new_job(3), new_job(2)
        backend.commit([job])
        assert rewrite(backend, job.id, job.payload, rest.payload, 2, purged=(1,))
        claim_soon(backend, "t")
        backend.settle("t", [fail(job.id, events=2)])
        failure = backend.lookup([job.id])[job.id]
        assert failure is not None
        assert (failure.indices, failure.purged) == ((0, 2), (1,))
        assert rewrite(backend, job.id, rest.payload, new_job().payload, 1, purged=(0, 1))
        failure = backend.lookup([job.id])[job.id]
        assert failure is not None
        assert failure.purged == (0, 1)
        assert backend.purge(JobState.FAILED, [job.id]) == 1
        assert backend.lookup([job.id]) == {job.id: PURGED}

    def test_a_probe_takes_turns_among_jobs_of_equally_many_attempts(
        self, backend_factory: BackendFactory
    ) -> None:
        """This holds where jobs keep their places, too: putting a job off does not move it there."""
        backend = backend_factory(ordering=Ordering.FIFO)
        jobs = new_jobs(3)
        backend.commit(jobs)
        claim_soon(backend, "t", limit=3)
        backend.settle("t", [retry(job.id) for job in jobs])
        turns = []
        for delay in range(7):
            [job] = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG, probe=True)).jobs
            turns.append(job.id)
            backend.settle("t", [replace(release(job.id), delay=1.0 + delay)])
        assert turns == (ids_of(jobs) * 3)[:7]
