"""The end-to-end tests' parts, and keys."""

from __future__ import annotations

import base64
import os

import pytest

from e2e.fixtures import clients, plane, redis_server, redis_store, shared_redis, store

__all__ = ["clients", "plane", "redis_server", "redis_store", "shared_redis", "store"]


@pytest.fixture
def make_key():
    """Make keys as people do: 32 random bytes as base64 text."""
    return lambda: base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
def key(make_key):
    return make_key()
