"""Where Redis is, and how a connection proves who it is."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from eventspool._config.checks import (
    FromMapping,
    naming_unknown_fields,
    require_bool,
    require_numbers,
    require_text,
)
from eventspool._config.redis_url import LARGEST_DATABASE, Topology, read_redis_url
from eventspool._exceptions import ConfigError

__all__ = ["RedisOpts"]

_BESIDE_CLIENT = {"client", "socket_timeout", "socket_connect_timeout"}


@naming_unknown_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOpts(FromMapping):
    """
    Where Redis is. *url* overrides host, port, db and ssl, and user name and password where it holds them.

    Args:
        url: ``redis://``, ``rediss://`` (TLS), ``unix://`` or the same with ``valkey``; or
            ``redis+sentinel://HOST:PORT,HOST:PORT/NAME/DB`` or ``redis+cluster://HOST:PORT,HOST:PORT``, which may also begin
            with ``rediss``, ``valkey`` or ``valkeys``. redis-py's query options work, except for ``decode_responses``.
            ``max_connections`` must be at least 4. ``password_file=PATH`` works, too.
        client: A client of redis-py's, in the place of all options but the timeouts: ``redis.Redis(…)``, also from
            ``Sentinel(…).master_for(…)``, or ``redis.RedisCluster(…)``. eventspool takes from it where the servers are and how
            to log in, and opens connections of its own. So it may be used, closed and forked as before, and closing it
            remains its owner's business.
        host: The server's name or address.
        port: Its TCP port.
        db: The number of the database.
        username: The ACL user.
        password: The password. Or a callable without arguments that returns the password, or a pair of user name and
            password. eventspool's threads call it for each new connection, so that a password may change meanwhile.
        password_file: A file that holds the password, read for each new connection. A line break at its end is not part of it.
        credential_provider: redis-py's way to the same: an object whose ``get_credentials()`` returns ``(password,)`` or
            ``(username, password)``; or a callable that returns that.
        sentinel_username: The ACL user for the sentinels, where these ask for one.
        sentinel_password: The password for the sentinels. It is never that of the servers.
        ssl: Use TLS. The other ``ssl_…`` options are redis-py's.
        ssl_ca_certs: Path of a file with the authorities that the server's certificate may come from.
        ssl_certfile: Path of the client's certificate.
        ssl_keyfile: Path of the client's private key.
        ssl_cert_reqs: ``required``, ``optional`` or ``none``: whether the server must have a valid certificate.
        ssl_check_hostname: The server's certificate must name *host*.
        socket_timeout: Longest wait for a reply, in seconds. ``None``: 5.0; and 2.0 where another server takes the place of
            one that does not answer, as in a cluster and with sentinels.
        socket_connect_timeout: Longest wait for a connection, in seconds.
    """

    host: str = "localhost"
    port: int = 6379
    db: int = 0
    username: str | None = field(default=None, repr=False)
    password: str | Callable[[], str | tuple[str, str]] | None = field(default=None, repr=False)
    password_file: str | os.PathLike[str] | None = field(default=None, repr=False)
    credential_provider: Any = field(default=None, repr=False)
    url: str | None = field(default=None, repr=False)
    client: Any = field(default=None, repr=False)
    sentinel_username: str | None = field(default=None, repr=False)
    sentinel_password: str | None = field(default=None, repr=False)
    ssl: bool = False
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = field(default=None, repr=False)
    ssl_cert_reqs: str = "required"
    ssl_check_hostname: bool = True
    socket_timeout: float | None = None
    socket_connect_timeout: float = 2.0

    def __post_init__(self) -> None:
        require_text("host", self.host)
        require_numbers(self, integer=True, port=1, db=0)
        if self.port > 65_535:
            raise ConfigError(f"port must be at most 65535, not {self.port}")
        if isinstance(self.password_file, os.PathLike):
            object.__setattr__(self, "password_file", os.fspath(self.password_file))
        for name in (
            "username",
            "password",
            "password_file",
            "url",
            "sentinel_username",
            "sentinel_password",
            "ssl_ca_certs",
            "ssl_certfile",
            "ssl_keyfile",
        ):
            value = getattr(self, name)
            if value != "" and not (  # "" is what an unset variable of the environment gives
                name == "password" and callable(value)
            ):
                require_text(name, value, optional=True)
        if self.ssl_cert_reqs not in ("required", "optional", "none"):
            raise ConfigError("ssl_cert_reqs must be 'required', 'optional' or 'none'")
        require_bool("ssl", self.ssl)
        require_bool("ssl_check_hostname", self.ssl_check_hostname)
        require_numbers(self, exclusive=True, socket_connect_timeout=0)
        if self.socket_timeout is not None:
            require_numbers(self, exclusive=True, socket_timeout=0)
        if self.db > LARGEST_DATABASE:
            raise ConfigError(f"db must be at most {LARGEST_DATABASE}, not {self.db}")
        self._check_credentials()
        self._check_sentinels()
        self._check_client()

    def _check_sentinels(self) -> None:
        """Raise ``ConfigError`` for a login at the sentinels that is given twice, or where there are none."""
        url = None if self.url is None else read_redis_url(self.url)
        given = bool(self.sentinel_username or self.sentinel_password)
        if given and (url is None or url.topology is not Topology.SENTINEL):
            raise ConfigError("sentinel_username and sentinel_password belong to a URL of redis+sentinel://")
        if self.sentinel_password and url is not None and url.sentinel_password:
            raise ConfigError("sentinel_password is given twice: in the URL, and as an option")

    def _check_client(self) -> None:
        """Raise ``ConfigError`` where *client* stands beside options that it makes meaningless."""
        if self.client is None:
            return
        beside = [
            each.name
            for each in fields(self)
            if each.name not in _BESIDE_CLIENT and getattr(self, each.name) != each.default
        ]
        if beside:
            raise ConfigError(f"client says where Redis is: leave out {', '.join(beside)}")

    def _check_credentials(self) -> None:
        """Raise ``ConfigError`` unless the password comes from one place at most."""
        provider = self.credential_provider
        if not (
            provider is None or callable(provider) or callable(getattr(provider, "get_credentials", None))
        ):
            raise ConfigError("credential_provider must have a method get_credentials(), or be callable")
        url = None if self.url is None else read_redis_url(self.url)
        ways = (
            callable(self.password) or bool(self.password and not (url and url.password)),
            bool(self.password_file),
            provider is not None,
            bool(url and url.password),
            bool(url and url.password_file),
        )
        if sum(ways) > 1:
            raise ConfigError(
                "give the Redis password once: as password, password_file or credential_provider, or in the URL"
            )
