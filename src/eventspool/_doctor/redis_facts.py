"""
Ask a Redis server what it is like. Nothing is written: the user's permissions are tried in a transaction that is never run.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import statistics
import time
from typing import TYPE_CHECKING, Any, Final

from eventspool._backends._redis_connection import connect
from eventspool._backends._redis_errors import error_code, translate
from eventspool._doctor.redis_checks import RedisFacts
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from eventspool._config import RedisOpts

__all__ = ["NEEDED", "ask_redis"]

_PINGS = 9
_SETTINGS = ("save", "appendfsync")

NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "ping": (),
    "select": ("0",),
    "info": (),
    "eval": ("return 1", "0"),
    "evalsha": ("0" * 40, "0"),
    "script|load": ("return 1",),
    "time": (),
    "hset": ("KEY", "f", "v"),
    "hsetnx": ("KEY", "f", "v"),
    "hget": ("KEY", "f"),
    "hmget": ("KEY", "f"),
    "hgetall": ("KEY",),
    "hvals": ("KEY",),
    "hdel": ("KEY", "f"),
    "hlen": ("KEY",),
    "hstrlen": ("KEY", "f"),
    "hexists": ("KEY", "f"),
    "hscan": ("KEY", "0"),
    "zadd": ("KEY", "1", "m"),
    "zrem": ("KEY", "m"),
    "zcard": ("KEY",),
    "zscore": ("KEY", "m"),
    "zrank": ("KEY", "m"),
    "zcount": ("KEY", "0", "1"),
    "zrange": ("KEY", "0", "1"),
    "zrangebyscore": ("KEY", "0", "1"),
    "llen": ("KEY",),
    "rpush": ("KEY", "v"),
    "blpop": ("KEY", "1"),
    "get": ("KEY",),
    "set": ("KEY", "v"),
    "del": ("KEY",),
    "pttl": ("KEY",),
}
"""A call of each command that a queue needs (``_backends.redis`` names them; multi and exec are tried by themselves)."""


def ask_redis(opts: RedisOpts, *, prefix: str, queue_name: str) -> RedisFacts:
    """Return what the server says. Never raises: a server that cannot be asked is a fact, too."""
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
    link: dict[str, Any] = {
        "loopback": _is_loopback(settings),
        "encrypted": "path" in settings or "SSL" in client.connection_pool.connection_class.__name__,
        "authenticated": bool(settings.get("password")),
    }
    info: dict[str, object] = {}
    try:
        round_trip, skew = _time(client)
        info = dict(client.info())
        if info.get("loading") == 1:
            return RedisFacts(
                problem="the server is still loading its data", code="LOADING", info=info, **link
            )
        return RedisFacts(
            info=info,
            settings=_settings(client),
            denied=_denied(client, key),
            round_trip=round_trip,
            skew=skew,
            **link,
        )
    except Exception as error:  # noqa: BLE001 - whatever a driver raises; its own words may hold secrets
        problem, code = str(translate(error, f"queue {queue_name!r}")), error_code(error)
        denied: tuple[str, ...] = ()
        if code == "NOPERM":  # then say which one, and not only that there is one
            with contextlib.suppress(Exception):
                denied = _denied(client, key)
        if denied:
            return RedisFacts(info=info, denied=denied, **link)
        return RedisFacts(problem=problem, code=code, info=info, **link)


def _time(client: Any) -> tuple[float, float]:
    """Return the median round trip, and how far the server's clock is ahead."""
    trips = []
    for _ in range(_PINGS):
        began = time.perf_counter()
        client.ping()
        trips.append(time.perf_counter() - began)
    round_trip = statistics.median(trips)
    before = time.time()
    seconds, micros = client.time()
    return round_trip, seconds + micros / 1e6 - (before + time.time()) / 2


def _settings(client: Any) -> dict[str, str] | None:
    """Return the settings that ``INFO`` does not tell, or ``None`` where the user may not ask."""
    found: dict[str, str] = {}
    try:
        for name in _SETTINGS:
            for key, value in client.config_get(name).items():
                found[_text(key)] = _text(value)
    except Exception as error:
        if error_code(error) in ("NOPERM", "ERR"):  # ERR: a hosted server that has no such command
            return None
        raise
    return found


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _denied(client: Any, key: str) -> tuple[str, ...]:
    """
    Return the commands that this user may not call.

    Between MULTI and EXEC the server checks each command, the keys included, and only puts it on a list. The connection
    is closed before EXEC, so none of them is ever run.
    """
    denied = [name for name in ("multi", "exec") if _is_denied(client, [(name,)])]
    if "multi" in denied:
        return tuple(denied)
    calls = [
        (*name.upper().split("|"), *(key if part == "KEY" else part for part in arguments))
        for name, arguments in NEEDED.items()
    ]
    refused = _refusals(client, [("MULTI",), *calls])[1:]
    return (*denied, *(name for name, no in zip(NEEDED, refused, strict=True) if no))


def _is_denied(client: Any, commands: list[tuple[str, ...]]) -> bool:
    [refused] = _refusals(client, commands)
    return refused


def _refusals(client: Any, commands: list[tuple[str, ...]]) -> list[bool]:
    """Send *commands* on a connection of their own; return for each whether permission was refused."""
    pool = client.connection_pool
    connection = pool.connection_class(**pool.connection_kwargs)
    answers: list[bool] = []
    try:
        connection.connect()
        for command in commands:
            connection.send_command(*command)
            try:
                connection.read_response()
                answers.append(False)
            except Exception as error:
                code = error_code(error)
                if not code:
                    raise
                answers.append(code == "NOPERM")
    finally:
        connection.disconnect()
    return answers


def _is_loopback(settings: dict[str, Any]) -> bool:
    """Whether the connection stays on this machine, for all that the name of the host says."""
    if "path" in settings:
        return True
    host = str(settings.get("host", "localhost"))
    try:
        found = socket.getaddrinfo(host, settings.get("port", 6379), type=socket.SOCK_STREAM)
    except OSError:
        return host == "localhost"
    return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)
