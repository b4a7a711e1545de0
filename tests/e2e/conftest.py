"""Every test here is run on real parts: sockets, files, servers, processes."""

from e2e.fixtures import clients, plane, redis_server, redis_store, shared_redis, store

__all__ = ["clients", "plane", "redis_server", "redis_store", "shared_redis", "store"]
