"""The edge to the driver: make a client from options, run scripts on it, and let none of its errors past."""

from __future__ import annotations

import contextlib
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from eventspool._backends.redis.credentials import find_credentials
from eventspool._backends.redis.errors import (
    error_code,
    find_place,
    find_refusal,
    is_drivers,
    is_reply,
    refuse,
    translate,
)
from eventspool._backends.redis.kept import KeptConnection
from eventspool._backends.redis.packer import Packed, Packer
from eventspool._backends.redis.probe import find_refused
from eventspool._backends.redis.scripts import script
from eventspool._backends.redis.waiter import Waiter
from eventspool._config.redis_url import read_redis_url
from eventspool._exceptions import ConfigError, QueueError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import ModuleType

    from eventspool._backends.redis.scripts import Script
    from eventspool._config import RedisOpts
    from eventspool._config.redis_url import RedisURL

__all__ = ["Connection", "connect"]

_T = TypeVar("_T")
_ENDLESS = 1e9
_abandoned: list[object] = []  # a forked child must not run the destructors of its parent's connections

_LEAST_CONNECTIONS = 4
"""A client may commit, claim, wait, and count what is in its queue, all at the same time."""


def connect(opts: RedisOpts) -> Any:
    """
    Return a client for *opts*, not yet connected. It repeats no command: only its caller knows what may be repeated.

    Raises:
        ConfigError: redis-py is missing, or an option cannot work. The message repeats no value.
    """
    try:
        import redis
        import redis.backoff
        import redis.retry
    except ImportError:
        raise ConfigError("this queue needs the redis package: pip install 'eventspool[redis]'") from None
    url = None if opts.url is None else read_redis_url(opts.url)
    client = _make_client(redis, opts, url)
    if client is None:
        raise ConfigError(f"redis-py does not understand {_culprit(redis, opts, url)}")
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


def _make_client(redis: ModuleType, opts: RedisOpts, url: RedisURL | None) -> Any:
    """Return a client; ``None`` where redis-py does not understand *opts*, since its error may quote a password."""
    kwargs: dict[str, Any] = {
        "socket_timeout": opts.socket_timeout,
        "socket_connect_timeout": opts.socket_connect_timeout,
        "retry": redis.retry.Retry(redis.backoff.NoBackoff(), 0),
        "protocol": 2,  # the same replies from every server and redis-py
        "command_packer": Packer(),
        **find_credentials(opts, url, redis.ConnectionError),
    }
    tls = {
        "ssl_ca_certs": opts.ssl_ca_certs,
        "ssl_certfile": opts.ssl_certfile,
        "ssl_keyfile": opts.ssl_keyfile,
        "ssl_cert_reqs": opts.ssl_cert_reqs,
        "ssl_check_hostname": opts.ssl_check_hostname,
    }
    if url is None:
        kwargs |= {"host": opts.host, "port": opts.port, "db": opts.db}
    place = url.plain if url else "rediss://" if opts.ssl else "redis://"
    if not place.startswith("unix://"):
        kwargs["socket_keepalive"] = True
    try:
        client = redis.Redis.from_url(place, **(tls if place.startswith("rediss://") else {}), **kwargs)
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # an unknown option of the URL shows only now
    except (TypeError, ValueError, AttributeError, redis.RedisError):
        return None
    return client


def _culprit(redis: ModuleType, opts: RedisOpts, url: RedisURL | None) -> str:
    """Return what redis-py does not understand: an option of the URL, where it understands the URL without it."""
    bare, _, query = (url.plain if url else "").partition("?")
    if url and query and _make_client(redis, opts, replace(url, plain=bare)) is not None:
        for name, value in parse_qsl(query):
            if _make_client(redis, opts, replace(url, plain=f"{bare}?{urlencode({name: value})}")) is None:
                return f"the option {name!r} of the Redis URL, or its value"
    return "the Redis URL or its options"


