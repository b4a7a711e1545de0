"""Real servers and data planes, and a default client that a test does not leave behind."""

from __future__ import annotations

import pytest

import eventspool
from e2e.fixtures import clients, plane, redis_store, shared_redis, store
from eventspool import _default

__all__ = ["client", "clients", "no_client", "plane", "redis_store", "shared_redis", "store"]


@pytest.fixture
def no_client(monkeypatch):
    """No default client yet, and no option in the environment. One that the test makes is closed."""
    for name in ("EVENTSPOOL_WRITE_KEY", "EVENTSPOOL_QUEUE", "EVENTSPOOL_DATA_PLANE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_default, "_client", None)
    yield
    eventspool.close(0.5)


@pytest.fixture
def client(no_client):
    """The default client. Its events go nowhere, so a test captures them."""
    return eventspool.init("key", data_plane_url="http://127.0.0.1:9")
