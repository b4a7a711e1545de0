"""The memory backend keeps the contract."""

from __future__ import annotations

import pytest

from eventspool._backends.memory import MemoryBackend
from eventspool._contract.suite import QueueContract
from eventspool._contract.tools import ids_of, new_job, new_jobs, release
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
        backend.claim("t", limit=1, visibility_timeout=60)
        backend.settle("t", [release(job.id)])
    assert len(backend._entries.due) < 1100


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
