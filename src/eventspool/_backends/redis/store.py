"""Redis as a store of queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventspool._backends.redis.backend import RedisBackend
from eventspool._backends.redis.replication import Replication
from eventspool._backends.redis.scripts import scripts
from eventspool._backends.redis.topology import open_source
from eventspool._backends.stores import Store
from eventspool._config import RedisOpts

if TYPE_CHECKING:
    from eventspool._config import QueueOpts

__all__ = ["RedisStore"]


class RedisStore(Store[RedisOpts]):
    """Queues on a Redis or Valkey server."""

    def import_driver(self, target: RedisOpts) -> None:
        """Import redis-py, and what reads the Lua scripts: both are imported on first use only."""
        scripts()
        open_source(target)  # says what is missing or wrong; this opens no connection

    def create_backend(self, target: RedisOpts, queue: QueueOpts, *, observe: bool) -> RedisBackend:
        """Return the backend; its queue knows whether it is in order, so that an observer need not."""
        return self._create(target, queue, observe=observe)

    def create_replicated(self, target: RedisOpts, queue: QueueOpts) -> RedisBackend:
        """Return the backend that waits for replicas with each commit."""
        return self._create(target, queue, replication=Replication(queue.replicas, queue.replication_timeout))

    def _create(
        self,
        target: RedisOpts,
        queue: QueueOpts,
        *,
        observe: bool = False,
        replication: Replication | None = None,
    ) -> RedisBackend:
        return RedisBackend(
            target,
            queue_name=queue.queue_name,
            prefix=queue.prefix,
            ordering=None if observe else queue.resolved_ordering,
            max_jobs=queue.max_jobs,
            max_bytes=queue.max_bytes,
            replication=replication,
        )

    def require_existing(self, target: RedisOpts) -> None:
        """Accept every server: a queue that no process has used is an empty one there."""

    def clear(self, backend: Any) -> None:
        """Delete every key of the queue."""
        backend.drop()
