"""
Reads from a client that the caller has made where the servers are and how to log in.

Nothing is sent on the caller's connections. They may be of another protocol, decode replies, repeat commands, or be inherited
from a parent process; and their owner may close them at any time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eventspool._config.redis_url import Topology
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from eventspool._config.redis_url import Address

__all__ = ["Given", "read_client"]

_TAKEN = frozenset(
    {
        *("host", "port", "path", "db", "username", "password", "credential_provider", "client_name"),
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_keepalive_options"),
    }
)
"""The settings of a client's connections that ours have, too, beside those of TLS."""
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")
_NO_CLIENT = (
    "client must be redis-py's: redis.Redis, redis.RedisCluster, or what master_for() of a Sentinel returns"
)


@dataclass(frozen=True, slots=True)
class Given:
    """
    What a client says.

    Args:
        settings: The settings of its connections.
        connection_class: The class of these.
        topology: How it finds its server.
        addresses: The sentinels, or the nodes of the cluster.
        service: By which name the sentinels know the master.
        of_sentinels: The settings of the connections to the sentinels.
        sentinel_class: The class of these.
    """

    settings: Mapping[str, Any] = field(repr=False)
    connection_class: type
    topology: Topology = Topology.SERVER
    addresses: tuple[Address, ...] = ()
    service: str = ""
    of_sentinels: Mapping[str, Any] = field(default_factory=dict, repr=False)
    sentinel_class: type = object

    @property
    def timeouts(self) -> dict[str, float]:
        """How long it waits, where it does not wait for ever."""
        return {name: each for name in _TIMEOUTS if (each := self.settings.get(name))}

    def make(
        self, redis: ModuleType, kwargs: Mapping[str, Any], address: Address | None, *, of_sentinel: bool
    ) -> Any:
        """Return a client of our own with these settings, for the server at *address* where one is given."""
        settings = {**(self.of_sentinels if of_sentinel else self.settings), **kwargs}
        if address is not None:
            settings |= {"host": address[0], "port": address[1]}
            settings.pop("path", None)  # the other nodes of a cluster whose node was given by its socket
        theirs = self.sentinel_class if of_sentinel else self.connection_class
        kind = _find_class(redis, theirs, is_local="path" in settings)
        return redis.Redis(connection_pool=redis.ConnectionPool(connection_class=kind, **settings))


def read_client(client: Any) -> Given:
    """
    Return what *client* says of its servers.

    Raises:
        ConfigError: It is no client that can keep a queue. The message repeats none of its settings.
    """
    if "asyncio" in type(client).__module__:
        raise ConfigError("client must be one for threads, not one of redis.asyncio")
    if hasattr(client, "nodes_manager"):
        return _read_cluster(client)
    pool: Any = getattr(client, "connection_pool", None)
    settings = getattr(pool, "connection_kwargs", None)
    if settings is None:
        raise ConfigError(_NO_CLIENT)
    manager = getattr(pool, "sentinel_manager", None)
    if manager is None:
        return Given(_take(settings), pool.connection_class)
    if not pool.is_master:
        raise ConfigError(
            "client reads from replicas: make it by master_for() of the Sentinel, not by slave_for()"
        )
    pools = [each.connection_pool for each in manager.sentinels]
    return Given(
        _take(settings),
        pool.connection_class,
        Topology.SENTINEL,
        tuple((str(each.connection_kwargs["host"]), int(each.connection_kwargs["port"])) for each in pools),
        str(pool.service_name),
        _take(pools[0].connection_kwargs),
        pools[0].connection_class,
    )


def _read_cluster(client: Any) -> Given:
    nodes = client.get_nodes()
    if not nodes:
        raise ConfigError("the RedisCluster that is given as client knows no node")
    pool = client.get_redis_connection(nodes[0]).connection_pool
    addresses = tuple((str(each.host), int(each.port)) for each in nodes)
    return Given(_take(pool.connection_kwargs), pool.connection_class, Topology.CLUSTER, addresses)


def _take(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in settings.items()
        if value is not None and (name in _TAKEN or name.startswith("ssl_"))
    }


def _find_class(redis: ModuleType, theirs: type, *, is_local: bool) -> type:
    """Return the class of our own connections: *theirs* may ask sentinels each time, or be of another package."""
    kinds = [kind.__name__ for kind in theirs.__mro__]
    is_tls = any("SSLConnection" in kind for kind in kinds)
    name = "UnixDomainSocketConnection" if is_local else "SSLConnection" if is_tls else "Connection"
    found: type = getattr(redis, name)
    is_own = issubclass(theirs, found) and not any(kind.startswith("SentinelManaged") for kind in kinds)
    return theirs if is_own else found
