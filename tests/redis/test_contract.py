"""The Redis backend keeps the contract, on every server."""

from __future__ import annotations

import pytest

from eventspool._contract.per_user import PerUserContract
from eventspool._contract.suite import QueueContract
from redis_servers import make_backend, new_queue_name


@pytest.fixture
def backend_factory(any_server):
    name = new_queue_name()
    made = []

    def factory(**options):
        backend = make_backend(any_server, queue_name=name, **options)
        backend.open()
        made.append(backend)
        return backend

    yield factory
    for backend in made:
        backend.close()


class TestRedis(QueueContract):
    @pytest.fixture
    def backend_factory(self, backend_factory):
        return backend_factory

    def test_it_outlives_its_handle_and_is_shared(self, backend):
        """Else much of the contract would not be asked."""
        assert backend.durable
        assert backend.shared


class TestRedisPerUser(PerUserContract):
    @pytest.fixture
    def backend_factory(self, backend_factory):
        return backend_factory
