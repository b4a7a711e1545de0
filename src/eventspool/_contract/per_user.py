# ruff: noqa: S101 - these are tests
"""
The part of the contract that is about queues which keep the order per user.

    class TestMineByUser(PerUserContract):
        @pytest.fixture
        def backend_factory(self): ...

It is apart from ``QueueContract``, because a store may refuse to keep this order.
"""

from __future__ import annotations

import random
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
from eventspool._routing import ALL_LANES, LANES, Routing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._backends import Backend
    from eventspool._claim import ClaimedJob
    from eventspool._job import NewJob

__all__ = ["PerUserContract"]

A, B, C = 0b1, 0b10, 0b100


def _jobs(*lanes: int) -> list[NewJob]:
    """Return a fresh job for each of *lanes*."""
    return [new_job(lanes=each) for each in lanes]


def _claim(
    backend: Backend,
    token: str = "t",  # noqa: S107 - it names a processor
    *,
    limit: int = 99,
    chain: int = 1,
) -> list[str]:
    """Return the ids of what can be claimed now."""
    claim = backend.claim(token, ClaimTerms(limit=limit, visibility_timeout=LONG, chain=chain))
    return ids_of(claim.jobs)


class PerUserContract:
    """Order within each lane, none across lanes, any number of processors. Override ``backend_factory``."""

    @pytest.fixture
    def backend_factory(self) -> BackendFactory:
        """Return the factory of backends, as for ``QueueContract``."""
        raise NotImplementedError

    @pytest.fixture
    def lanes(self, backend_factory: BackendFactory) -> Backend:
        """An opened queue that keeps the order per user."""
        return backend_factory(ordering=Ordering.PER_USER)

    @pytest.fixture
    def second(self, backend_factory: BackendFactory) -> Backend:
        """A second handle on that queue."""
        return backend_factory(ordering=Ordering.PER_USER)

    @pytest.fixture
    def unordered(self, backend_factory: BackendFactory) -> Backend:
        """A handle on that queue of a process that asks for no order."""
        return backend_factory(ordering=Ordering.NONE)

    def test_it_says_how_jobs_are_to_be_made(self, lanes: Backend, unordered: Backend) -> None:
        assert lanes.find_routing() == Routing(0, 1)
        assert unordered.find_routing() is None

    def test_lanes_go_in_parallel_and_each_in_its_order(self, lanes: Backend, second: Backend) -> None:
        jobs = _jobs(A, A, B, B, C)
        lanes.commit(jobs)
        first, behind_a, other, behind_b, third = ids_of(jobs)
        assert _claim(lanes, "t") == [first, other, third]
        assert _claim(second, "u") == []
        second.ack([other])
        assert _claim(second, "u") == [behind_b]
        lanes.ack([first, third])
        assert _claim(lanes, "t") == [behind_a]

    def test_a_claim_takes_no_more_than_it_is_asked_for_and_the_oldest_first(self, lanes: Backend) -> None:
        jobs = [new_job(lanes=1 << lane) for lane in reversed(range(LANES))]
        lanes.commit(jobs)
        assert _claim(lanes, limit=3) == ids_of(jobs[:3])
        assert _claim(lanes, limit=20) == ids_of(jobs[3:])

    def test_a_job_of_several_lanes_waits_for_each_and_holds_up_each(self, lanes: Backend) -> None:
        jobs = _jobs(A, B, A | B, A, B, C)
        first, other, both, behind_a, behind_b, third = ids_of(jobs)
        lanes.commit(jobs)
        assert _claim(lanes) == [first, other, third]
        lanes.ack([first])
        assert _claim(lanes) == []
        lanes.ack([other])
        assert _claim(lanes) == [both]
        assert _claim(lanes) == []
        lanes.ack([both])
        assert _claim(lanes) == [behind_a, behind_b]

    def test_a_job_of_all_lanes_is_a_barrier(self, lanes: Backend) -> None:
        jobs = _jobs(A, B, ALL_LANES, A, ALL_LANES)
        first, other, barrier, behind, last = ids_of(jobs)
        lanes.commit(jobs)
        assert _claim(lanes) == [first, other]
        lanes.ack([first])
        assert _claim(lanes) == []
        lanes.ack([other])
        assert _claim(lanes) == [barrier]
        lanes.ack([barrier])
        assert _claim(lanes) == [behind]
        lanes.ack([behind])
        assert _claim(lanes) == [last]

    def test_a_job_whose_id_names_no_lanes_that_can_be_read_touches_all(self, lanes: Backend) -> None:
        whole, part = new_job(), new_job(lanes=A)
        for end in ("-0000", "-ffff", "-zzzz", "-1", "-00010"):
            strange = type(part)(new_job().id + end, part.payload, 1)
            assert lanes_of(strange.id) == ALL_LANES
            lanes.commit([strange, part, whole])
            assert _claim(lanes) == [strange.id]
            lanes.ack(ids_of([strange, part, whole]))

    def test_a_retry_holds_its_lane_and_no_other_and_keeps_its_place(self, lanes: Backend) -> None:
        jobs = _jobs(A, A, B)
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
        assert _claim(lanes) == [behind]

    def test_a_job_that_is_given_back_keeps_its_place(self, lanes: Backend, second: Backend) -> None:
        jobs = _jobs(A, A)
        lanes.commit(jobs)
        for _ in range(3):
            [claimed] = claim_soon(lanes, "t", limit=9)
            assert (claimed.id, claimed.attempts) == (jobs[0].id, 0)
            assert lanes.settle("t", [release(claimed.id)]) == [True]
        claim_soon(lanes, "t")
        lanes.leave("t")
        assert _claim(second, "u") == [jobs[0].id]

    def test_the_lane_of_a_dead_processor_goes_on_where_it_was(self, lanes: Backend, second: Backend) -> None:
        jobs = _jobs(A, A, B)
        lanes.commit(jobs)
        claim_soon(lanes, "dead", limit=1, visibility_timeout=10 * SHORT)
        assert _claim(second, "u") == [jobs[2].id]
        [claimed] = claim_soon(second, "u", limit=9)
        assert (claimed.id, claimed.attempts, claimed.stalled) == (jobs[0].id, 1, True)
        assert lanes.settle("dead", [retry(jobs[0].id)]) == [False]
        assert lanes.renew("dead", [jobs[0].id], visibility_timeout=LONG) == {jobs[0].id}
        assert _claim(second, "u") == []

    def test_a_lease_that_is_renewed_holds_the_lane(self, lanes: Backend, second: Backend) -> None:
        lanes.commit(_jobs(A, A))
        [head], moment = renew_in_time(lanes, "t", visibility_timeout=LONG)
        deadline = time.monotonic() + 2 * moment
        while time.monotonic() < deadline:
            assert _claim(second, "u") == []
        assert lanes.settle("t", [release(head.id)]) == [True]

    def test_who_did_not_mean_to_send_costs_no_attempt(self, lanes: Backend) -> None:
        lanes.commit(_jobs(A))
        assert lanes.claim("t", ClaimTerms(limit=1, visibility_timeout=SHORT, sending=False)).jobs
        [claimed] = claim_soon(lanes, "u")
        assert (claimed.attempts, claimed.stalled) == (0, False)

    def test_a_failed_job_lets_its_lane_go_on_and_comes_back_at_the_end(self, lanes: Backend) -> None:
        jobs = _jobs(A, A, B)
        lanes.commit(jobs)
        first, behind, other = ids_of(jobs)
        assert _claim(lanes) == [first, other]
        assert lanes.settle("t", [fail(first)]) == [True]
        assert lanes.replay([first]) == 1
        assert _claim(lanes) == [behind]
        lanes.ack([behind])
        [again] = lanes.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs
        assert (again.id, again.attempts) == (first, 0)

    def test_the_age_of_the_oldest_job_is_known_by_its_id(self, lanes: Backend) -> None:
        [job] = _jobs(A)
        earlier = replace(job, id=f"{round((time.time() - 100) * 1000):012x}{job.id[12:]}")
        lanes.commit([earlier])
        assert 90 < lanes.stats().oldest_age < 1000
        [listed] = lanes.jobs(JobState.WAITING, limit=1)
        assert 90 < time.time() - listed.created_at < 1000

    def test_a_purge_in_the_middle_leaves_no_gap(self, lanes: Backend) -> None:
        jobs = _jobs(A, A | B, A, B, ALL_LANES, C)
        lanes.commit(jobs)
        first, middle, last, other, barrier, third = ids_of(jobs)
        assert _claim(lanes) == [first]
        assert lanes.purge(JobState.WAITING, [middle, barrier, first]) == 2
        assert _claim(lanes) == [other, third]
        lanes.ack([first])
        assert _claim(lanes) == [last]
        assert lanes.pass_on([last, other]) == 2
        lanes.commit(_jobs(A))
        assert len(_claim(lanes)) == 1

    def test_a_job_that_is_expedited_goes_before_those_behind_it(self, lanes: Backend) -> None:
        jobs = _jobs(A, A)
        lanes.commit(jobs)
        claim_soon(lanes, "t")
        lanes.settle("t", [retry(jobs[0].id, delay=LONG)])
        assert _claim(lanes) == []
        assert ids_of(lanes.jobs(JobState.DELAYED, limit=9)) == [jobs[0].id]
        assert lanes.expedite(ids_of(jobs)) == 1
        assert _claim(lanes) == [jobs[0].id]

    def test_a_duplicate_stays_where_it_is(self, lanes: Backend) -> None:
        jobs = _jobs(A, A)
        lanes.commit(jobs)
        assert lanes.commit([jobs[1], jobs[0]]) == CommitResult(0, 2)
        assert _claim(lanes) == [jobs[0].id]
        assert lanes.commit([jobs[1]]) == CommitResult(0, 1)
        lanes.ack([jobs[0].id])
        assert _claim(lanes) == [jobs[1].id]

    def test_nothing_overtakes_a_job_that_did_not_fit(self, backend_factory: BackendFactory) -> None:
        backend = backend_factory(ordering=Ordering.PER_USER, max_jobs=2)
        jobs = _jobs(A, B, A, B)
        assert backend.commit(jobs) == CommitResult(2, rejected=tuple(ids_of(jobs[2:])))

    def test_a_probe_takes_of_those_that_may_go_the_one_that_was_tried_least(self, lanes: Backend) -> None:
        jobs = _jobs(A, A, B, B, C)
        lanes.commit(jobs)
        first, _, other, _, third = ids_of(jobs)
        assert _claim(lanes) == [first, other, third]
        lanes.settle("t", [retry(first), retry(other), retry(third)])
        for tried in (first, other):
            [claimed] = claim_soon(lanes, "t", probe=True, limit=1)
            assert claimed.id == tried
            lanes.settle("t", [retry(tried)])
        assert ids_of(claim_soon(lanes, "t", probe=True, limit=1)) == [third]
        lanes.settle("t", [retry(third, delay=LONG)])
        assert ids_of(claim_soon(lanes, "t", probe=True, limit=1)) == [first], "not what waits for its retry"

    def test_while_it_is_paused_nothing_is_handed_out(self, lanes: Backend, second: Backend) -> None:
        lanes.commit(_jobs(A, B))
        assert not lanes.stats().paused
        second.pause(True)
        assert lanes.stats().paused
        claim = lanes.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG))
        assert (claim.jobs, claim.obstacle) == ((), PAUSED)
        second.pause(False)
        assert not lanes.stats().paused
        assert len(_claim(lanes)) == 2

    def test_each_state_is_counted_and_listed(self, lanes: Backend) -> None:
        jobs = _jobs(A, A, B, C)
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
        assert _claim(lanes) == ids_of(jobs[2:])

    def test_who_finds_more_than_it_takes_wakes_another(self, lanes: Backend, second: Backend) -> None:
        lanes.commit(_jobs(A, B))
        with ThreadPoolExecutor() as pool:
            woken = listen(pool, second)
            claim_soon(lanes, "t", limit=1)
            assert woken.result(SOON)

    def test_it_says_whether_jobs_are_held_up(self, lanes: Backend) -> None:
        jobs = _jobs(A, B)
        lanes.commit(jobs)
        assert not lanes.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).held_up
        lanes.commit(_jobs(A))
        assert lanes.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).held_up

    # Chains.

    def test_jobs_behind_one_another_are_leased_together_where_they_travel_together(
        self, lanes: Backend
    ) -> None:
        jobs = _jobs(A, B, A, A, B, C)
        ids = ids_of(jobs)
        lanes.commit(jobs)
        assert _claim(lanes, chain=2) == [ids[0], ids[2], ids[1], ids[4], ids[5]]
        lanes.ack([ids[0]])
        assert _claim(lanes, "u", chain=2) == [], "what rides is still under way"
        lanes.ack([ids[2]])
        assert _claim(lanes, "u", chain=2) == [ids[3]]

    def test_a_chain_goes_on_through_jobs_of_several_lanes(self, lanes: Backend) -> None:
        jobs = _jobs(A, A | B, B, ALL_LANES, C, ALL_LANES)
        lanes.commit(jobs)
        assert _claim(lanes, chain=9) == ids_of(jobs)

    def test_two_chains_are_not_joined(self, lanes: Backend) -> None:
        jobs = _jobs(A, B, A | B, C, ALL_LANES)
        lanes.commit(jobs)
        assert _claim(lanes, chain=9) == ids_of([jobs[0], jobs[1], jobs[3]])

    def test_a_job_that_was_tried_rides_behind_nothing_and_has_nothing_behind_it(
        self, lanes: Backend
    ) -> None:
        jobs = _jobs(A, A, A)
        ids = ids_of(jobs)
        lanes.commit(jobs)
        assert _claim(lanes, chain=2) == ids[:2]
        lanes.settle("t", [release(ids[0]), retry(ids[1])])
        assert _claim(lanes, chain=9) == ids[:1]
        lanes.ack(ids[:1])
        assert _claim(lanes, chain=9) == ids[1:2]
        lanes.ack(ids[1:2])
        assert _claim(lanes, chain=9) == ids[2:]

    def test_a_chain_is_bound_by_bytes(self, lanes: Backend) -> None:
        jobs = [new_job(filling="x" * 1000, lanes=A) for _ in range(9)]
        lanes.commit(jobs)
        size = len(jobs[0].payload)
        claim = lanes.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG, chain=9, chain_bytes=2 * size))
        assert ids_of(claim.jobs) == ids_of(jobs[:2])

    # Processes that ask for another order.

    def test_where_one_process_keeps_the_order_all_do(
        self, lanes: Backend, unordered: Backend, backend_factory: BackendFactory
    ) -> None:
        fifo = backend_factory(ordering=Ordering.FIFO)
        lanes.commit([job := new_job(lanes=A)])
        jobs = _jobs(A, B)
        unordered.commit(jobs)
        fifo.commit([last := new_job(lanes=B)])
        assert _claim(unordered, "u") == [job.id, jobs[1].id]
        assert _claim(fifo, "f") == []
        unordered.settle("u", [retry(job.id), release(jobs[1].id)])
        assert _claim(fifo, "f") == [job.id, jobs[1].id]
        fifo.ack(ids_of([job, jobs[1]]))
        assert _claim(lanes) == [jobs[0].id, last.id]

    @pytest.mark.parametrize("before", [Ordering.NONE, Ordering.FIFO])
    def test_what_was_stored_under_another_order_is_kept_in_order_from_then_on(
        self, backend_factory: BackendFactory, before: Ordering
    ) -> None:
        other = backend_factory(ordering=before)
        jobs = _jobs(A, A, A, B, B, ALL_LANES)
        ids = ids_of(jobs)
        other.commit(jobs)
        [claimed] = claim_soon(other, "old", limit=1)
        lanes = backend_factory(ordering=Ordering.PER_USER)
        assert _claim(lanes) == [ids[3]]
        assert other.settle("old", [retry(claimed.id, delay=SHORT)]) == [True]
        seen = [ids[3]]
        lanes.ack(seen)
        while len(seen) < len(jobs):
            found = ids_of(claim_soon(lanes, "t", limit=9))
            lanes.ack(found)
            seen += found
        for lane in (A, B):
            behind = [each for each in seen if lanes_of(each) & lane]
            assert behind == [each for each in ids if lanes_of(each) & lane]

    def test_a_delayed_job_stays_delayed_when_the_order_changes(
        self, backend_factory: BackendFactory
    ) -> None:
        unordered = backend_factory(ordering=Ordering.NONE)
        jobs = _jobs(A, B)
        unordered.commit(jobs)
        claim_soon(unordered, "t", limit=2)
        unordered.settle("t", [retry(jobs[0].id, delay=LONG), release(jobs[1].id)])
        lanes = backend_factory(ordering=Ordering.PER_USER)
        claim = lanes.claim("u", ClaimTerms(limit=9, visibility_timeout=LONG))
        assert ids_of(claim.jobs) == [jobs[1].id]
        lanes.ack([jobs[1].id])
        assert lanes.claim("u", ClaimTerms(limit=9, visibility_timeout=LONG)).wait == pytest.approx(
            LONG, abs=SOON
        )
        assert ids_of(lanes.jobs(JobState.DELAYED, limit=9)) == [jobs[0].id]

    # Anything in any order.

    @pytest.mark.parametrize("seed", range(3))
    def test_no_history_breaks_the_order_of_a_lane(self, backend_factory: BackendFactory, seed: int) -> None:
        dice = random.Random(seed)
        backends = {token: backend_factory(ordering=Ordering.PER_USER) for token in "abc"}
        waiting: list[str] = []  # in the order of the queue
        held: dict[str, list[str]] = {token: [] for token in "abc"}
        for _ in range(300):
            token = dice.choice("abc")
            backend, mine = backends[token], held[token]
            step = dice.random()
            if step < 0.3 and len(waiting) < 60:
                masks = (1 << dice.randrange(LANES), dice.randrange(1, ALL_LANES + 1), 0b11, ALL_LANES)
                jobs = _jobs(*(dice.choice(masks) for _ in range(dice.randrange(1, 6))))
                assert backend.commit(jobs).accepted == len(jobs)
                waiting += ids_of(jobs)
            elif step < 0.6:
                chain = dice.choice((1, 1, 3))
                claimed = backend.claim(
                    token, ClaimTerms(limit=dice.randrange(1, 20), visibility_timeout=LONG, chain=chain)
                ).jobs
                self._check_heads(claimed, waiting, chain)
                mine += ids_of(claimed)
            elif mine:
                job_id = mine[0]
                kind = dice.choice(("ack", "ack", "retry", "release", "fail", "leave"))
                if kind == "ack":
                    backend.ack([job_id])
                    waiting.remove(job_id)
                elif kind == "leave":
                    backend.leave(token)
                    mine.clear()
                    continue
                elif kind == "fail":
                    assert backend.settle(token, [fail(job_id)]) == [True]
                    waiting.remove(job_id)
                    assert backend.replay([job_id]) == 1
                    waiting.append(job_id)
                else:
                    assert backend.settle(token, [(retry if kind == "retry" else release)(job_id)]) == [True]
                mine.remove(job_id)
            elif waiting:
                doomed = [i for i in dice.sample(waiting, 1) if not any(i in ids for ids in held.values())]
                assert backend.purge(JobState.WAITING, doomed) == len(doomed)
                waiting = [i for i in waiting if i not in doomed]
        for token, backend in backends.items():
            backend.leave(token)
        while waiting:
            claimed = claim_soon(backends["a"], "a", limit=99)
            self._check_heads(claimed, waiting, 1)
            backends["a"].ack(ids_of(claimed))
            waiting = [i for i in waiting if i not in ids_of(claimed)]

    @staticmethod
    def _check_heads(claimed: Sequence[ClaimedJob], waiting: list[str], chain: int) -> None:
        """Fail where one of *claimed* shares a lane with an earlier job that is not claimed just before it, in a chain."""
        now = ids_of(claimed)
        for at, job_id in enumerate(now):
            before = [i for i in waiting[: waiting.index(job_id)] if lanes_of(i) & lanes_of(job_id)]
            assert set(before) <= set(now[max(0, at - chain + 1) : at]), (job_id, before)
