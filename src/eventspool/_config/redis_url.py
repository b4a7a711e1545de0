"""
The URL of a Redis server, of a cluster, or of the sentinels that know a master.

It is read strictly: redis-py drops what it does not understand, and then connects elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias
from urllib.parse import SplitResult, parse_qsl, unquote

from eventspool._config.checks import cut_hosts, split_url
from eventspool._exceptions import ConfigError

__all__ = [
    "LARGEST_DATABASE",
    "REDIS_SCHEMES",
    "Address",
    "RedisURL",
    "Topology",
    "join_address",
    "read_redis_url",
]

Address: TypeAlias = tuple[str, int]
"""A host and a port."""


class Topology(StrEnum):
    """How the server that has a queue is found."""

    SERVER = "server"
    """It is the one that the URL names."""
    SENTINEL = "sentinel"
    """Sentinels say which server is the master."""
    CLUSTER = "cluster"
    """The nodes of a cluster say which of them has the queue's slot."""


_OF_SERVER = ("redis", "rediss", "valkey", "valkeys")
REDIS_SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "valkey",
    "valkeys",
    *(f"{scheme}+{topology}" for topology in ("sentinel", "cluster") for scheme in _OF_SERVER),
)
LARGEST_DATABASE = (1 << 31) - 1
"""The largest number that a server accepts as the number of a database."""

_THEIRS = {"valkey": "redis", "valkeys": "rediss"}
_OWN_OPTIONS = ("username", "password", "password_file")
_OF_SENTINELS = ("sentinel_username", "sentinel_password")
_PORTS = {Topology.SERVER: 6379, Topology.CLUSTER: 6379, Topology.SENTINEL: 26_379}
_EXAMPLES = {
    Topology.SENTINEL: "redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB",
    Topology.CLUSTER: "redis+cluster://HOST:PORT,HOST:PORT",
}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:@,\s]+)(?::([0-9]{1,5}))?")
_DATABASE = re.compile(r"/([0-9]{1,10})/?")


@dataclass(frozen=True, slots=True)
class RedisURL:
    """
    What the URL of Redis says.

    Args:
        plain: The URL for redis-py: without user, password, ``password_file`` and our own schemes. Of several addresses it has
            the first one.
        username: The ACL user; "" where none is named.
        password: The password; "" where none is given.
        password_file: The file that holds it; "" where none is named.
        topology: How the server is found.
        addresses: The sentinels, or some nodes of the cluster.
        service: By which name the sentinels know the master.
        sentinel_username: The ACL user for the sentinels; "" where none is named.
        sentinel_password: The password for the sentinels; "" where none is given.
    """

    plain: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    password_file: str = ""
    topology: Topology = Topology.SERVER
    addresses: tuple[Address, ...] = ()
    service: str = ""
    sentinel_username: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)

    def locate(self, address: Address) -> str:
        """Return the URL for redis-py of the server at *address*, with the same options."""
        scheme, _, rest = self.plain.partition("://")
        if scheme == "unix":
            scheme, rest = "redis", rest[rest.find("?") :] if "?" in rest else ""
        return f"{scheme}://{join_address(address)}{re.sub('^[^/?]*', '', rest)}"


def join_address(address: Address) -> str:
    """Return *address* as a URL and messages have it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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
    base, _, rest = parts.scheme.partition("+")
    topology = Topology(rest or "server")
    options = _read_options(parts.query)
    addresses = _read_addresses(url, parts, topology)
    service, parts = _cut_service(parts) if topology is Topology.SENTINEL else ("", parts)
    database = _read_database(parts, options)
    if database and topology is Topology.CLUSTER:
        raise ConfigError(f"a cluster has only database 0: write {_EXAMPLES[topology]}")
    given = dict(reversed(options))  # of an option that is given twice the first one counts, as in redis-py
    own = (*_OWN_OPTIONS, *(_OF_SENTINELS if topology is Topology.SENTINEL else ()))
    query = "&".join(
        each for each in parts.query.split("&") if each.partition("=")[0] not in own
    )  # not quoted anew, which could change it
    host = parts.netloc.rpartition("@")[2]
    return RedisURL(
        f"{_THEIRS.get(base, base)}://{host}{parts.path}{'?' if query else ''}{query}",
        unquote(parts.username or "") or given.get("username", ""),
        unquote(parts.password or "") or given.get("password", ""),
        given.get("password_file", ""),
        topology,
        addresses,
        service,
        *(given.get(name, "") if topology is Topology.SENTINEL else "" for name in _OF_SENTINELS),
    )


def _read_addresses(url: str, parts: SplitResult, topology: Topology) -> tuple[Address, ...]:
    """Return the addresses in *url*, of whose *parts* the place has the first one alone; none for one server."""
    if topology is Topology.SERVER:
        _check_place(parts)
        if "," in cut_hosts(url)[1]:
            known = " or ".join(_EXAMPLES.values())
            raise ConfigError(f"the Redis URL names several servers: write {known}")
        return ()
    found: list[Address] = []
    for each in cut_hosts(url)[1].split(","):
        read = _HOST.fullmatch(each)
        port = int(read[2] or _PORTS[topology]) if read else 0
        if read is None or not 0 < port < 1 << 16:
            raise ConfigError(
                f"the addresses in the Redis URL must be hosts and ports, as in {_EXAMPLES[topology]}"
            )
        found.append((unquote(read[1]).strip("[]"), port))
    return tuple(dict.fromkeys(found))


def _cut_service(parts: SplitResult) -> tuple[str, SplitResult]:
    """Return by which name the sentinels know the master, and *parts* without it."""
    name, _, rest = parts.path.removeprefix("/").partition("/")
    if not re.fullmatch(r"[^\s/]+", name := unquote(name)):
        raise ConfigError(f"the Redis URL names no master: write {_EXAMPLES[Topology.SENTINEL]}")
    return name, parts._replace(path=f"/{rest}" if rest else "")


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


def _read_database(parts: SplitResult, options: list[tuple[str, str]]) -> int:
    """Return the number of the database that is named, 0 where none is."""
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
    return max(numbers, default=0)
