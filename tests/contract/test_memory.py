"""The memory backend keeps the contract."""

from __future__ import annotations

import pytest

from eventspool._backends.memory import MemoryBackend
from eventspool._contract import QueueContract


class TestMemory(QueueContract):
    @pytest.fixture
    def backend_factory(self):
        def make(**options):
            backend = MemoryBackend(**options)
            backend.open()
            return backend

        return make


def test_a_clock_that_is_set_back_delays_nothing():
    times = iter([10_000.0] * 3 + [100.0 + n for n in range(1000)])
    backend = MemoryBackend(clock=lambda: next(times))
    from eventspool._contract_tools import new_jobs, retry

    first, second = new_jobs(2)
    backend.commit([first])
    backend.claim("t", limit=1, visibility_timeout=1)
    backend.settle("t", [retry(first.id, delay=1.5)])
    backend.commit([second])
    assert [j.id for j in backend.claim("t", limit=9, visibility_timeout=9).jobs] == [second.id]
    assert [j.id for j in backend.claim("t", limit=9, visibility_timeout=9).jobs] == [first.id]


def test_stale_order_entries_do_not_pile_up():
    from eventspool._contract_tools import new_job, release

    backend = MemoryBackend()
    job = new_job()
    backend.commit([job])
    for _ in range(5000):
        backend.claim("t", limit=1, visibility_timeout=60)
        backend.settle("t", [release(job.id)])
    assert len(backend._due) < 1100
