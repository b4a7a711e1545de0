"""The URL of a Redis server, read strictly: redis-py drops what it does not understand, and then connects elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote

from eventspool._config.checks import split_url
from eventspool._exceptions import ConfigError

__all__ = ["LARGEST_DATABASE", "REDIS_SCHEMES", "RedisURL", "read_redis_url"]

REDIS_SCHEMES = ("redis", "rediss", "unix", "valkey", "valkeys")
LARGEST_DATABASE = (1 << 31) - 1
"""The largest number that a server accepts as the number of a database."""

_THEIRS = {"valkey": "redis", "valkeys": "rediss"}
_OWN_OPTIONS = ("username", "password", "password_file")
_DATABASE = re.compile(r"/([0-9]{1,10})/?")


@dataclass(frozen=True, slots=True)
class RedisURL:
    """
    What the URL of a Redis server says.

    Args:
        plain: The URL for redis-py: without user, password, ``password_file`` and our own schemes.
        username: The ACL user; "" where none is named.
        password: The password; "" where none is given.
        password_file: The file that holds it; "" where none is named.
    """

    plain: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    password_file: str = ""


def read_redis_url(url: str) -> RedisURL:
    """
    Return what *url* says.

    Raises:
        ConfigError: It is no URL of a Redis server, or a part of it has no meaning. The message repeats no part of it: any
            part may belong to a password that was not quoted.
    """
    parts = split_url(url)
    if parts.scheme not in REDIS_SCHEMES:
        raise ConfigError(f"url must begin with one of {', '.join(f'{s}://' for s in REDIS_SCHEMES)}")
    if parts.fragment or "#" in url:
        raise ConfigError("the Redis URL must hold no #: in a password write %23")
    options = _read_options(parts.query)
    _check_place(parts)
    _check_database(parts, options)
    given = dict(reversed(options))  # of an option that is given twice the first one counts, as in redis-py
    query = "&".join(
        each for each in parts.query.split("&") if each.partition("=")[0] not in _OWN_OPTIONS
    )  # not quoted anew, which could change it
    scheme = _THEIRS.get(parts.scheme, parts.scheme)
    host = parts.netloc.rpartition("@")[2]
    return RedisURL(
        f"{scheme}://{host}{parts.path}{'?' if query else ''}{query}",
        unquote(parts.username or "") or given.get("username", ""),
        unquote(parts.password or "") or given.get("password", ""),
        given.get("password_file", ""),
    )


def _read_options(query: str) -> list[tuple[str, str]]:
    options = parse_qsl(query, keep_blank_values=True)
    if any("=" not in part for part in query.split("&") if part) or not all(value for _, value in options):
        raise ConfigError(
            "an option of the Redis URL has no value: write ?name=value, and ? in a password as %3F"
        )
    return options


def _check_place(parts: SplitResult) -> None:
    if parts.scheme == "unix":
        if parts.hostname or not parts.path.strip("/"):
            raise ConfigError("a Redis URL for a socket has three slashes, as in unix:///run/redis.sock?db=0")
    elif parts.port == 0:
        raise ConfigError("the port in the Redis URL must be at least 1")


def _check_database(parts: SplitResult, options: list[tuple[str, str]]) -> None:
    named = [f"/{value}" for name, value in options if name == "db"]
    if parts.scheme != "unix" and parts.path not in ("", "/"):
        named.append(unquote(parts.path))
    numbers = set()
    for each in named:
        found = _DATABASE.fullmatch(each)
        if found is None or int(found[1]) > LARGEST_DATABASE:
            example = "unix:///run/redis.sock?db=0" if parts.scheme == "unix" else "redis://HOST:PORT/0"
            raise ConfigError(f"the database in the Redis URL must be a number, as in {example}")
        numbers.add(int(found[1]))
    if len(numbers) > 1:
        raise ConfigError("the Redis URL names two databases: give its number once")
