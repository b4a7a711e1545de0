"""Every test here runs real processes on a real local data plane."""

from e2e.fixtures import plane, redis_store, shared_redis

__all__ = ["plane", "redis_store", "shared_redis"]
