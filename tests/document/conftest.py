"""The document's tests use the end-to-end fixtures."""

from e2e.fixtures import clients, plane, redis_server, redis_store, shared_redis, store

__all__ = ["clients", "plane", "redis_server", "redis_store", "shared_redis", "store"]
