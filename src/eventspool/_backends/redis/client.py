"""Makes clients of redis-py's from options: for the server that they name, or for others with the same options."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

from eventspool._backends.redis.credentials import find_credentials
from eventspool._backends.redis.given import Given, read_client
from eventspool._backends.redis.packer import Packer
from eventspool._config.redis_url import RedisURL, Topology, read_redis_url
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from eventspool._config import RedisOpts
    from eventspool._config.redis_url import Address

__all__ = ["LEAST_CONNECTIONS", "ClientMaker", "connect"]

LEAST_CONNECTIONS: Final = 4
"""A client may commit, claim, wait, and count what is in its queue, all at the same time."""
_ENDLESS = 1e9
_PATIENCE: Final = {Topology.SERVER: 5.0, Topology.SENTINEL: 2.0, Topology.CLUSTER: 2.0}
"""Seconds of ``socket_timeout`` by default. No call should wait for an old master for longer than a failover takes."""
_SCOUTING: Final = 1.0
"""Most seconds that a question about the topology waits for a connection, and as many for the answer: others can be asked."""
_TIMEOUTS = ("socket_timeout", "socket_connect_timeout")
_SSL_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")


def connect(opts: RedisOpts) -> Any:
    """
    Return a client for the server that *opts* name, not yet connected; of several servers for the first one.

    Raises:
        ConfigError: redis-py is missing, or an option cannot work. The message repeats no value.
    """
    return ClientMaker(opts).make()


class ClientMaker:
    """
    Makes clients that are not connected yet. They repeat no command: only their caller knows what may be repeated.

    Args:
        opts: Where Redis is.

    Raises:
        ConfigError: redis-py is missing, or an option cannot work. The message repeats no value.
    """

    def __init__(self, opts: RedisOpts) -> None:
        try:
            import redis
            import redis.backoff
            import redis.retry
        except ImportError:
            raise ConfigError("this queue needs the redis package: pip install 'eventspool[redis]'") from None
        self._redis = redis
        self._opts = opts
        self._given: Given | None = None if opts.client is None else read_client(opts.client)
        self._url = None if opts.url is None else read_redis_url(opts.url)
        self.topology = self._find_topology()
        self._check()

    def _find_topology(self) -> Topology:
        found = self._given or self._url
        return Topology.SERVER if found is None else found.topology

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The sentinels, or some nodes of the cluster."""
        found = self._given or self._url
        return () if found is None else found.addresses

    @property
    def service(self) -> str:
        """By which name the sentinels know the master."""
        found = self._given or self._url
        return "" if found is None else found.service

    def make(self, address: Address | None = None) -> Any:
        """Return a client for the server at *address*; without one for the server that the options name first."""
        client = self._make(self._url, address, {})
        assert client is not None  # noqa: S101 - the options were checked
        return client

    def make_scout(self, address: Address | None, *, of_sentinel: bool = False) -> Any:
        """Return a client for one question about the topology, which waits less long than others."""
        client = self._make(self._url, address, self._scouting, of_sentinel=of_sentinel)
        assert client is not None  # noqa: S101 - the options were checked
        return client

    def _check(self) -> None:
        client = self._make(self._url, None, {})
        if client is None:
            raise ConfigError(f"redis-py does not understand {self._find_culprit()}")
        pool = client.connection_pool
        settings = pool.connection_kwargs
        if settings.get("decode_responses"):  # redis-py takes "false" for true, too
            raise ConfigError("the Redis URL must not set decode_responses: payloads are no text")
        for name in _TIMEOUTS:
            if not 0 < settings[name] < _ENDLESS:
                raise ConfigError(f"{name} in the Redis URL must be a number of seconds, and more than 0")
        if pool.max_connections < LEAST_CONNECTIONS:
            raise ConfigError(f"max_connections in the Redis URL must be at least {LEAST_CONNECTIONS}")
        if self.topology is Topology.CLUSTER and settings.get("db"):
            raise ConfigError("a cluster has only database 0")
        self._scouting = {name: min(settings[name], _SCOUTING) for name in _TIMEOUTS}

    def _make(
        self,
        url: RedisURL | None,
        address: Address | None,
        timeouts: dict[str, float],
        *,
        of_sentinel: bool = False,
    ) -> Any:
        """Return a client; ``None`` where redis-py does not understand the options, since its error may quote a password."""
        redis, opts = self._redis, self._opts
        kwargs: dict[str, Any] = {
            "socket_timeout": opts.socket_timeout or _PATIENCE[self.topology],
            "socket_connect_timeout": opts.socket_connect_timeout,
            "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0),
            "protocol": 2,  # the same replies from every server and redis-py
            "command_packer": Packer(),
        }
        try:
            if self._given is not None:
                if opts.socket_timeout is None:
                    kwargs |= self._given.timeouts
                client = self._given.make(redis, kwargs, address, of_sentinel=of_sentinel)
            else:
                kwargs |= self._find_login(url, of_sentinel=of_sentinel)
                client = self._make_by_url(url, address, kwargs)
            pool = client.connection_pool
            pool.connection_kwargs.update(timeouts)  # an option of the URL goes before one beside it
            if of_sentinel:
                pool.connection_kwargs["db"] = 0
            pool.connection_class(**pool.connection_kwargs)  # an unknown option of the URL shows only now
        except (TypeError, ValueError, AttributeError, redis.RedisError):
            return None
        return client

    def _make_by_url(self, url: RedisURL | None, address: Address | None, kwargs: dict[str, Any]) -> Any:
        opts = self._opts
        if url is None:
            host, port = address or (opts.host, opts.port)
            kwargs |= {"host": host, "port": port, "db": opts.db}
            place = "rediss://" if opts.ssl else "redis://"
        else:
            place = url.locate(address) if address else url.plain
        if place.startswith("rediss://"):
            kwargs = {name: getattr(opts, name) for name in _SSL_OPTIONS} | kwargs
        if not place.startswith("unix://"):
            kwargs["socket_keepalive"] = True
        return self._redis.Redis.from_url(place, **kwargs)

    def _find_login(self, url: RedisURL | None, *, of_sentinel: bool) -> dict[str, Any]:
        """Return how to log in, at a server or at a sentinel: the password of one is not for the other."""
        opts = self._opts
        if not of_sentinel:
            return find_credentials(opts, url, self._redis.ConnectionError)
        assert url is not None  # noqa: S101 - sentinels come from a URL, or from a client
        return {
            "username": url.sentinel_username or opts.sentinel_username or None,
            "password": url.sentinel_password or opts.sentinel_password or None,
        }

    def _find_culprit(self) -> str:
        """Return what redis-py does not understand: an option of the URL, where it understands the URL without it."""
        url = self._url
        bare, _, query = (url.plain if url else "").partition("?")
        if url and query and self._make(replace(url, plain=bare), None, {}) is not None:
            for name, value in parse_qsl(query):
                alone = replace(url, plain=f"{bare}?{urlencode({name: value})}")
                if self._make(alone, None, {}) is None:
                    return f"the option {name!r} of the Redis URL, or its value"
        return "the Redis URL or its options" if self._given is None else "the settings of the client"
