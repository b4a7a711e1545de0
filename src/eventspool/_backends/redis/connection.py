"""The edge to the driver: run scripts on the server that has a queue, and let none of the driver's errors past."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

from eventspool._backends.redis.errors import (
    error_code,
    find_place,
    find_refusal,
    is_drivers,
    is_reply,
    refuse,
    translate,
)
from eventspool._backends.redis.exchange import exchange, is_whole
from eventspool._backends.redis.kept import KeptConnection
from eventspool._backends.redis.packer import Packed
from eventspool._backends.redis.probe import find_refused
from eventspool._backends.redis.scripts import script
from eventspool._backends.redis.standing import find_advice
from eventspool._backends.redis.topology import open_source
from eventspool._backends.redis.waiter import Waiter
from eventspool._exceptions import ConfigError, QueueError, Unconfirmed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eventspool._backends.redis.scripts import Script
    from eventspool._backends.redis.shared import SharedSource
    from eventspool._backends.redis.topology import ClientSource
    from eventspool._config import RedisOpts

__all__ = ["Connection"]

_T = TypeVar("_T")
_ELSEWHERE: Final = frozenset(
    {"", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MOVED", "NOREPLICAS", "READONLY", "UNBLOCKED"}
)
"""Codes after which another server may have the queue; "" is a connection that failed. A lone old master has no replicas."""
_abandoned: list[object] = []  # a forked child must not run the destructors of its parent's connections


class Connection:
    """
    One queue's way to its server: connects when first used, from any thread.

    A server that says that another one has the queue (``MOVED``) has done nothing, so the command is sent once more at once,
    to that other server. After any other sign that the queue may be elsewhere now, the call fails as in an outage, and the
    next one looks where the queue is.

    The way of a command is short: ``run`` or ``execute`` -> ``call``, which connects and lets none of the driver's errors out
    -> ``run_on``, which knows how a server may be asked to run a script -> ``_send``. What the driver raises becomes
    ``QueueUnavailable`` or ``QueueError``, with nothing of the driver's attached to it.

    Args:
        opts: Where the server is.
        keys: All keys of the queue: every script gets them in this order.
        queue: Names the queue in messages.
        source: Where clients come from, where several queues share that. Whoever gives it closes it.
    """

    def __init__(
        self, opts: RedisOpts, keys: Sequence[str], queue: str, source: SharedSource | None = None
    ) -> None:
        self._opts = opts
        self._keys = keys
        self._queue = queue
        self._source: ClientSource | None = source
        self._shares = source is not None
        self._client: Any = None
        self._waiter: Waiter | None = None
        self._lock = threading.Lock()
        self._knows_evalsha = True
        self._kept = KeptConnection() if source is None else source.kept
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
        return self._guard(lambda client: work(client, *args))

    def run_on(
        self,
        client: Any,
        name: str,
        args: Sequence[Any],
        before: Sequence[Sequence[Any]] = (),
        behind: Sequence[Any] = (),
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
            behind: A command that goes behind it, in the same write. Its own reply, or the error, comes with that of the
                script, as a pair.
        """
        code = script(name)
        addressed = self._addressed.get(name)
        if addressed is None:
            addressed = self._addressed[name] = Packed(code.sha, len(self._keys), *self._keys)
        by_digest = ("EVALSHA", addressed, *args)
        if self._knows_evalsha:
            try:
                return self._send(client, by_digest, before, behind)
            except Exception as error:
                if _is_refused(error, "evalsha"):
                    self._knows_evalsha = False
                elif error_code(error) != "NOSCRIPT":
                    raise
        try:
            by_source = ("EVAL", code.source, len(self._keys), *self._keys, *args)
            return self._send(client, by_source, before, behind)
        except Exception as error:
            if not (self._knows_evalsha and _is_refused(error, "eval") and _load(client, code)):
                raise
        return self._send(client, by_digest, before, behind)

    def _send(
        self,
        client: Any,
        command: Sequence[Any],
        before: Sequence[Sequence[Any]],
        behind: Sequence[Any],
    ) -> Any:
        """Return the reply to *command*; with the commands *before* it in one transaction, where there are any."""
        if before and not behind:
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
            if behind:
                replies = exchange(connection, command, before, behind)
                is_intact = is_whole(replies[1])
                return replies
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
        return self._guard(lambda client: self._find_waiter(client).wait(key, timeout))

    def interrupt(self) -> None:
        """End the wait under way, or the next one."""
        if (waiter := self._waiter) is not None:
            waiter.interrupt()

    def stop_waiting(self) -> None:
        """Give up the connection on which this queue was waited for: another wait makes a new one."""
        with self._lock:
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.retire()

    def look_anew(self) -> None:
        """Have the next call ask which server has the queue."""
        self._look_anew(self._client)

    def close(self) -> None:
        """Close all connections. The next call connects again."""
        with self._lock:
            source, waiter = self._source, self._waiter
            self._client = self._waiter = None
        if waiter is not None:
            waiter.close()
        self._kept.drop()
        if source is not None and not self._shares:
            failure: QueueError | None = None
            try:
                source.close()
            except Exception as error:  # noqa: BLE001 - as in ``_guard``
                failure = translate(error, self._queue)
            if failure is not None:
                raise failure

    def abandon(self) -> None:
        """In a forked child: forget the parent's handles without closing them."""
        _abandoned.append((self._client, self._waiter, self._lock))
        self._client = self._waiter = None
        self._lock = threading.Lock()
        if self._source is not None and not self._shares:
            self._source.abandon()

    def _connect(self) -> Any:
        """Return a client of the server that has the queue, as far as is known."""
        client = self._client
        if client is None:
            with self._lock:
                if self._source is None:
                    self._source = _open_source(self._opts)
                source = self._source
            client = source.client_for(self._keys[0])  # not within the lock: it may ask other servers
            self._client = client
            waiter = self._waiter
            if waiter is not None and waiter.client is not client:
                waiter.retire()  # no wait is to go on where the queue was before
        return client

    def _find_waiter(self, client: Any) -> Waiter:
        with self._lock:
            before = self._waiter
            if before is None or before.client is not client:
                self._waiter = Waiter(client)
                if before is not None:
                    before.retire()
            assert self._waiter is not None  # noqa: S101 - made above
            return self._waiter

    def _look_anew(self, client: Any, *, moved: bool = False) -> None:
        """Have the next call ask which server has the queue, since *client* leads to one that has it no more."""
        if client is None or self._source is None:
            return
        with self._lock:
            if self._client is client:
                self._client = None
        self._kept.drop()
        self._source.refresh(client, moved=moved)

    def _guard(self, work: Callable[[Any], _T]) -> _T:
        outer = sys.exception()
        client: Any = None
        try:
            try:
                client = self._connect()
                return work(client)
            except Exception as error:
                if error_code(error) != "MOVED":
                    raise
            self._look_anew(client, moved=True)
            client = self._connect()
            return work(client)
        except Exception as error:  # noqa: BLE001 - the text of a driver's error may hold event data: no such error may leave
            code = error_code(error)
            failure = translate(
                error,
                self._queue,
                find_place(client),
                outer=outer,
                refused=self._find_unnamed(client, error),
                keys=self._keys[0][:-1],
                advice=find_advice(client, error),
            )
            was_cut_off = not is_drivers(error)
        except BaseException:
            self._drop_idle(client)
            raise
        # After a failover the address leads to the new master, but open connections to the old one.
        if was_cut_off or code == "READONLY":
            self._drop_idle(client)
        # An old master that is cut off from all others still answers, and no replica confirms anything there.
        if code in _ELSEWHERE or isinstance(failure, Unconfirmed):
            self._look_anew(client)
        raise failure  # outside of `except`, so that not even its context leads to the driver's error

    def _drop_idle(self, client: Any) -> None:
        """
        Close connections that are not in use.

        Where an exception came between a command and its reply, the next command would take that reply for its own.
        """
        with contextlib.suppress(Exception):
            self._kept.drop()
            client.connection_pool.disconnect(inuse_connections=False)

    def _find_unnamed(self, client: Any, error: Exception) -> Mapping[str, str] | None:
        """Ask the server which commands it refuses, where it refused one of a script's without naming it."""
        refusal = find_refusal(error)
        if refusal is None or refusal.command or refusal.kind == "keys":
            return None
        with contextlib.suppress(Exception):  # where asking fails, the caller says what is known
            refused = find_refused(client, self._keys[0])
            refused.pop("wait", None)  # no script calls it
            return refused
        return None


def _open_source(opts: RedisOpts) -> ClientSource:
    """Return a source, as ``open_source`` does. A queue's methods raise the errors of the queue alone."""
    try:
        return open_source(opts)
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
