# ruff: noqa: S101 - these are tests
"""
What any queue backend must do, as a suite of tests to inherit from.

    class TestMine(QueueContract):
        @pytest.fixture
        def backend_factory(self):
            yield lambda **options: opened(MyBackend(**options))

No test here looks inside a backend, or sets a clock: a test that needs time to pass polls with a deadline.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from eventspool._claim import ClaimTerms
from eventspool._contract.commits import CommitContract
from eventspool._contract.fifo import FIFOContract
from eventspool._contract.fleet import FleetContract
from eventspool._contract.journals import JournalContract
from eventspool._contract.leases import LeaseContract
from eventspool._contract.moving import MovingContract
from eventspool._contract.operate import OperateContract
from eventspool._contract.reading import ReadContract
from eventspool._contract.tools import (
    LONG,
    SOON,
    BackendFactory,
    bury,
    claim_soon,
    depth,
    drain,
    fail,
    ids_of,
    new_job,
    new_jobs,
    release,
    retry,
)
from eventspool._contract.waits import WaitContract
from eventspool._figures import Depth
from eventspool._job import LOST, PURGED, CommitResult, JobState, NewJob

if TYPE_CHECKING:
    from eventspool._backends import Backend

__all__ = ["QueueContract"]


class QueueContract(
    CommitContract,
    LeaseContract,
    FIFOContract,
    FleetContract,
    OperateContract,
    ReadContract,
    MovingContract,
    JournalContract,
    WaitContract,
):
    """
    The behaviour of a backend. Override ``backend_factory``.

    The factory takes ``ordering``, ``max_jobs`` and ``max_bytes``, and returns an opened backend. Each call returns a new
    handle on the same queue, which is empty at first. If it is neither durable nor shared, each
    call may return a new queue.
    """

    @pytest.fixture
    def backend_factory(self) -> BackendFactory:
        """Return the factory of backends: the one thing to override."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self, backend_factory: BackendFactory) -> Backend:
        """One opened backend."""
        return backend_factory()

    @pytest.fixture
    def other(self, backend: Backend, backend_factory: BackendFactory) -> Backend:
        """A second handle on the same queue, or the same handle if a queue can have only one."""
        return backend_factory() if backend.shared else backend

    # Looking.

    def test_lookup_tells_unfinished_failed_and_gone_apart(self, backend: Backend) -> None:
        [buried] = bury(backend, 1)
        waiting, gone = new_jobs(2)
        backend.commit([waiting, gone])
        backend.ack([gone.id])
        found = backend.lookup([waiting.id, buried, gone.id, "never-stored"])
        assert found.keys() == {waiting.id, buried}
        assert found[waiting.id] is None
        assert found[buried] is not None

    def test_what_is_gone_is_lost_where_the_queue_is_not_the_one_that_took_it(
        self, backend: Backend, other: Backend
    ) -> None:
        """A job that is gone was delivered, unless an operator has emptied or replaced the storage."""
        kept, gone = new_jobs(2)
        epoch = backend.commit([kept, gone]).epoch
        assert epoch
        assert other.commit([kept, *new_jobs(1)]).epoch == epoch
        backend.ack([gone.id])
        both = [gone.id, kept.id]
        assert other.lookup(both) == other.lookup(both, epoch=epoch) == {kept.id: None}
        assert other.lookup(both, epoch="another") == {gone.id: LOST, kept.id: None}

    def test_each_state_lists_its_jobs(self, backend: Backend) -> None:
        [failed] = bury(backend, 1)
        delayed, leased, waiting = new_job(2), new_job(3), new_job(4)
        backend.commit([delayed])
        claim_soon(backend, "t")
        backend.settle("t", [retry(delayed.id, delay=LONG)])
        backend.commit([leased])
        claim_soon(backend, "t")
        backend.commit([waiting])
        listed = {state: backend.jobs(state, limit=10) for state in JobState}
        assert {state: ids_of(jobs) for state, jobs in listed.items()} == {
            JobState.WAITING: [waiting.id],
            JobState.DELAYED: [delayed.id],
            JobState.LEASED: [leased.id],
            JobState.FAILED: [failed],
        }
        for job, stored in (
            (delayed, JobState.DELAYED),
            (leased, JobState.LEASED),
            (waiting, JobState.WAITING),
        ):
            [seen] = listed[stored]
            assert (seen.state, seen.events, seen.bytes) == (stored, job.events, len(job.payload))
            assert (seen.reason, seen.error) == (None, None)
            due = time.time() + (0 if stored is JobState.WAITING else LONG)
            assert seen.next_attempt_at == pytest.approx(due, abs=SOON)
            assert seen.created_at == pytest.approx(time.time(), abs=SOON)
        assert listed[JobState.DELAYED][0].attempts == 1

    @pytest.mark.parametrize("state", [JobState.WAITING, JobState.LEASED, JobState.FAILED])
    def test_pages_cover_every_job_once_and_in_order(self, backend: Backend, state: JobState) -> None:
        if state is JobState.FAILED:
            expected = bury(backend, 7)
        else:
            jobs = new_jobs(7)
            backend.commit(jobs)
            expected = ids_of(jobs)
            if state is JobState.LEASED:
                claim_soon(backend, "t", limit=7)
        pages: list[str] = []
        after = None
        while page := backend.jobs(state, limit=3, after=after):
            assert len(page) <= 3
            pages += ids_of(page)
            after = page[-1].id
        assert pages == expected if state is not JobState.LEASED else sorted(pages) == sorted(expected)

    def test_a_payload_can_be_read_in_every_state(self, backend: Backend) -> None:
        [failed] = bury(backend, 1)
        job = new_job()
        backend.commit([job])
        assert backend.payload(job.id) == job.payload
        claim_soon(backend, "t")
        assert backend.payload(job.id) == job.payload
        assert backend.payload(failed)
        assert backend.payload("never-stored") is None

    def test_oldest_age_is_that_of_the_oldest_unfinished_job(self, backend: Backend) -> None:
        assert backend.stats().oldest_age == 0.0
        old = NewJob(f"{int((time.time() - 3600) * 1000):012x}{'0' * 16}", b"old", 1)
        backend.commit([*new_jobs(1), old])
        assert backend.stats().oldest_age == pytest.approx(3600, abs=SOON)
        backend.ack([old.id])
        assert backend.stats().oldest_age < SOON

    def test_a_job_from_a_clock_ahead_of_ours_is_not_younger_than_new(self, backend: Backend) -> None:
        ahead = NewJob(f"{int((time.time() + 3600) * 1000):012x}{'0' * 16}", b"ahead", 1)
        backend.commit([ahead])
        # A store that knows when it took the job may count from then.
        assert 0.0 <= backend.stats().oldest_age < SOON
        assert ids_of(backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs) == [ahead.id]

    def test_stats_follow_every_transition(self, backend: Backend, other: Backend) -> None:
        jobs = [new_job(events, filling="x" * events) for events in (1, 2, 3, 4)]
        one, two, three, four = (Depth(1, j.events, len(j.payload)) for j in jobs)
        backend.commit(jobs)
        total = Depth(4, 10, sum(len(j.payload) for j in jobs))
        assert depth(other) == (total, Depth(), Depth(), Depth())
        claim_soon(backend, "t", limit=3)
        three_leased = Depth(3, 6, total.bytes - four.bytes)
        assert depth(other) == (four, Depth(), three_leased, Depth())
        backend.settle("t", [retry(jobs[0].id, delay=LONG), fail(jobs[1].id, events=2), release(jobs[2].id)])
        assert depth(other) == (Depth(2, 7, three.bytes + four.bytes), one, Depth(), two)
        backend.replay([jobs[1].id])
        assert depth(other) == (Depth(3, 9, total.bytes - one.bytes), one, Depth(), Depth())
        backend.purge(JobState.WAITING, [jobs[1].id])
        backend.purge(JobState.DELAYED, [jobs[0].id])
        backend.ack(ids_of(jobs[2:]))
        assert depth(other) == (Depth(), Depth(), Depth(), Depth())

    def test_totals_return_to_zero_whatever_happened(self, backend: Backend) -> None:
        dice = random.Random(7)
        held: dict[str, list[str]] = {"a": [], "b": []}
        committed: list[str] = []
        for _ in range(150):
            token = dice.choice("ab")
            match dice.randrange(6):
                case 0 | 1:
                    jobs = [new_job(dice.randrange(1, 4)) for _ in range(dice.randrange(1, 4))]
                    backend.commit(jobs)
                    committed += ids_of(jobs)
                case 2 | 3:
                    timeout = dice.choice([0.05, LONG])
                    held[token] += ids_of(
                        backend.claim(token, ClaimTerms(limit=3, visibility_timeout=timeout)).jobs
                    )
                case 4:
                    kinds = [[retry(i), release(i), fail(i)] for i in held[token]]
                    backend.settle(token, [dice.choice(kind) for kind in kinds])
                    held[token] = []
                case _:
                    backend.ack(held[token][:1])
                    backend.replay(dice.sample(committed, min(3, len(committed))))
        backend.leave("a")
        backend.leave("b")
        backend.ack(committed)
        assert depth(backend) == (Depth(), Depth(), Depth(), Depth())
        assert backend.lookup(committed) == {}

    # Mending.

    def test_replay_starts_failed_jobs_afresh(self, backend: Backend) -> None:
        buried = bury(backend, 3)
        assert backend.replay([buried[0], buried[2], "never-stored"]) == 2
        assert backend.lookup(buried[:1]) == {buried[0]: None}
        claimed = claim_soon(backend, "t", limit=9)
        assert [(j.id, j.attempts, j.progress, j.stalled) for j in claimed] == [
            (buried[0], 0, "", False),
            (buried[2], 0, "", False),
        ]
        assert backend.replay(ids_of(claimed)) == 0
        assert ids_of(backend.jobs(JobState.FAILED, limit=9)) == [buried[1]]

    def test_purge_deletes_only_what_is_in_the_state(self, backend: Backend) -> None:
        [failed] = bury(backend, 1)
        job = new_job()
        backend.commit([job])
        everything = [failed, job.id, "never-stored"]
        assert backend.purge(JobState.DELAYED, everything) == 0
        assert backend.purge(JobState.FAILED, everything) == 1
        assert backend.lookup(everything) == {failed: PURGED, job.id: None}
        assert backend.purge(JobState.WAITING, everything) == 1
        assert backend.lookup(everything) == {failed: PURGED, job.id: PURGED}
        assert backend.payload(job.id) is None

    def test_purge_never_takes_a_leased_job(self, backend: Backend) -> None:
        job = new_job()
        backend.commit([job])
        claim_soon(backend, "t")
        assert [backend.purge(state, [job.id]) for state in JobState] == [0, 0, 0, 0]
        assert backend.settle("t", [release(job.id)]) == [True]

    def test_repair_leaves_a_sound_queue_alone(self, backend: Backend) -> None:
        bury(backend, 1)
        backend.commit(new_jobs(3))
        claim_soon(backend, "t")
        before = depth(backend)
        assert backend.repair() == 0
        assert depth(backend) == before

    def test_nothing_is_asked_for_nothing(self, backend: Backend) -> None:
        assert backend.commit([]) == CommitResult(0)
        assert backend.ack([]) == 0
        assert backend.settle("t", []) == []
        assert backend.renew("t", [], visibility_timeout=LONG) == set()
        assert backend.lookup([]) == {}
        assert backend.replay([]) == 0
        assert backend.expedite([]) == 0
        assert backend.purge(JobState.FAILED, []) == 0
        assert backend.jobs(JobState.FAILED, limit=5) == []

    # Life.

    def test_closing_twice_and_opening_twice_does_no_harm(self, backend: Backend) -> None:
        job = new_job()
        backend.open()
        backend.commit([job])
        backend.close()
        backend.close()
        backend.open()
        assert backend.lookup([job.id]) == {job.id: None}

    def test_a_durable_queue_outlives_its_handle(
        self, backend: Backend, backend_factory: BackendFactory
    ) -> None:
        jobs = new_jobs(3)
        backend.commit(jobs)
        [leased] = claim_soon(backend, "t")
        backend.settle("t", [retry(leased.id, progress="kept")])
        before = depth(backend)
        backend.close()
        again = backend_factory() if backend.durable else backend
        again.open()
        assert depth(again) == before
        assert {j.id: (j.attempts, j.progress) for j in drain(again, "t")} == {
            jobs[0].id: (1, "kept"),
            jobs[1].id: (0, ""),
            jobs[2].id: (0, ""),
        }
