"""
Asks a Redis server what it is like. Nothing is written: the user's permissions are tried in a transaction that is never run.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eventspool._backends.partitioned.ring import count_partitions
from eventspool._backends.redis.client import ClientMaker
from eventspool._backends.redis.codec import decode_text
from eventspool._backends.redis.commands import IN_CLUSTERS, select_missing
from eventspool._backends.redis.errors import error_code, find_place, translate
from eventspool._backends.redis.probe import find_refused
from eventspool._backends.redis.settings import ask_info, ask_settings
from eventspool._backends.redis.standing import find_advice, is_clustered, is_sentinel, name_services
from eventspool._backends.redis.topology import ClusterSource, open_source
from eventspool._config import RedisOpts
from eventspool._doctor.redis_checks import RedisFacts, check_redis
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventspool._config import QueueOpts
    from eventspool._doctor.finding import Finding

__all__ = ["ask_redis", "examine_redis"]

_PINGS = 9
_SETTINGS = ("save", "appendfsync", "min-replicas-to-write", "proto-max-bulk-len")


def examine_redis(queue: QueueOpts, *, replicas: int = 0) -> tuple[list[Finding], bool]:
    """
    Return what is wrong with the server of *queue*, and whether the queue itself can be asked.

    Args:
        queue: The queue.
        replicas: How many replicas must confirm a commit.
    """
    target = queue.target
    assert isinstance(target, RedisOpts)  # noqa: S101 - this kind of store has no other
    size = {"max_bytes": queue.max_bytes, "partitions": queue.partitions}
    facts = ask_redis(target, prefix=queue.prefix, queue_name=queue.queue_name, **size)
    usable = not (facts.problem or is_sentinel(facts.info) or select_missing(facts.refused))
    return list(check_redis(replace(facts, replicas=replicas))), usable


def ask_redis(
    opts: RedisOpts, *, prefix: str, queue_name: str, max_bytes: int = 0, partitions: int = 1
) -> RedisFacts:
    """
    Return what the server says. Never raises: that a server cannot be asked is a fact, too.

    Args:
        opts: Where the server is.
        prefix: What the queue's keys begin with.
        queue_name: The queue.
        max_bytes: Most bytes that the queue may hold.
        partitions: Over how many partitions it is to be spread. What is written down in it counts.
    """
    try:
        maker, source = ClientMaker(opts), open_source(opts)
    except ConfigError as failure:
        return RedisFacts(problem=str(failure))
    key = f"{prefix}:{{{queue_name}:0}}:doctor"
    more: dict[str, Any] = {"topology": maker.topology, "max_bytes": max_bytes}
    cluster = ClusterSource(
        maker
    )  # used where one server is a node of a cluster, and another node has the queue
    try:
        client = source.client_for(key)
        if _has_moved(client, key):
            client = cluster.client_for(key)
        return _ask(client, key, queue_name, more, partitions)
    except Exception as error:  # noqa: BLE001 - a driver raises anything; its own words may hold secrets
        problem = str(translate(error, f"queue {queue_name!r}"))
        return RedisFacts(problem=problem, code=error_code(error), **more)
    finally:
        with contextlib.suppress(Exception):
            cluster.close()
            source.close()


def _has_moved(client: Any, key: str) -> bool:
    try:
        client.execute_command("HGET", key, "f")
    except Exception as error:  # noqa: BLE001 - what is wrong otherwise is found out by the questions that follow
        return error_code(error) == "MOVED"
    return False


def _ask(client: Any, key: str, queue_name: str, more: Mapping[str, Any], partitions: int) -> RedisFacts:
    settings = client.connection_pool.connection_kwargs
    place = find_place(client)
    link: dict[str, Any] = {
        **more,
        "address": place.address,
        "loopback": _is_loopback(settings),
        "encrypted": "path" in settings or place.secure,
        "authenticated": bool(settings.get("password") or settings.get("credential_provider")),
        "keys": key.removesuffix("doctor"),
    }
    info: dict[str, object] = {}
    try:
        refused = find_refused(client, key)
        info = ask_info(client)
        if info.get("loading") == 1:
            return RedisFacts(
                problem="the server is still loading its data", code="LOADING", info=info, **link
            )
        if is_sentinel(info):
            return RedisFacts(info=info, services=tuple(name_services(client)), **link)
        if is_clustered(info):
            refused |= find_refused(client, key, IN_CLUSTERS)
            link["max_bytes"] //= _count_partitions(client, link["keys"], partitions)
        round_trip, skew = _time(client, refused)
        return RedisFacts(
            info=info,
            settings=ask_settings(client, *_SETTINGS),
            refused=refused,
            round_trip=round_trip,
            skew=skew,
            **link,
        )
    except Exception as error:  # noqa: BLE001 - a driver raises anything; its own words may hold secrets
        problem = str(translate(error, f"queue {queue_name!r}", place, advice=find_advice(client, error)))
        return RedisFacts(problem=problem, code=error_code(error), info=info, **link)


def _count_partitions(client: Any, keys: str, wanted: int) -> int:
    ring, epoch = client.execute_command("HMGET", keys + "m", "ring", "epoch")
    return count_partitions(decode_text(ring or b""), wanted, is_used=epoch is not None)


def _time(client: Any, refused: Mapping[str, str]) -> tuple[float | None, float]:
    """Return the median round trip, and by how much the server's clock is ahead, where it can be asked."""
    trips = []
    for _ in range(0 if "ping" in refused else _PINGS):
        began = time.perf_counter()
        client.ping()
        trips.append(time.perf_counter() - began)
    round_trip = statistics.median(trips) if trips else None
    if "time" in refused:
        return round_trip, 0.0
    before = time.time()
    seconds, micros = client.time()
    return round_trip, seconds + micros / 1e6 - (before + time.time()) / 2


def _is_loopback(settings: dict[str, Any]) -> bool:
    """Return whether the connection stays on this machine, whatever the name of the host suggests."""
    if "path" in settings:
        return True
    host = str(settings.get("host", "localhost"))
    try:
        found = socket.getaddrinfo(host, settings.get("port", 6379), type=socket.SOCK_STREAM)
    except OSError:
        return host == "localhost"
    return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)
