"""Queues over several partitions, on as many servers as a test likes."""

from __future__ import annotations

from eventspool._backends.partitioned.backend import PartitionedBackend
from eventspool._backends.partitioned.ring import ROOT
from eventspool._backends.redis.store import find_tag
from eventspool._config import Ordering
from redis_servers import make_backend

__all__ = ["make_partitioned"]


def make_partitioned(servers, name, *, partitions=4, ordering=Ordering.NONE, observe=False, **options):
    """Return an unopened backend; partition i is on the server i of *servers*, counted round, the root on the first one."""
    bounds = {"max_jobs": 1_000_000, "max_bytes": 1 << 30, **options}

    def make(part):
        share = {each: -(-bound // part.of) for each, bound in bounds.items()}
        server = servers[0] if part == ROOT else servers[part.number % len(servers)]
        return make_backend(
            server,
            queue_name=name,
            tag=find_tag(name, part),
            ordering=None if observe else ordering,
            opts=None,
            socket_timeout=1.0,
            **share,
        )

    return PartitionedBackend(make, ordering=None if observe else ordering, partitions=partitions, name=name)
