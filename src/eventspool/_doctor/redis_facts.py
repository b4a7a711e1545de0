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

from eventspool._backends.redis.commands import select_missing
from eventspool._backends.redis.connection import connect
from eventspool._backends.redis.errors import error_code, find_place, translate
from eventspool._backends.redis.probe import find_refused
from eventspool._backends.redis.settings import ask_info, ask_settings
from eventspool._config import RedisOpts
from eventspool._doctor.redis_checks import RedisFacts, check_redis
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventspool._config import QueueOpts
    from eventspool._doctor.finding import Finding

__all__ = ["ask_redis", "examine_redis"]

_PINGS = 9
_SETTINGS = ("save", "appendfsync")


def examine_redis(queue: QueueOpts, *, replicas: int = 0) -> tuple[list[Finding], bool]:
    """
    Return what is wrong with the server of *queue*, and whether the queue itself can be asked.

    Args:
        queue: The queue.
        replicas: How many replicas must confirm a commit.
    """
    target = queue.target
    assert isinstance(target, RedisOpts)  # noqa: S101 - this kind of store has no other
    facts = ask_redis(target, prefix=queue.prefix, queue_name=queue.queue_name)
    return list(check_redis(replace(facts, replicas=replicas))), not facts.problem and not select_missing(facts.refused)


def ask_redis(opts: RedisOpts, *, prefix: str, queue_name: str) -> RedisFacts:
    """Return what the server says. Never raises: that a server cannot be asked is a fact, too."""
    try:
        client = connect(opts)
    except ConfigError as failure:
        return RedisFacts(problem=str(failure))
    try:
        return _ask(client, f"{prefix}:{{{queue_name}:0}}:doctor", queue_name)
    finally:
        with contextlib.suppress(Exception):
            client.close()


def _ask(client: Any, key: str, queue_name: str) -> RedisFacts:
    settings = client.connection_pool.connection_kwargs
    place = find_place(client)
    link: dict[str, Any] = {
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
        problem = str(translate(error, f"queue {queue_name!r}", place))
        return RedisFacts(problem=problem, code=error_code(error), info=info, **link)


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
