"""The memory backend keeps the contract."""

from __future__ import annotations

import pytest

from eventspool._backends.memory import MemoryBackend
from eventspool._contract.suite import QueueContract
from eventspool._contract.tools import new_job, release


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
    assert len(backend._due) < 1100
