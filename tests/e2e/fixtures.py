"""Fixtures of the end-to-end and the document tests: a data plane, real servers, clients that are checked at the end."""

from __future__ import annotations

import pytest

from e2e.harness import Clients, Store, new_queue_name
from eventspool._redis_server import RedisServer
from eventspool.testing import DataPlane
from shares import taking_turns


@pytest.fixture
def plane():
    """A local data plane."""
    with DataPlane() as plane:
        yield plane


@pytest.fixture
def clients(plane):
    """Make clients of the data plane: ``clients(**options)``."""
    clients = Clients(plane)
    yield clients
    clients.finish()


@pytest.fixture(scope="session")
def shared_redis():
    """One Redis-protocol server for all tests that do not hurt it."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_server():
    """A server of the test's own, which keeps its data over ``kill`` and ``start``."""
    with RedisServer(aof="always") as server:
        yield server


@pytest.fixture
def redis_store(shared_redis):
    """A Redis queue of the test's own."""
    return Store("redis", shared_redis.url, new_queue_name())


@pytest.fixture(params=taking_turns("sqlite", "redis"))
def store(request, tmp_path):
    """A durable queue of the test's own, once for each backend."""
    if request.param == "sqlite":
        return Store("sqlite", f"sqlite:///{tmp_path}/queue.db", new_queue_name())
    return request.getfixturevalue("redis_store")
