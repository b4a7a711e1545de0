"""Redis as a store of queues."""

from __future__ import annotations

from functools import cache
from math import ceil
from typing import TYPE_CHECKING, Any, cast

from eventspool._backends.partitioned.backend import PartitionedBackend
from eventspool._backends.partitioned.ring import ROOT, choose_tag
from eventspool._backends.redis.backend import RedisBackend
from eventspool._backends.redis.replication import Replication
from eventspool._backends.redis.scripts import scripts
from eventspool._backends.redis.shared import SharedSource
from eventspool._backends.redis.topology import open_source
from eventspool._backends.stores import Store
from eventspool._config import RedisOpts

if TYPE_CHECKING:
    from eventspool._backends.found import FoundQueue
    from eventspool._backends.partitioned.ring import Part
    from eventspool._config import QueueOpts

__all__ = ["RedisStore", "find_tag"]


@cache
def find_tag(queue_name: str, part: Part) -> str:
    """Return the hash tag of a partition's keys."""
    return choose_tag(queue_name, part, _slot_of)


def _slot_of(tag: str) -> int:
    from redis.crc import key_slot  # on first use, as the driver

    return int(key_slot(tag.encode("utf-8", "surrogateescape")))


class RedisStore(Store[RedisOpts]):
    """Queues on a Redis or Valkey server."""

    def import_driver(self, target: RedisOpts) -> None:
        """Import redis-py, and what reads the Lua scripts: both are imported on first use only."""
        scripts()
        open_source(target)  # says what is missing or wrong; this opens no connection

    def create_backend(self, target: RedisOpts, queue: QueueOpts, *, observe: bool) -> PartitionedBackend:
        """Return the backend; its queue knows how it is divided and whether it is in order, so that an observer need not."""
        return self._create(target, queue, observe=observe)

    def list_queues(self, queue: QueueOpts) -> list[FoundQueue]:
        """Return the queues of the server, of its database, or of all masters of the cluster; also those of Bull."""
        from eventspool._backends.redis.survey import list_queues  # few programs do this

        return list_queues(cast("RedisOpts", queue.target))

    def create_replicated(self, target: RedisOpts, queue: QueueOpts) -> PartitionedBackend:
        """Return the backend that waits for replicas with each commit."""
        return self._create(target, queue, replication=Replication(queue.replicas, queue.replication_timeout))

    def _create(
        self,
        target: RedisOpts,
        queue: QueueOpts,
        *,
        observe: bool = False,
        replication: Replication | None = None,
    ) -> PartitionedBackend:
        ordering = None if observe else queue.resolved_ordering
        source = SharedSource(target)

        def make(part: Part) -> RedisBackend:
            # The bounds are of the whole queue: each partition has its part of them.
            return RedisBackend(
                target,
                queue_name=queue.queue_name,
                prefix=queue.prefix,
                ordering=ordering,
                max_jobs=ceil(queue.max_jobs / part.of),
                max_bytes=ceil(queue.max_bytes / part.of),
                replication=replication,
                tag=find_tag(queue.queue_name, part),
                partitions=queue.partitions if part == ROOT else 1,
                # The root has clients of its own, as a queue without partitions has them. The others share theirs.
                source=None if part == ROOT else source,
            )

        return PartitionedBackend(
            make, ordering=ordering, partitions=queue.partitions, name=queue.queue_name, source=source
        )

    def require_existing(self, target: RedisOpts) -> None:
        """Accept every server: a queue that no process has used is an empty one there."""

    def clear(self, backend: Any) -> None:
        """Delete every key of the queue."""
        backend.drop()
