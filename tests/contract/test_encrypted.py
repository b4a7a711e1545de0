"""An encrypting backend keeps the contract of its inner backend."""

from __future__ import annotations

import os
import runpy
from dataclasses import replace

import pytest

from eventspool._backends import Backend, encrypted
from eventspool._backends.encrypted import EncryptedBackend
from eventspool._backends.journals import keeps_journals
from eventspool._backends.memory import MemoryBackend
from eventspool._contract.suite import QueueContract
from eventspool._encryption import Keyring
from eventspool._envelope import encrypt

KEYS = Keyring([os.urandom(32)])
OVERHEAD_BYTES = len(encrypt(b"", KEYS))


class Shrunk(MemoryBackend):
    """Counts payloads by their size before encryption, which is the size that the contract's tests expect."""

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


def test_a_method_that_is_new_in_the_protocol_has_to_be_decided_on(monkeypatch):
    """If it were passed on unseen, it might store in the clear what is to be encrypted."""
    runpy.run_path(encrypted.__file__)
    monkeypatch.setattr(Backend, "peek", lambda _self: b"", raising=False)
    with pytest.raises(TypeError, match="peek"):
        runpy.run_path(encrypted.__file__)


def test_a_journal_is_stored_encrypted_also_where_it_is_amended():
    inner = MemoryBackend()
    backend = EncryptedBackend(inner, KEYS)
    backend.append("trail", b"secret", most=9)
    [entry] = backend.journal("trail", limit=9)
    assert backend.amend("trail", entry.position, b"secret", b"still secret")
    assert [each.body for each in backend.journal("trail", limit=9)] == [b"still secret"]
    assert not any(b"secret" in each.body for each in inner.journal("trail", limit=9))


def test_a_store_without_journals_is_not_said_to_keep_them_encrypted():
    class Older:
        def __getattr__(self, name):
            if name in {"append", "journal", "amend"}:
                raise AttributeError(name)
            return getattr(inner, name)

    inner = MemoryBackend()
    assert keeps_journals(EncryptedBackend(inner, KEYS))
    assert not keeps_journals(EncryptedBackend(Older(), KEYS))
    assert not keeps_journals(Older())
