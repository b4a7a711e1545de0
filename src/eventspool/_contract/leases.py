# ruff: noqa: S101 - these are tests
"""The part of the contract that is about leases and how they end."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from eventspool._claim import ClaimTerms
from eventspool._contract.tools import (
    LONG,
    SHORT,
    SOON,
    bury,
    claim_soon,
    depth,
    drain,
    eventually,
    fail,
    ids_of,
    new_job,
    new_jobs,
    release,
    renew_in_time,
    retry,
)
from eventspool._figures import Depth
from eventspool._job import Failure, JobState, Settlement, SettlementKind

if TYPE_CHECKING:
    from eventspool._backends import Backend

__all__ = ["LeaseContract"]


class LeaseContract:
    """One holder at a time, attempts counted once, stale holders harmless. Part of ``QueueContract``."""

    def test_an_empty_queue_says_that_time_alone_brings_nothing(self, backend: Backend) -> None:
        claim = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
        assert (claim.jobs, claim.wait) == ((), None)

    def test_a_leased_job_is_not_handed_out_again(self, backend: Backend, other: Backend) -> None:
        backend.commit(new_jobs(1))
        claim_soon(backend, "t")
        for token in ("t", "u"):
            claim = other.claim(token, ClaimTerms(limit=10, visibility_timeout=LONG))
            assert claim.jobs == ()
            assert claim.wait is not None
            assert LONG - SOON < claim.wait <= LONG + 0.001

    def test_a_claim_keeps_to_its_limit(self, backend: Backend) -> None:
        backend.commit(new_jobs(5))
        assert len(backend.claim("t", ClaimTerms(limit=3, visibility_timeout=LONG)).jobs) == 3
        assert len(backend.claim("t", ClaimTerms(limit=3, visibility_timeout=LONG)).jobs) == 2

    def test_a_claim_that_leaves_nothing_due_says_when_something_will_be(self, backend: Backend) -> None:
        backend.commit(new_jobs(2))
        [job, _] = claim_soon(backend, "t", limit=2)
        assert backend.settle("t", [retry(job.id, delay=20.0)]) == [True]
        backend.commit(new_jobs(1))
        claim = backend.claim("t", ClaimTerms(limit=10, visibility_timeout=LONG))
        assert len(claim.jobs) == 1
        assert claim.wait is not None
        assert 20.0 - SOON < claim.wait <= 20.0 + 0.001

    def test_a_lease_that_runs_out_costs_an_attempt_and_says_stalled(self, backend: Backend) -> None:
        backend.commit(new_jobs(1))
        for attempts in (0, 1, 2):
            [job] = claim_soon(backend, f"t{attempts}", visibility_timeout=SHORT)
            assert (job.attempts, job.stalled) == (attempts, attempts > 0)

    def test_a_lease_that_ran_out_counts_as_waiting(self, backend: Backend) -> None:
        backend.commit(new_jobs(1))
        claim_soon(backend, "t", visibility_timeout=SHORT)
        assert eventually(lambda: backend.stats().waiting.jobs == 1)
        assert backend.stats().leased == Depth()

    def test_a_stale_holder_cannot_settle(self, backend: Backend, other: Backend) -> None:
        job = new_job()
        backend.commit([job])
        claim_soon(backend, "stale", visibility_timeout=SHORT)
        claim_soon(other, "holder")
        before = depth(backend)
        for settlement in (retry(job.id), release(job.id), fail(job.id)):
            assert backend.settle("stale", [settlement]) == [False]
        assert depth(backend) == before
        assert other.settle("holder", [release(job.id)]) == [True]
        assert claim_soon(backend, "t")[0].attempts == 1

    def test_a_stale_holder_can_ack(self, backend: Backend, other: Backend) -> None:
        """The job was delivered, even though another processor holds it now."""
        job = new_job()
        backend.commit([job])
        claim_soon(backend, "stale", visibility_timeout=SHORT)
        claim_soon(other, "holder")
        assert backend.ack([job.id]) == 1
        assert other.ack([job.id]) == 0
        assert other.settle("holder", [retry(job.id)]) == [False]
        assert other.lookup([job.id]) == {}

    def test_ack_counts_what_was_stored(self, backend: Backend) -> None:
        jobs = new_jobs(3)
        backend.commit(jobs)
        assert backend.ack([*ids_of(jobs[:2]), "never-stored"]) == 2
        assert ids_of(drain(backend, "t")) == [jobs[2].id]

    def test_ack_forgets_a_failed_job_too(self, backend: Backend) -> None:
        buried = bury(backend, 2)
        assert backend.ack(buried[:1]) == 1
        [left] = backend.jobs(JobState.FAILED, limit=9)
        assert left.id == buried[1]
        assert backend.stats().failed == Depth(1, left.events, left.bytes)
        assert backend.payload(buried[0]) is None

    def test_renewing_keeps_a_lease(self, backend: Backend, other: Backend) -> None:
        job = new_job()
        backend.commit([job])
        _, moment = renew_in_time(backend, "t", visibility_timeout=LONG)
        deadline = time.monotonic() + 3 * moment
        while time.monotonic() < deadline:
            assert other.claim("u", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs == ()
        assert backend.settle("t", [release(job.id)]) == [True]

    def test_a_renewed_lease_runs_out_in_the_end(self, backend: Backend) -> None:
        backend.commit(new_jobs(1))
        [job] = claim_soon(backend, "t", visibility_timeout=LONG)
        assert backend.renew("t", [job.id], visibility_timeout=SHORT) == set()
        assert claim_soon(backend, "u")[0].stalled

    def test_renewing_names_the_leases_that_are_lost(self, backend: Backend) -> None:
        kept, taken, delivered = new_jobs(3)
        backend.commit([taken])
        claim_soon(backend, "t", visibility_timeout=SHORT)
        claim_soon(backend, "u")
        backend.commit([kept, delivered])
        claim_soon(backend, "t", limit=2)
        backend.ack([delivered.id])
        asked = [kept.id, taken.id, delivered.id, "never-stored"]
        assert backend.renew("t", asked, visibility_timeout=LONG) == {taken.id, delivered.id, "never-stored"}

    def test_leaving_gives_leases_back_without_an_attempt(self, backend: Backend, other: Backend) -> None:
        jobs = new_jobs(3)
        backend.commit(jobs)
        claim_soon(backend, "t", limit=2)
        claim_soon(backend, "stays")
        backend.leave("t")
        claimed = claim_soon(other, "u", limit=9)
        assert {(j.id, j.attempts, j.stalled) for j in claimed} == {(j.id, 0, False) for j in jobs[:2]}
        assert backend.settle("t", [retry(jobs[0].id)]) == [False]

    def test_processors_are_counted_until_they_leave(self, backend: Backend, other: Backend) -> None:
        assert backend.stats().processors == 0
        backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
        backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
        other.renew("u", [], visibility_timeout=LONG)
        assert backend.stats().processors == 2
        backend.leave("u")
        assert other.stats().processors == 1

    def test_concurrent_claims_never_hand_one_job_to_two_tokens(
        self, backend: Backend, other: Backend
    ) -> None:
        jobs = new_jobs(200)
        backend.commit(jobs)
        with ThreadPoolExecutor(4) as pool:
            handles = [(backend, "a"), (backend, "b"), (other, "c"), (other, "d")]
            claimed = pool.map(lambda h: drain(*h, limit=3), handles)
        assert sorted(j.id for batch in claimed for j in batch) == sorted(ids_of(jobs))

    def test_concurrent_commits_store_each_job_once(self, backend: Backend, other: Backend) -> None:
        jobs = new_jobs(100)

        def commit(handle: Backend) -> int:
            order = random.sample(jobs, len(jobs))
            return sum(handle.commit(order[start : start + 5]).accepted for start in range(0, len(order), 5))

        with ThreadPoolExecutor(4) as pool:
            accepted = list(pool.map(commit, [backend, other, backend, other]))
        assert sum(accepted) == len(jobs)
        assert backend.stats().waiting == Depth(100, 100, sum(len(j.payload) for j in jobs))

    # Settling.

    def test_a_retry_costs_an_attempt_waits_and_keeps_progress(self, backend: Backend) -> None:
        backend.commit(new_jobs(1))
        for delay in (0.4, 4.0, SOON / 2):
            [job] = claim_soon(backend, "t")
            started = time.monotonic()
            assert backend.settle("t", [retry(job.id, delay=delay, progress='{"done":[1]}')]) == [True]
            claim, delayed = (
                backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)),
                backend.stats().delayed.jobs,
            )
            if time.monotonic() - started < delay:
                break
            backend.leave("t")  # a busy machine took so long that the job was due again
        assert (claim.jobs, delayed) == ((), 1)
        assert claim.wait is not None
        assert 0 <= claim.wait <= delay + 0.001
        [again] = claim_soon(backend, "u")
        assert time.monotonic() - started >= delay - 0.05
        assert (again.attempts, again.progress, again.stalled) == (job.attempts + 1, '{"done":[1]}', False)

    def test_attempts_add_up(self, backend: Backend) -> None:
        backend.commit(new_jobs(1))
        for attempts in range(4):
            [job] = claim_soon(backend, "t")
            assert job.attempts == attempts
            backend.settle("t", [retry(job.id)])

    def test_a_release_costs_no_attempt_and_saves_progress(self, backend: Backend) -> None:
        backend.commit(new_jobs(1))
        [job] = claim_soon(backend, "t")
        assert backend.settle("t", [release(job.id, progress="half")]) == [True]
        [again] = claim_soon(backend, "u")
        assert (again.attempts, again.progress, again.stalled) == (0, "half", False)

    def test_progress_outlives_a_stalled_lease(self, backend: Backend) -> None:
        backend.commit(new_jobs(1))
        [job] = claim_soon(backend, "t")
        backend.settle("t", [retry(job.id, progress="hälf\n")])
        claim_soon(backend, "t", visibility_timeout=SHORT)
        [again] = claim_soon(backend, "u")
        assert (again.progress, again.attempts, again.stalled) == ("hälf\n", 2, True)

    def test_a_failed_job_is_kept_with_its_reason(self, backend: Backend, other: Backend) -> None:
        job = new_job(3)
        backend.commit([job])
        claim_soon(backend, "t")
        assert backend.settle("t", [fail(job.id, reason="max_attempts", events=3)]) == [True]
        assert backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs == ()
        failure = other.lookup([job.id])[job.id]
        assert failure is not None
        assert (failure.reason, failure.error) == ("max_attempts", "The data plane said no.")
        assert (failure.events, failure.indices, failure.status) == (3, (0, 2), 422)
        [listed] = other.jobs(JobState.FAILED, limit=9)
        assert (listed.id, listed.state, listed.events, listed.bytes) == (
            job.id,
            JobState.FAILED,
            3,
            len(job.payload),
        )
        assert (listed.attempts, listed.reason, listed.error) == (
            1,
            "max_attempts",
            "The data plane said no.",
        )
        assert listed.next_attempt_at is None
        assert listed.failed_at is not None
        assert listed.created_at - 60 < listed.failed_at < time.time() + 60
        assert other.payload(job.id) == job.payload

    def test_a_job_that_fails_again_failed_later(self, backend: Backend) -> None:
        [job_id] = bury(backend, 1)
        [first] = backend.jobs(JobState.FAILED, limit=9)
        backend.replay([job_id])
        assert backend.jobs(JobState.WAITING, limit=9)[0].failed_at is None
        claim_soon(backend, "t")
        backend.settle("t", [fail(job_id)])
        [again] = backend.jobs(JobState.FAILED, limit=9)
        assert (first.failed_at or 0) < (again.failed_at or 0)

    def test_a_failed_job_keeps_only_the_events_that_failed(self, backend: Backend) -> None:
        job, rest = new_job(5), new_job(2)
        backend.commit([job])
        claim_soon(backend, "t")
        assert backend.settle("t", [fail(job.id, events=2, payload=rest.payload)]) == [True]
        assert backend.payload(job.id) == rest.payload
        assert backend.stats().failed == Depth(1, 2, len(rest.payload))
        backend.replay([job.id])
        assert backend.stats().waiting == Depth(1, 2, len(rest.payload))
        assert claim_soon(backend, "t")[0].payload == rest.payload

    def test_a_job_that_could_not_be_read_keeps_its_number_of_events(self, backend: Backend) -> None:
        job = new_job(5)
        backend.commit([job])
        claim_soon(backend, "t")
        backend.settle("t", [fail(job.id, reason="corrupt", events=0)])
        assert backend.stats().failed == Depth(1, 5, len(job.payload))
        failure = backend.lookup([job.id])[job.id]
        assert failure is not None
        assert failure.events == 5

    def test_a_job_given_up_without_a_reason_has_an_unknown_one(self, backend: Backend) -> None:
        job = new_job(5)
        backend.commit([job])
        claim_soon(backend, "t")
        assert backend.settle("t", [Settlement(job.id, SettlementKind.FAIL)]) == [True]
        assert backend.lookup([job.id]) == {job.id: Failure("unknown", "", 5)}

    def test_settlements_are_answered_one_by_one(self, backend: Backend) -> None:
        jobs = new_jobs(3)
        backend.commit(jobs)
        claim_soon(backend, "t", limit=3)
        settlements = [
            retry(jobs[0].id),
            retry("never-stored"),
            release(jobs[1].id),
            fail(jobs[2].id),
            fail(jobs[2].id),
        ]
        assert backend.settle("t", settlements) == [True, False, True, True, False]
        assert {j.id: j.attempts for j in drain(backend, "u")} == {jobs[0].id: 1, jobs[1].id: 0}

    def test_only_the_holder_settles(self, backend: Backend) -> None:
        job = new_job()
        backend.commit([job])
        assert backend.settle("t", [fail(job.id)]) == [False]
        claim_soon(backend, "holder")
        assert backend.settle("t", [fail(job.id)]) == [False]
        assert backend.lookup([job.id]) == {job.id: None}

    # Probes.

    def test_a_probe_picks_the_job_with_the_fewest_attempts(self, backend: Backend) -> None:
        jobs = new_jobs(4)
        backend.commit(jobs)
        claim_soon(backend, "t", limit=2)
        backend.settle("t", [retry(jobs[0].id), retry(jobs[1].id)])
        probed = [claim_soon(backend, "t", probe=True)[0].id for _ in jobs]
        assert probed[:2] == ids_of(jobs[2:])
        assert sorted(probed) == sorted(ids_of(jobs))

    def test_a_probe_leaves_the_others_due(self, backend: Backend) -> None:
        jobs = new_jobs(5)
        backend.commit(jobs)
        [probed] = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG, probe=True)).jobs
        assert probed.id == jobs[0].id
        assert ids_of(drain(backend, "t")) == ids_of(jobs[1:])
