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
from typing import TYPE_CHECKING

import pytest

from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import (
    LONG,
    SHORT,
    SOON,
    BackendFactory,
    claim_soon,
    fail,
    ids_of,
    new_job,
    release,
    retry,
)
from eventspool._job import JobState, lanes_of
from eventspool._routing import ALL_LANES, LANES, Routing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._backends import Backend
    from eventspool._claim import ClaimedJob

from eventspool._contract.chains import ChainContract
from eventspool._contract.lanes import A, B, LaneContract, claim_ids, jobs_in

__all__ = ["PerUserContract"]


class PerUserContract(LaneContract, ChainContract):
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

    # Processes that ask for another order.

    def test_where_one_process_keeps_the_order_all_do(
        self, lanes: Backend, unordered: Backend, backend_factory: BackendFactory
    ) -> None:
        fifo = backend_factory(ordering=Ordering.FIFO)
        lanes.commit([job := new_job(lanes=A)])
        jobs = jobs_in(A, B)
        unordered.commit(jobs)
        fifo.commit([last := new_job(lanes=B)])
        assert claim_ids(unordered, "u") == [job.id, jobs[1].id]
        assert claim_ids(fifo, "f") == []
        unordered.settle("u", [retry(job.id), release(jobs[1].id)])
        assert claim_ids(fifo, "f") == [job.id, jobs[1].id]
        fifo.ack(ids_of([job, jobs[1]]))
        assert claim_ids(lanes) == [jobs[0].id, last.id]

    @pytest.mark.parametrize("before", [Ordering.NONE, Ordering.FIFO])
    def test_what_was_stored_under_another_order_is_kept_in_order_from_then_on(
        self, backend_factory: BackendFactory, before: Ordering
    ) -> None:
        other = backend_factory(ordering=before)
        jobs = jobs_in(A, A, A, B, B, ALL_LANES)
        ids = ids_of(jobs)
        other.commit(jobs)
        [claimed] = claim_soon(other, "old", limit=1)
        lanes = backend_factory(ordering=Ordering.PER_USER)
        assert claim_ids(lanes) == [ids[3]]
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
        jobs = jobs_in(A, B)
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
                jobs = jobs_in(*(dice.choice(masks) for _ in range(dice.randrange(1, 6))))
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
