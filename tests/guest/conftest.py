"""Every test here runs real processes on a real local data plane."""

from e2e.fixtures import clients, plane, redis_store, shared_redis

__all__ = ["clients", "plane", "redis_store", "shared_redis"]