class Connection:
    """
    One queue's way to its server: connects when first used, from any thread.

    The way of a command is short: ``run`` or ``execute`` -> ``call``, which connects and lets none of the driver's errors out
    -> ``run_on``, which knows how a server may be asked to run a script -> ``_send``. What the driver raises becomes
    ``QueueUnavailable`` or ``QueueError``, with nothing of the driver's attached to it.

    Args:
        opts: Where the server is.
        keys: All keys of the queue: every script gets them in this order.
        queue: Names the queue in messages.
    """

    def __init__(self, opts: RedisOpts, keys: Sequence[str], queue: str) -> None:
        self._opts = opts
        self._keys = keys
        self._queue = queue
        self._client: Any = None
        self._waiter: Waiter | None = None
        self._lock = threading.Lock()
        self._knows_evalsha = True
        self._kept = KeptConnection(
            _LEAST_CONNECTIONS + 2
        )  # two threads may keep one each at the same instant
        self._addressed: dict[str, Packed] = {}  # by script: its digest and the keys

    @property
    def client(self) -> Any:
        """The client that is used now; ``None`` before the first call."""
        return self._client

    def execute(self, name: str, *args: Any) -> Any:
        """Return the reply to a plain command. Its *name* stays text, by which redis-py knows how to read the reply."""
        return self.call(lambda client: client.execute_command(name, *args))

    def run(self, name: str, *args: Any) -> Any:
        """Return the reply of the script *name*."""
        return self.call(self.run_on, name, args)

    def call(self, work: Callable[..., _T], *args: Any) -> _T:
        """Return what *work* makes of the client and *args*. What the driver raises meanwhile comes out as our error."""
        return self._guard(lambda: work(self._connect()[0], *args))

    def run_on(
        self, client: Any, name: str, args: Sequence[Any], before: Sequence[Sequence[Any]] = ()
    ) -> Any:
        """
        Return the reply of the script *name*, from within a ``call``.

        The script is called by its digest. Where the server does not know it the source is sent, and where the server does
        not take that, the script is loaded first.

        Args:
            client: The client that ``call`` has given.
            name: The script.
            args: What the script is told.
            before: Commands that go ahead of it in the same transaction. They are sent as often as the script, up to three
                times, and must bear that.
        """
        code = script(name)
        addressed = self._addressed.get(name)
        if addressed is None:
            addressed = self._addressed[name] = Packed(code.sha, len(self._keys), *self._keys)
        by_digest = ("EVALSHA", addressed, *args)
        if self._knows_evalsha:
            try:
                return self._send(client, by_digest, before)
            except Exception as error:
                if _is_refused(error, "evalsha"):
                    self._knows_evalsha = False
                elif error_code(error) != "NOSCRIPT":
                    raise
        try:
            return self._send(client, ("EVAL", code.source, len(self._keys), *self._keys, *args), before)
        except Exception as error:
            if not (self._knows_evalsha and _is_refused(error, "eval") and _load(client, code)):
                raise
        return self._send(client, by_digest, before)

    def _send(self, client: Any, command: Sequence[Any], before: Sequence[Sequence[Any]]) -> Any:
        """Return the reply to *command*; with the commands *before* it in one transaction, where there are any."""
        if before:
            pipeline = client.pipeline(transaction=True)
            for each in (*before, command):
                pipeline.execute_command(*each)
            return pipeline.execute()[-1]
        # What execute_command of redis-py does besides (it reads replies by the command's name, repeats, measures) takes a
        # good part of the time of a durable call, and a script needs none of it.
        pool = client.connection_pool
        connection = self._kept.take(pool)
        is_intact = False
        try:
            connection.send_command(*command)
            reply = connection.read_response()
            is_intact = True
            return reply
        except Exception as error:
            is_intact = is_reply(error)
            raise
        finally:
            if is_intact:
                self._kept.keep(pool, connection)
            else:  # the reply may be under way still
                connection.disconnect()
                pool.release(connection)

    def refuse(self, refused: Mapping[str, str]) -> QueueError:
        """Return the error that says which commands the server refuses."""
        return refuse(self._queue, find_place(self._client), refused, self._keys[0][:-1])

    def wait(self, key: str, timeout: float) -> bool:
        """Block until the list *key* yields a token (True), an interrupt or *timeout* (False)."""
        return self._guard(lambda: self._connect()[1].wait(key, timeout))

    def interrupt(self) -> None:
        """End the wait under way, or the next one."""
        if (waiter := self._waiter) is not None:
            waiter.interrupt()

    def close(self) -> None:
        """Close all connections. The next call connects again."""
        with self._lock:
            client, waiter = self._client, self._waiter
            self._client = self._waiter = None
        if waiter is not None:
            waiter.close()
        self._kept.drop()
        if client is not None:
            self._guard(client.close)

    def abandon(self) -> None:
        """In a forked child: forget the parent's handles without closing them."""
        _abandoned.append((self._client, self._waiter, self._lock))
        self._client = self._waiter = None
        self._lock = threading.Lock()

    def _connect(self) -> tuple[Any, Waiter]:
        with self._lock:
            if self._client is None:
                self._client = _connect(self._opts)
                self._waiter = None
            if self._waiter is None:
                self._waiter = Waiter(self._client)
            return self._client, self._waiter

    def _guard(self, work: Callable[[], _T]) -> _T:
        outer = sys.exception()
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - the text of a driver's error may hold event data: no such error may leave
            code = error_code(error)
            failure = translate(
                error,
                self._queue,
                find_place(self._client),
                outer=outer,
                refused=self._find_unnamed(error),
                keys=self._keys[0][:-1],
            )
            was_cut_off = not is_drivers(error)
        except BaseException:
            self._drop_idle()
            raise
        # After a failover the address leads to the new master, but open connections to the old one.
        if was_cut_off or code == "READONLY":
            self._drop_idle()
        raise failure  # outside of `except`, so that not even its context leads to the driver's error

    def _drop_idle(self) -> None:
        """
        Close connections that are not in use.

        Where an exception came between a command and its reply, the next command would take that reply for its own.
        """
        with contextlib.suppress(Exception):
            self._kept.drop()
            self._client.connection_pool.disconnect(inuse_connections=False)

    def _find_unnamed(self, error: Exception) -> Mapping[str, str] | None:
        """Ask the server which commands it refuses, where it refused one of a script's without naming it."""
        refusal = find_refusal(error)
        if refusal is None or refusal.command or refusal.kind == "keys":
            return None
        with contextlib.suppress(Exception):  # where asking fails, the caller says what is known
            return find_refused(self._client, self._keys[0])
        return None


def _connect(opts: RedisOpts) -> Any:
    """Return a client, as ``connect`` does. A queue's methods raise the errors of the queue alone."""
    try:
        return connect(opts)
    except ConfigError as wrong:
        raise QueueError(str(wrong)) from None


def _is_refused(error: Exception, command: str) -> bool:
    refusal = find_refusal(error)
    return refusal is not None and refusal.command == command


def _load(client: Any, code: Script) -> bool:
    """Load a script into the server. Return False where it refuses that, too."""
    try:
        client.script_load(code.source)
    except Exception as error:
        if not _is_refused(error, "script|load"):
            raise
        return False
    return True
