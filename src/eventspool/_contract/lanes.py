# ruff: noqa: S101 - these are tests
"""The part of the contract that says what a lane is: its jobs go one after another, and beside those of other lanes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from eventspool._claim import PAUSED, ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import (
    LONG,
    SHORT,
    SOON,
    BackendFactory,
    claim_soon,
    fail,
    ids_of,
    listen,
    new_job,
    release,
    renew_in_time,
    retry,
)
from eventspool._job import CommitResult, JobState, lanes_of
from eventspool._routing import ALL_LANES, LANES

if TYPE_CHECKING:
    from eventspool._backends import Backend
    from eventspool._job import NewJob

__all__ = ["A", "B", "C", "LaneContract", "claim_ids", "jobs_in"]

A, B, C = 0b1, 0b10, 0b100


def jobs_in(*lanes: int) -> list[NewJob]:
    """Return a fresh job for each of *lanes*."""
    return [new_job(lanes=each) for each in lanes]


def claim_ids(
    backend: Backend,
    token: str = "t",  # noqa: S107 - it names a processor
    *,
    limit: int = 99,
    chain: int = 1,
) -> list[str]:
    """Return the ids of what can be claimed now."""
    claim = backend.claim(token, ClaimTerms(limit=limit, visibility_timeout=LONG, chain=chain))
    return ids_of(claim.jobs)


class LaneContract:
    """Order within each lane, and none across lanes."""

    def test_lanes_go_in_parallel_and_each_in_its_order(self, lanes: Backend, second: Backend) -> None:
        jobs = jobs_in(A, A, B, B, C)
        lanes.commit(jobs)
        first, behind_a, other, behind_b, third = ids_of(jobs)
        assert claim_ids(lanes, "t") == [first, other, third]
        assert claim_ids(second, "u") == []
        second.ack([other])
        assert claim_ids(second, "u") == [behind_b]
        lanes.ack([first, third])
        assert claim_ids(lanes, "t") == [behind_a]

    def test_a_claim_takes_no_more_than_it_is_asked_for_and_the_oldest_first(self, lanes: Backend) -> None:
        jobs = [new_job(lanes=1 << lane) for lane in reversed(range(LANES))]
        lanes.commit(jobs)
        assert claim_ids(lanes, limit=3) == ids_of(jobs[:3])
        assert claim_ids(lanes, limit=20) == ids_of(jobs[3:])

    def test_a_job_of_several_lanes_waits_for_each_and_holds_up_each(self, lanes: Backend) -> None:
        jobs = jobs_in(A, B, A | B, A, B, C)
        first, other, both, behind_a, behind_b, third = ids_of(jobs)
        lanes.commit(jobs)
        assert claim_ids(lanes) == [first, other, third]
        lanes.ack([first])
        assert claim_ids(lanes) == []
        lanes.ack([other])
        assert claim_ids(lanes) == [both]
        assert claim_ids(lanes) == []
        lanes.ack([both])
        assert claim_ids(lanes) == [behind_a, behind_b]

    def test_a_job_of_all_lanes_is_a_barrier(self, lanes: Backend) -> None:
        jobs = jobs_in(A, B, ALL_LANES, A, ALL_LANES)
        first, other, barrier, behind, last = ids_of(jobs)
        lanes.commit(jobs)
        assert claim_ids(lanes) == [first, other]
        lanes.ack([first])
        assert claim_ids(lanes) == []
        lanes.ack([other])
        assert claim_ids(lanes) == [barrier]
        lanes.ack([barrier])
        assert claim_ids(lanes) == [behind]
        lanes.ack([behind])
        assert claim_ids(lanes) == [last]

    def test_a_job_whose_id_names_no_lanes_that_can_be_read_touches_all(self, lanes: Backend) -> None:
        whole, part = new_job(), new_job(lanes=A)
        for end in ("-0000", "-ffff", "-zzzz", "-1", "-00010"):
            strange = type(part)(new_job().id + end, part.payload, 1)
            assert lanes_of(strange.id) == ALL_LANES
            lanes.commit([strange, part, whole])
            assert claim_ids(lanes) == [strange.id]
            lanes.ack(ids_of([strange, part, whole]))

    def test_a_retry_holds_its_lane_and_no_other_and_keeps_its_place(self, lanes: Backend) -> None:
        jobs = jobs_in(A, A, B)
        lanes.commit(jobs)
        first, behind, other = ids_of(jobs)
        assert ids_of(claim_soon(lanes, "t")) == [first]
        started = time.monotonic()
        assert lanes.settle("t", [retry(first, delay=0.4, progress="1-2|")]) == [True]
        claim = lanes.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG))
        assert ids_of(claim.jobs) == [other]
        claim = lanes.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG))
        assert claim.jobs == ()
        assert claim.wait is not None
        assert 0 <= claim.wait <= 0.4 + 0.001
        [again] = claim_soon(lanes, "t", limit=9)
        assert time.monotonic() - started >= 0.4 - 0.05
        assert (again.id, again.attempts, again.progress) == (first, 1, "1-2|")
        lanes.ack([first])
        assert claim_ids(lanes) == [behind]

    def test_a_job_that_is_given_back_keeps_its_place(self, lanes: Backend, second: Backend) -> None:
        jobs = jobs_in(A, A)
        lanes.commit(jobs)
        for _ in range(3):
            [claimed] = claim_soon(lanes, "t", limit=9)
            assert (claimed.id, claimed.attempts) == (jobs[0].id, 0)
            assert lanes.settle("t", [release(claimed.id)]) == [True]
        claim_soon(lanes, "t")
        lanes.leave("t")
        assert claim_ids(second, "u") == [jobs[0].id]

    def test_the_lane_of_a_dead_processor_goes_on_where_it_was(self, lanes: Backend, second: Backend) -> None:
        jobs = jobs_in(A, A, B)
        lanes.commit(jobs)
        claim_soon(lanes, "dead", limit=1, visibility_timeout=10 * SHORT)
        assert claim_ids(second, "u") == [jobs[2].id]
        [claimed] = claim_soon(second, "u", limit=9)
        assert (claimed.id, claimed.attempts, claimed.stalled) == (jobs[0].id, 1, True)
        assert lanes.settle("dead", [retry(jobs[0].id)]) == [False]
        assert lanes.renew("dead", [jobs[0].id], visibility_timeout=LONG) == {jobs[0].id}
        assert claim_ids(second, "u") == []

    def test_a_lease_that_is_renewed_holds_the_lane(self, lanes: Backend, second: Backend) -> None:
        lanes.commit(jobs_in(A, A))
        [head], moment = renew_in_time(lanes, "t", visibility_timeout=LONG)
        deadline = time.monotonic() + 2 * moment
        while time.monotonic() < deadline:
            assert claim_ids(second, "u") == []
        assert lanes.settle("t", [release(head.id)]) == [True]

    def test_who_did_not_mean_to_send_costs_no_attempt(self, lanes: Backend) -> None:
        lanes.commit(jobs_in(A))
        assert lanes.claim("t", ClaimTerms(limit=1, visibility_timeout=SHORT, sending=False)).jobs
        [claimed] = claim_soon(lanes, "u")
        assert (claimed.attempts, claimed.stalled) == (0, False)

    def test_a_failed_job_lets_its_lane_go_on_and_comes_back_at_the_end(self, lanes: Backend) -> None:
        jobs = jobs_in(A, A, B)
        lanes.commit(jobs)
        first, behind, other = ids_of(jobs)
        assert claim_ids(lanes) == [first, other]
        assert lanes.settle("t", [fail(first)]) == [True]
        assert lanes.replay([first]) == 1
        assert claim_ids(lanes) == [behind]
        lanes.ack([behind])
        [again] = lanes.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs
        assert (again.id, again.attempts) == (first, 0)

    def test_a_purge_in_the_middle_leaves_no_gap(self, lanes: Backend) -> None:
        jobs = jobs_in(A, A | B, A, B, ALL_LANES, C)
        lanes.commit(jobs)
        first, middle, last, other, barrier, third = ids_of(jobs)
        assert claim_ids(lanes) == [first]
        assert lanes.purge(JobState.WAITING, [middle, barrier, first]) == 2
        assert claim_ids(lanes) == [other, third]
        lanes.ack([first])
        assert claim_ids(lanes) == [last]
        assert lanes.pass_on([last, other]) == 2
        lanes.commit(jobs_in(A))
        assert len(claim_ids(lanes)) == 1

    def test_a_job_that_is_expedited_goes_before_those_behind_it(self, lanes: Backend) -> None:
        jobs = jobs_in(A, A)
        lanes.commit(jobs)
        claim_soon(lanes, "t")
        lanes.settle("t", [retry(jobs[0].id, delay=LONG)])
        assert claim_ids(lanes) == []
        assert ids_of(lanes.jobs(JobState.DELAYED, limit=9)) == [jobs[0].id]
        assert lanes.expedite(ids_of(jobs)) == 1
        assert claim_ids(lanes) == [jobs[0].id]

    def test_a_duplicate_stays_where_it_is(self, lanes: Backend) -> None:
        jobs = jobs_in(A, A)
        lanes.commit(jobs)
        assert lanes.commit([jobs[1], jobs[0]]) == CommitResult(0, 2)
        assert claim_ids(lanes) == [jobs[0].id]
        assert lanes.commit([jobs[1]]) == CommitResult(0, 1)
        lanes.ack([jobs[0].id])
        assert claim_ids(lanes) == [jobs[1].id]

    def test_nothing_overtakes_a_job_that_did_not_fit(self, backend_factory: BackendFactory) -> None:
        backend = backend_factory(ordering=Ordering.PER_USER, max_jobs=2)
        jobs = jobs_in(A, B, A, B)
        assert backend.commit(jobs) == CommitResult(2, rejected=tuple(ids_of(jobs[2:])))

    def test_a_probe_takes_of_those_that_may_go_the_one_that_was_tried_least(self, lanes: Backend) -> None:
        jobs = jobs_in(A, A, B, B, C)
        lanes.commit(jobs)
        first, _, other, _, third = ids_of(jobs)
        assert claim_ids(lanes) == [first, other, third]
        lanes.settle("t", [retry(first), retry(other), retry(third)])
        for tried in (first, other):
            [claimed] = claim_soon(lanes, "t", probe=True, limit=1)
            assert claimed.id == tried
            lanes.settle("t", [retry(tried)])
        assert ids_of(claim_soon(lanes, "t", probe=True, limit=1)) == [third]
        lanes.settle("t", [retry(third, delay=LONG)])
        assert ids_of(claim_soon(lanes, "t", probe=True, limit=1)) == [first], "not what waits for its retry"

    def test_while_it_is_paused_nothing_is_handed_out(self, lanes: Backend, second: Backend) -> None:
        lanes.commit(jobs_in(A, B))
        assert not lanes.stats().paused
        second.pause(True)
        assert lanes.stats().paused
        claim = lanes.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG))
        assert (claim.jobs, claim.obstacle) == ((), PAUSED)
        second.pause(False)
        assert not lanes.stats().paused
        assert len(claim_ids(lanes)) == 2

    def test_each_state_is_counted_and_listed(self, lanes: Backend) -> None:
        jobs = jobs_in(A, A, B, C)
        lanes.commit(jobs)
        claim_soon(lanes, "t", limit=1)
        lanes.settle("t", [retry(jobs[0].id, delay=LONG)])
        assert ids_of(claim_soon(lanes, "t", limit=1)) == [jobs[2].id]
        states = {state: ids_of(lanes.jobs(state, limit=9)) for state in JobState}
        assert states == {
            JobState.WAITING: [jobs[1].id, jobs[3].id],
            JobState.DELAYED: [jobs[0].id],
            JobState.LEASED: [jobs[2].id],
            JobState.FAILED: [],
        }
        stats = lanes.stats()
        assert (stats.waiting.jobs, stats.delayed.jobs, stats.leased.jobs) == (2, 1, 1)

    def test_the_oldest_age_is_that_of_the_oldest_unfinished_job(self, lanes: Backend) -> None:
        old, new = (new_job(lanes=1 << lane) for lane in range(2))
        old = replace(old, id=f"{int((time.time() - 3600) * 1000):012x}{old.id[12:]}")
        lanes.commit([old, new])
        assert lanes.stats().oldest_age == pytest.approx(3600, abs=SOON)
        lanes.ack([old.id])
        assert lanes.stats().oldest_age < SOON

    def test_a_claim_is_bound_by_bytes(self, lanes: Backend) -> None:
        jobs = [new_job(filling="x" * 1000, lanes=lane) for lane in (A, A, B, C)]
        lanes.commit(jobs)
        claim = lanes.claim(
            "t", ClaimTerms(limit=9, visibility_timeout=LONG, max_bytes=len(jobs[0].payload) + 10)
        )
        assert ids_of(claim.jobs) == [jobs[0].id]
        assert claim.wait == 0
        assert claim_ids(lanes) == ids_of(jobs[2:])

    def test_who_finds_more_than_it_takes_wakes_another(self, lanes: Backend, second: Backend) -> None:
        lanes.commit(jobs_in(A, B))
        with ThreadPoolExecutor() as pool:
            woken = listen(pool, second)
            claim_soon(lanes, "t", limit=1)
            assert woken.result(SOON)

    def test_it_says_whether_jobs_are_held_up(self, lanes: Backend) -> None:
        jobs = jobs_in(A, B)
        lanes.commit(jobs)
        assert not lanes.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).held_up
        lanes.commit(jobs_in(A))
        assert lanes.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).held_up
