"""The SQLite backend keeps the contract."""

from __future__ import annotations

import pytest

from eventspool._backends.sqlite.backend import SQLiteBackend
from eventspool._config import Ordering, SQLiteOpts
from eventspool._contract.suite import QueueContract


class TestSQLite(QueueContract):
    @pytest.fixture
    def backend_factory(self, tmp_path):
        opened = []

        def make(*, ordering=Ordering.NONE, max_jobs=1_000_000, max_bytes=1 << 30):
            backend = SQLiteBackend(
                SQLiteOpts(path=str(tmp_path / "queue.db")),
                queue_name="q",
                prefix="p",
                ordering=ordering,
                max_jobs=max_jobs,
                max_bytes=max_bytes,
            )
            backend.open()
            opened.append(backend)
            return backend

        yield make
        for backend in opened:
            backend.close()

    def test_it_outlives_its_handle_and_is_shared(self, backend):
        """Otherwise many tests of the contract would check nothing."""
        assert backend.durable
        assert backend.shared
