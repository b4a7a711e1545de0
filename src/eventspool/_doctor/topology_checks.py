"""What can be wrong with where a server stands among others: a replica, a cluster, sentinels. Pure: from facts to findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._backends.redis.risks import format_size
from eventspool._backends.redis.standing import (
    find_master,
    find_movable,
    is_clustered,
    is_sentinel,
)
from eventspool._config.redis_url import Topology, join_address
from eventspool._doctor.finding import Finding, error, note, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["check_topology"]


def check_topology(
    info: Mapping[str, object],
    settings: Mapping[str, str] | None,
    topology: Topology,
    *,
    address: str,
    services: Sequence[str] = (),
    max_bytes: int = 0,
) -> Iterator[Finding]:
    """
    Yield what is wrong.

    Args:
        info: What ``INFO`` answers.
        settings: ``min-replicas-to-write`` and ``proto-max-bulk-len``; ``None`` where this user may not ask.
        topology: How the options have the server found.
        address: Where it is.
        services: The names of the masters that it watches, where it is a sentinel.
        max_bytes: Most bytes that a partition of the queue may hold.
    """
    if is_sentinel(info):
        yield error(
            "redis.role",
            "the server is a sentinel: it keeps no queue, and knows which server does",
            f"write redis+sentinel://{address}/{' or /'.join(services) or 'NAME'}, with all sentinels separated by commas",
        )
        return
    if master := find_master(info):
        yield error(
            "redis.role",
            f"the server is a replica: it takes no events; its master is {join_address(master)}",
            "give the URL of its master, or one that finds the master after a failover, too: redis+sentinel:// or redis+cluster://",
        )
    if is_clustered(info):
        yield from _check_cluster(topology, address, max_bytes, find_movable(info, settings))
    else:
        yield from _check_replicas(info, settings, topology)


def _check_cluster(topology: Topology, address: str, max_bytes: int, movable: float) -> Iterator[Finding]:
    if topology is not Topology.CLUSTER:
        yield warning(
            "redis.cluster",
            "this is a cluster, and the URL names one node: while that one is away, no process that starts finds the queue",
            f"write redis+cluster://{address} into the URL, with more nodes separated by commas",
        )
    if max_bytes > movable:
        yield warning(
            "redis.slot_size",
            f"a partition of the queue is full at {format_size(movable)}, in the place of the {format_size(max_bytes)} that "
            "max_bytes allows: this cluster moves a partition from one node to another as one value, and takes no larger one",
            f"divide the queue into {-(-max_bytes // int(movable))} times as many partitions (`eventspool queue resize`; "
            "one in strict order needs another ordering first), or use Valkey 9 or Redis 8.4",
        )


def _check_replicas(
    info: Mapping[str, object], settings: Mapping[str, str] | None, topology: Topology
) -> Iterator[Finding]:
    wanted = _number(info.get("min_slaves_good_slaves"))
    least = _number((settings or {}).get("min-replicas-to-write"))
    if least and "min_slaves_good_slaves" in info and wanted < least:
        yield error(
            "redis.replicas",
            f"it refuses writes: {wanted} replicas follow it in time, and min-replicas-to-write is {least}",
            "start the replicas, or lower min-replicas-to-write",
        )
    elif settings is not None and not least and topology is Topology.SENTINEL:
        yield (warning if info.get("connected_slaves") else note)(
            "redis.replicas",
            "a master that is cut off from its replicas and the sentinels goes on taking events, and these are lost with it "
            "(min-replicas-to-write 0)",
            "CONFIG SET min-replicas-to-write 1 and min-replicas-max-lag 10, then CONFIG REWRITE",
        )


def _number(value: object) -> int:
    return int(str(value)) if str(value).isdecimal() else 0
