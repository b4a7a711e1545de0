# ruff: noqa: S101 - these are tests
"""The part of the contract that operators rely on: pause, hurry, count, watch, erase."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from eventspool._backends.rules import PAUSE_POLL
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering
from eventspool._contract.tools import (
    LONG,
    SHORT,
    SOON,
    BackendFactory,
    bury,
    claim_soon,
    depth,
    drain,
    eventually,
    fail,
    ids_of,
    listen,
    new_job,
    new_jobs,
    release,
    retry,
    rewrite,
)
from eventspool._figures import Depth
from eventspool._job import LOST, PURGED, PURGED_KEPT, JobState

if TYPE_CHECKING:
    from eventspool._backends import Backend

__all__ = ["OperateContract"]


def totals(backend: Backend) -> tuple[int, int, int]:
    """Return the events accepted, delivered and failed of all time, and check that no accepted event is unaccounted for."""
    stats = backend.stats()
    stored = sum(each.events for each in (stats.waiting, stats.delayed, stats.leased, stats.failed))
    assert stats.accepted_events == stats.delivered_events + stats.purged_events + stored
    return stats.accepted_events, stats.delivered_events, stats.failed_events


class OperateContract:
    """Operators steer a queue, and the queue tells how it fares. Part of ``QueueContract``."""

    # Pausing.

    @pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
    def test_a_paused_queue_hands_nothing_out(
        self, backend_factory: BackendFactory, ordering: Ordering
    ) -> None:
        backend = backend_factory(ordering=ordering)
        jobs = new_jobs(3)
        backend.commit(jobs[:1])
        assert not backend.stats().paused
        backend.pause(True)
        backend.commit(jobs[1:])
        for probe in (False, True):
            claim = backend.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG, probe=probe))
            assert claim.jobs == ()
            assert claim.wait is not None
            assert claim.wait <= PAUSE_POLL, "a processor that misses the wake-up must not stay asleep"
        assert (backend.stats().paused, backend.stats().waiting.jobs) == (True, 3)
        backend.pause(False)
        claimed = claim_soon(backend, "t", limit=9)
        assert [(j.id, j.attempts, j.stalled) for j in claimed] == [(j.id, 0, False) for j in jobs]
        assert not backend.stats().paused

    def test_every_handle_obeys_a_pause_and_it_outlives_the_handle_that_ordered_it(
        self, backend: Backend, other: Backend
    ) -> None:
        backend.commit(new_jobs(1))
        other.pause(True)
        other.pause(True)
        if backend.shared:
            other.close()
        assert backend.stats().paused
        assert backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs == ()

    def test_leases_under_way_end_as_usual_while_paused(self, backend: Backend) -> None:
        jobs = new_jobs(4)
        backend.commit(jobs)
        claim_soon(backend, "t", limit=4)
        backend.pause(True)
        ids = ids_of(jobs)
        assert backend.renew("t", ids, visibility_timeout=LONG) == set()
        assert backend.ack(ids[:1]) == 1
        assert backend.settle("t", [retry(ids[1]), release(ids[2]), fail(ids[3])]) == [True] * 3
        backend.pause(False)
        assert {j.id: j.attempts for j in claim_soon(backend, "t", limit=4)} == {ids[1]: 1, ids[2]: 0}

    @pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
    def test_resuming_ends_a_wait(self, backend_factory: BackendFactory, ordering: Ordering) -> None:
        backend = backend_factory(ordering=ordering)
        operator = backend_factory(ordering=ordering) if backend.shared else backend
        backend.pause(True)
        backend.commit(new_jobs(1))
        backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG))
        with ThreadPoolExecutor(1) as pool:
            woken = listen(pool, backend)
            started = time.monotonic()
            operator.pause(False)
            assert woken.result() is True
            assert time.monotonic() - started < SOON

    # Hurrying.

    def test_a_look_at_the_store_says_whether_the_queue_was_used_and_takes_writes(
        self, backend: Backend
    ) -> None:
        assert not backend.condition().is_used
        assert backend.stats().accepted_events == 0
        backend.commit(new_jobs(1))
        found = backend.condition()
        assert (found.refuses, found.because, found.drains) == ("", "", True)
        assert (found.is_used, found.others) == (True, ())
        assert abs(found.clock_ahead or 0.0) < 60.0
        drain(backend, "token")
        assert backend.condition().is_used

    def test_an_expedited_job_is_due_at_once_and_keeps_its_attempts(self, backend: Backend) -> None:
        [failed] = bury(backend, 1)
        delayed, later, leased = new_jobs(3)
        backend.commit([delayed, later, leased])
        claim_soon(backend, "t", limit=3)
        backend.settle("t", [retry(delayed.id, delay=LONG, progress="kept"), retry(later.id, delay=LONG)])
        waiting = new_job()
        backend.commit([waiting])
        assert backend.expedite([delayed.id, leased.id, waiting.id, failed, "never-stored"]) == 1
        assert backend.expedite([delayed.id]) == 0
        claimed = {j.id: (j.attempts, j.progress, j.stalled) for j in drain(backend, "u")}
        assert claimed == {waiting.id: (0, "", False), delayed.id: (1, "kept", False)}
        assert ids_of(backend.jobs(JobState.DELAYED, limit=9)) == [later.id]
        assert backend.settle("t", [release(leased.id)]) == [True]

    def test_an_expedited_job_ends_a_wait(self, backend: Backend, other: Backend) -> None:
        job = new_job()
        backend.commit([job])
        claim_soon(backend, "t")
        backend.settle("t", [retry(job.id, delay=LONG)])
        with ThreadPoolExecutor(1) as pool:
            woken = listen(pool, backend)
            started = time.monotonic()
            assert other.expedite([job.id]) == 1
            assert woken.result() is True
            assert time.monotonic() - started < SOON

    def test_fifo_an_expedited_job_keeps_its_place(self, backend_factory: BackendFactory) -> None:
        fifo = backend_factory(ordering=Ordering.FIFO)
        jobs = new_jobs(3)
        fifo.commit(jobs)
        claim_soon(fifo, "t")
        fifo.settle("t", [retry(jobs[0].id, delay=LONG)])
        assert fifo.claim("t", ClaimTerms(limit=9, visibility_timeout=LONG)).jobs == ()
        assert fifo.expedite(ids_of(jobs)) == 1
        assert ids_of(claim_soon(fifo, "t", limit=9)) == ids_of(jobs)

    def test_delayed_jobs_are_listed_in_the_order_in_which_they_come_due(self, backend: Backend) -> None:
        ids = ids_of(jobs := new_jobs(3))
        backend.commit(jobs)
        claim_soon(backend, "t", limit=3)
        backend.settle(
            "t", [retry(ids[0], delay=3 * LONG), retry(ids[1], delay=LONG), retry(ids[2], delay=2 * LONG)]
        )
        assert ids_of(backend.jobs(JobState.DELAYED, limit=9)) == [ids[1], ids[2], ids[0]]

    def test_fifo_lists_delayed_jobs_as_they_come_due(self, backend_factory: BackendFactory) -> None:
        fifo = backend_factory(ordering=Ordering.FIFO)
        ids = ids_of(jobs := new_jobs(2))
        fifo.commit(jobs)
        claim_soon(fifo, "t", limit=2)
        fifo.settle("t", [retry(ids[0], delay=2 * LONG), retry(ids[1], delay=LONG)])
        assert ids_of(fifo.jobs(JobState.DELAYED, limit=9)) == [ids[1], ids[0]]
        assert ids_of(fifo.jobs(JobState.DELAYED, limit=9, after=ids[1])) == [ids[0]]

    # Counting.

    def test_totals_count_what_came_and_how_it_went(self, backend: Backend, other: Backend) -> None:
        assert totals(backend) == (0, 0, 0)
        jobs = [new_job(events) for events in (1, 2, 4, 8)]
        ids = ids_of(jobs)
        backend.commit(jobs)
        backend.commit(jobs)
        assert totals(other) == (15, 0, 0)
        claim_soon(backend, "t", limit=4)
        backend.settle("t", [retry(ids[0]), release(ids[1])])
        assert totals(other) == (15, 0, 0), "neither delivered nor given up"
        backend.ack(ids[:1])
        backend.ack(ids[:1])
        assert totals(other) == (15, 1, 0)
        small = new_job(3).payload
        backend.settle("t", [fail(ids[2], events=3, payload=small), fail(ids[3], events=8)])
        assert totals(other) == (15, 2, 11), "one event of those four was delivered"
        backend.replay([ids[3]])
        assert totals(other) == (15, 2, 11), "a replayed job is not accepted a second time"
        backend.purge(JobState.WAITING, [ids[1]])
        backend.purge(JobState.FAILED, [ids[2]])
        assert totals(other) == (15, 2, 11), "a purged job was not delivered"
        assert other.stats().purged_events == 2 + 3
        backend.ack([ids[3]])
        assert totals(other) == (15, 10, 11)
        bury(backend, 2)
        assert totals(other) == (17, 10, 13)

    def test_failed_jobs_are_counted_by_reason(self, backend: Backend, other: Backend) -> None:
        assert backend.reasons() == {}
        jobs = [new_job(events) for events in (1, 2, 3)]
        ids = ids_of(jobs)
        backend.commit(jobs)
        claim_soon(backend, "t", limit=3)
        reasons = ("rejected", "too_large", "rejected")
        failing = zip(jobs, reasons, strict=True)
        backend.settle("t", [fail(job.id, reason=reason, events=job.events) for job, reason in failing])
        one, two, three = (Depth(1, job.events, len(job.payload)) for job in jobs)
        assert other.reasons() == {
            "rejected": Depth(2, 4, one.bytes + three.bytes),
            "too_large": two,
        }
        backend.purge(JobState.FAILED, ids[:1])
        backend.replay(ids[1:2])
        assert other.reasons() == {"rejected": three}
        assert other.stats().failed == three

    # Watching.

    def test_processors_are_listed_with_their_last_note(self, backend: Backend, other: Backend) -> None:
        assert backend.processors() == []
        backend.renew("a", [], visibility_timeout=LONG, note='{"sent":1}')
        backend.renew("a", [], visibility_timeout=LONG, note='{"sent":"\u00e4"}')
        backend.renew("a", [], visibility_timeout=LONG)
        backend.claim("b", ClaimTerms(limit=1, visibility_timeout=LONG))
        found = {token: (seen, note) for token, seen, note in other.processors()}
        assert {token: note for token, (_, note) in found.items()} == {"a": '{"sent":"\u00e4"}', "b": ""}
        assert all(seen == pytest.approx(time.time(), abs=SOON) for seen, _ in found.values())
        backend.renew("b", [], visibility_timeout=LONG, note="b's")
        backend.leave("a")
        assert [(token, note) for token, _, note in other.processors()] == [("b", "b's")]

    # Purging.

    @pytest.mark.parametrize("state", [JobState.WAITING, JobState.DELAYED, JobState.FAILED])
    @pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO])
    def test_a_purged_job_was_not_delivered(
        self,
        backend_factory: BackendFactory,
        state: JobState,
        ordering: Ordering,
    ) -> None:
        """A producer that looks for it must not take it for a delivered job."""
        backend = backend_factory(ordering=ordering)
        other = backend_factory(ordering=ordering) if backend.shared else backend
        job, delivered = new_job(3), new_job()
        epoch = backend.commit([job, delivered]).epoch
        backend.ack([delivered.id])
        if state is not JobState.WAITING:
            claim_soon(backend, "t")
            delayed = state is JobState.DELAYED
            backend.settle("t", [retry(job.id, delay=LONG) if delayed else fail(job.id, events=3)])
        assert other.purge(state, [job.id, delivered.id]) == 1
        assert backend.lookup([job.id, delivered.id]) == {job.id: PURGED}
        assert backend.lookup([job.id, delivered.id], epoch=epoch) == {job.id: PURGED}
        found = backend.lookup([job.id, delivered.id], epoch="another")
        assert found == {job.id: PURGED, delivered.id: LOST}
        assert backend.stats().purged_events == 3
        assert totals(backend)[:2] == (4, 1)
        assert other.purge(state, [job.id]) == 0, "that job is gone already"
        assert backend.stats().purged_events == 3

    def test_a_purged_job_that_is_committed_again_is_stored_again(self, backend: Backend) -> None:
        """Its producer did not hear that the first commit was a success, and commits it again."""
        job = new_job()
        backend.commit([job])
        backend.purge(JobState.WAITING, [job.id])
        assert backend.commit([job]).accepted == 1
        assert backend.lookup([job.id]) == {job.id: None}
        assert ids_of(drain(backend, "t")) == [job.id]

    def test_only_so_many_purged_jobs_are_remembered_and_the_last_ones_are(self, backend: Backend) -> None:
        ids = ids_of(jobs := new_jobs(PURGED_KEPT + 1001))
        for chunk in ((0, 1), (1, 1001), (1001, len(jobs))):
            backend.commit(jobs[slice(*chunk)])
            assert backend.purge(JobState.WAITING, ids[slice(*chunk)]) == chunk[1] - chunk[0]
            assert backend.lookup(ids[:1]) == ({} if chunk[1] == len(jobs) else {ids[0]: PURGED})
        assert backend.lookup(ids) == dict.fromkeys(ids[1001:], PURGED)
        assert totals(backend) == (len(jobs), 0, 0)

    # Erasing.

    @pytest.mark.parametrize("state", [JobState.WAITING, JobState.DELAYED, JobState.FAILED])
    def test_a_payload_can_be_replaced_by_a_smaller_one(self, backend: Backend, state: JobState) -> None:
        job, small = new_job(5), new_job(2).payload
        backend.commit([job])
        if state is not JobState.WAITING:
            claim_soon(backend, "t")
            delayed = state is JobState.DELAYED
            backend.settle("t", [retry(job.id, delay=LONG) if delayed else fail(job.id, events=5)])
        assert not rewrite(backend, job.id, small, small, 2), "another payload is stored"
        assert not rewrite(backend, "never-stored", job.payload, small, 2)
        assert rewrite(backend, job.id, job.payload, small, 2)
        assert backend.payload(job.id) == small
        [listed] = backend.jobs(state, limit=9)
        assert (listed.id, listed.events, listed.bytes) == (job.id, 2, len(small))
        assert sum((d.events for d in depth(backend)), 0) == 2
        assert getattr(backend.stats(), state.value) == Depth(1, 2, len(small))
        assert backend.stats().purged_events == 3
        backend.ack([job.id])
        assert depth(backend) == (Depth(),) * 4
        assert totals(backend)[:2] == (5, 2), "the events that were cut out were not delivered"

    def test_what_is_being_sent_or_half_sent_is_not_rewritten(self, backend: Backend) -> None:
        leased, half = new_job(3), new_job(3)
        backend.commit([leased, half])
        claim_soon(backend, "t", limit=2)
        backend.settle("t", [release(half.id, progress="1-3|")])
        small = new_job(1).payload
        for job in (leased, half):
            assert not rewrite(backend, job.id, job.payload, small, 1)
            assert backend.payload(job.id) == job.payload

    def test_a_stale_holder_cannot_bring_back_what_was_rewritten(self, backend: Backend) -> None:
        job, small = new_job(3), new_job(1).payload
        backend.commit([job])
        claim_soon(backend, "stale", visibility_timeout=SHORT)
        assert eventually(lambda: rewrite(backend, job.id, job.payload, small, 1))
        assert backend.settle("stale", [fail(job.id, events=3, payload=job.payload)]) == [False]
        [claimed] = claim_soon(backend, "t")
        assert (claimed.payload, claimed.attempts) == (small, 1)
