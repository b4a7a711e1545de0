"""The memory backend keeps the contract."""

from __future__ import annotations

import pytest

from eventspool._backends.memory import MemoryBackend
from eventspool._claim import ClaimTerms
from eventspool._contract.suite import QueueContract
from eventspool._contract.tools import ids_of, new_job, new_jobs, release, retry
from eventspool._job import PURGED, JobState


class TestMemory(QueueContract):
    @pytest.fixture
    def backend_factory(self):
        def make(**options):
            backend = MemoryBackend(**options)
            backend.open()
            return backend

        return make


def test_stale_order_entries_do_not_pile_up():
    backend = MemoryBackend()
    job = new_job()
    backend.commit([job])
    for _ in range(5000):
        backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60))
        backend.settle("t", [release(job.id)])
    assert len(backend._entries.due) < 1100


def test_no_claim_hands_out_a_job_twice_where_the_order_was_made_anew_amid_a_probe():
    backend = MemoryBackend()
    backend.commit(new_jobs(2_000))
    claimed = ids_of(backend.claim("t", ClaimTerms(limit=2_000, visibility_timeout=60)).jobs)
    backend.settle("t", [*map(release, claimed[:-1]), retry(claimed[-1], delay=30)])
    backend.ack(claimed[:1_900])  # most of what stands in the order is gone by now
    [probed] = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=60, probe=True)).jobs
    others = ids_of(backend.claim("t", ClaimTerms(limit=2_000, visibility_timeout=60)).jobs)
    assert sorted([probed.id, *others]) == sorted(claimed[1_900:-1])


def test_no_claim_hands_out_a_job_twice_whose_lease_was_renewed_in_the_tick_of_the_clock():
    now = 1_000_000.0
    backend = MemoryBackend(clock=lambda: now)
    backend.commit([job := new_job()])
    backend.claim("t", ClaimTerms(limit=9, visibility_timeout=60))
    backend.renew("t", [job.id], visibility_timeout=60)
    now += 61.0
    assert ids_of(backend.claim("u", ClaimTerms(limit=9, visibility_timeout=60)).jobs) == [job.id]


def test_purged_jobs_are_forgotten_after_a_day():
    now = 1_000_000.0
    backend = MemoryBackend(clock=lambda: now)
    ids = ids_of(jobs := new_jobs(2))
    backend.commit(jobs)
    backend.purge(JobState.WAITING, ids[:1])
    now += 86_400.0
    assert backend.lookup(ids[:1]) == {ids[0]: PURGED}, "it is forgotten by the next purge, and not before"
    backend.purge(JobState.WAITING, ids[1:])
    assert backend.lookup(ids) == {ids[1]: PURGED}
