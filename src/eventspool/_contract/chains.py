# ruff: noqa: S101 - these are tests
"""The part of the contract about jobs that hold up one another, and are leased together to travel in one request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._claim import ClaimTerms
from eventspool._contract.tools import (
    LONG,
    ids_of,
    new_job,
    release,
    retry,
)
from eventspool._routing import ALL_LANES

if TYPE_CHECKING:
    from eventspool._backends import Backend

from eventspool._contract.lanes import A, B, C, claim_ids, jobs_in

__all__ = ["ChainContract"]


class ChainContract:
    """Up to *chain* jobs that follow each other in a lane are leased together."""

    def test_jobs_behind_one_another_are_leased_together_where_they_travel_together(
        self, lanes: Backend
    ) -> None:
        jobs = jobs_in(A, B, A, A, B, C)
        ids = ids_of(jobs)
        lanes.commit(jobs)
        assert claim_ids(lanes, chain=2) == [ids[0], ids[2], ids[1], ids[4], ids[5]]
        lanes.ack([ids[0]])
        assert claim_ids(lanes, "u", chain=2) == [], "what rides is still under way"
        lanes.ack([ids[2]])
        assert claim_ids(lanes, "u", chain=2) == [ids[3]]

    def test_a_chain_goes_on_through_jobs_of_several_lanes(self, lanes: Backend) -> None:
        jobs = jobs_in(A, A | B, B, ALL_LANES, C, ALL_LANES)
        lanes.commit(jobs)
        assert claim_ids(lanes, chain=9) == ids_of(jobs)

    def test_two_chains_are_not_joined(self, lanes: Backend) -> None:
        jobs = jobs_in(A, B, A | B, C, ALL_LANES)
        lanes.commit(jobs)
        assert claim_ids(lanes, chain=9) == ids_of([jobs[0], jobs[1], jobs[3]])

    def test_a_job_that_was_tried_rides_behind_nothing_and_has_nothing_behind_it(
        self, lanes: Backend
    ) -> None:
        jobs = jobs_in(A, A, A)
        ids = ids_of(jobs)
        lanes.commit(jobs)
        assert claim_ids(lanes, chain=2) == ids[:2]
        lanes.settle("t", [release(ids[0]), retry(ids[1])])
        assert claim_ids(lanes, chain=9) == ids[:1]
        lanes.ack(ids[:1])
        assert claim_ids(lanes, chain=9) == ids[1:2]
        lanes.ack(ids[1:2])
        assert claim_ids(lanes, chain=9) == ids[2:]

    def test_a_chain_is_bound_by_bytes(self, lanes: Backend) -> None:
        jobs = [new_job(filling="x" * 1000, lanes=A) for _ in range(9)]
        lanes.commit(jobs)
        size = len(jobs[0].payload)
        claim = lanes.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG, chain=9, chain_bytes=2 * size))
        assert ids_of(claim.jobs) == ids_of(jobs[:2])
