"""The edge to the driver: make a client from options, run scripts on it, and let none of its errors past."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from eventspool._backends._redis_errors import error_code, translate
from eventspool._backends._redis_scripts import script
from eventspool._backends._redis_waiter import Waiter
from eventspool._exceptions import ConfigError, QueueError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

    from eventspool._config import RedisOpts

__all__ = ["Connection", "connect"]

_T = TypeVar("_T")
_ENDLESS = 1e9
_abandoned: list[object] = []  # a forked child must not run the destructors of its parent's connections

_LEAST_CONNECTIONS = 4
"""A client commits, claims, waits, and is asked how its queue fares, all at once."""


def connect(opts: RedisOpts) -> Any:
    """
    Return a client for *opts*, not yet connected. It repeats nothing: only the caller knows what may be repeated.

    Raises:
        ConfigError: redis-py is missing, or an option cannot work. The message repeats no value.
    """
    try:
        import redis
        import redis.backoff
        import redis.retry
    except ImportError:
        raise ConfigError("this queue needs the redis package: pip install 'eventspool[redis]'") from None
    client = _make_client(redis, opts)
    if client is None:
        raise ConfigError(f"redis-py does not understand {_culprit(redis, opts)}")
    pool = client.connection_pool
    settings = pool.connection_kwargs
    if settings.get("decode_responses"):  # redis-py takes "false" for true, too
        raise ConfigError("the Redis URL must not set decode_responses: payloads are no text")
    for name in ("socket_timeout", "socket_connect_timeout"):
        if not 0 < settings[name] < _ENDLESS:
            raise ConfigError(f"{name} in the Redis URL must be a number of seconds, and more than 0")
    if pool.max_connections < _LEAST_CONNECTIONS:
        raise ConfigError(f"max_connections in the Redis URL must be at least {_LEAST_CONNECTIONS}")
    return client


def _make_client(redis: ModuleType, opts: RedisOpts) -> Any:
    """Return a client, or ``None`` where redis-py does not understand *opts*: its error may quote a password."""
    kwargs: dict[str, Any] = {
        "socket_timeout": opts.socket_timeout,
        "socket_connect_timeout": opts.socket_connect_timeout,
        "socket_keepalive": True,
        "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        "protocol": 2,  # the same replies from every server and redis-py
    }
    tls = {
        "ssl_ca_certs": opts.ssl_ca_certs,
        "ssl_certfile": opts.ssl_certfile,
        "ssl_keyfile": opts.ssl_keyfile,
        "ssl_cert_reqs": opts.ssl_cert_reqs,
        "ssl_check_hostname": opts.ssl_check_hostname,
    }
    try:
        if opts.url is None:
            auth = {"username": opts.username, "password": opts.password}
            secure = {"ssl": True, **tls} if opts.ssl else {}
            kwargs |= auth | secure
            client = redis.Redis(host=opts.host, port=opts.port, db=opts.db, **kwargs)
        else:
            url = opts.url
            for ours, theirs in (("valkey://", "redis://"), ("valkeys://", "rediss://")):
                if url.startswith(ours):
                    url = theirs + url[len(ours) :]
            if url.startswith("unix://"):
                del kwargs["socket_keepalive"]
            client = redis.Redis.from_url(url, **(tls if url.startswith("rediss://") else {}), **kwargs)
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # an unknown option of the URL shows only now
    except (TypeError, ValueError, AttributeError, redis.RedisError):
        return None
    return client


def _culprit(redis: ModuleType, opts: RedisOpts) -> str:
    """Return what redis-py does not understand: an option of the URL, where it understands the URL without it."""
    bare, _, query = (opts.url or "").partition("?")
    if query and _make_client(redis, replace(opts, url=bare)) is not None:
        for name, value in parse_qsl(query):
            if _make_client(redis, replace(opts, url=f"{bare}?{urlencode({name: value})}")) is None:
                return f"the option {name!r} of the Redis URL, or its value"
    return "the Redis URL or its options"


class Connection:
    """
    One queue's way to its server: connects when first used, from any thread.

    Whatever the driver raises becomes ``QueueUnavailable`` or ``QueueError``, with nothing of the driver's attached to it.

    Args:
        opts: Where the server is.
        client: A ready client to use instead. It stays open on ``close``.
        keys: All keys of the queue: every script gets them in this order.
        queue: Names the queue in messages.
    """

    def __init__(self, opts: RedisOpts, client: Any, keys: Sequence[str], queue: str) -> None:
        self._opts = opts
        self._given = client
        self._keys = keys
        self._queue = queue
        self._client: Any = None
        self._waiter: Waiter | None = None
        self._lock = threading.Lock()

    def call(self, work: Callable[[Any], _T]) -> _T:
        """Return what *work* makes of the client."""
        client, _ = self._connect()
        return self._guard(lambda: work(client))

    def execute(self, *command: Any) -> Any:
        """Return the reply to a plain command."""
        name, *args = command  # by its name as text the driver knows how to read the reply
        return self.call(lambda client: client.execute_command(name, *map(_raw, args)))

    def run(self, name: str, *args: Any) -> Any:
        """Return the reply of the script *name*."""
        return self.call(
            lambda client: self.with_script(name, args, lambda command: client.execute_command(*command))
        )

    def with_script(self, name: str, args: Sequence[Any], send: Callable[[Sequence[Any]], _T]) -> _T:
        """
        Have *send* send the command that runs the script *name*; once more where the server does not know it.

        The second time the command carries the source. So whatever *send* sends along must bear repeating.
        """
        code = script(name)
        tail = (len(self._keys), *self._keys, *map(_raw, args))
        try:
            return send(("EVALSHA", code.sha, *tail))
        except Exception as error:
            if error_code(error) != "NOSCRIPT":
                raise
        return send(("EVAL", code.source, *tail))

    def wait(self, key: str, timeout: float) -> bool:
        """Block until the list *key* yields a token (True), an interrupt or *timeout* (False)."""
        _, waiter = self._connect()
        return self._guard(lambda: waiter.wait(key, timeout))

    def interrupt(self) -> None:
        """End the wait under way, or the next one."""
        waiter = self._waiter
        if waiter is not None:
            waiter.interrupt()

    def close(self) -> None:
        """Close what we opened. The next call connects again."""
        with self._lock:
            client, waiter = self._client, self._waiter
            self._client = self._waiter = None
        if waiter is not None:
            waiter.close()
        if client is not None and client is not self._given:
            self._guard(client.close)

    def abandon(self) -> None:
        """In a forked child: forget the parent's handles without closing them."""
        _abandoned.append((self._client, self._waiter, self._lock))
        self._client = self._waiter = None
        self._lock = threading.Lock()

    def _connect(self) -> tuple[Any, Waiter]:
        with self._lock:
            if self._client is None:
                self._client = _connect(self._opts) if self._given is None else _checked(self._given)
                self._waiter = None
            if self._waiter is None:
                self._waiter = Waiter(self._client)
            return self._client, self._waiter

    def _guard(self, work: Callable[[], _T]) -> _T:
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - a driver's text may hold event data: none may pass
            code = error_code(error)
            failure = translate(error, self._queue)
        if code == "READONLY":
            # After a failover the address leads to the new master, but open connections to the old one.
            with contextlib.suppress(Exception):
                self._client.connection_pool.disconnect(inuse_connections=False)
        raise failure  # outside of `except`, so that not even its context leads to the driver's error


def _connect(opts: RedisOpts) -> Any:
    """Return a client, as ``connect``; a backend raises no other errors than ours for queues."""
    try:
        return connect(opts)
    except ConfigError as wrong:
        raise QueueError(str(wrong)) from None


def _raw(part: Any) -> Any:
    """Return *part* of a command, text as bytes: a job id of somebody else's may be no text, and must find its job."""
    return part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part


def _checked(client: Any) -> Any:
    settings = getattr(getattr(client, "connection_pool", None), "connection_kwargs", {})
    if settings.get("decode_responses"):
        raise QueueError("a client with decode_responses=True cannot carry payloads: pass one without")
    return client
