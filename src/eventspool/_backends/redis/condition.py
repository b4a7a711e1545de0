"""
Look whether a Redis server takes writes, without writing.

Between MULTI and EXEC a server checks each command as it would before running it: the user's permissions, its memory, its
role, its replicas, its disk. So one command that stores and one that frees are put on the list of a transaction, and the list
is thrown away. The reply is the server's own word, for which nothing has to be computed from its figures.
"""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING, Any, Final

from eventspool._backends.condition import FULL, PERMISSION, READ_ONLY, REFUSED, REPLICAS, SAVING, Condition
from eventspool._backends.redis.clocks import read_clocks
from eventspool._backends.redis.codec import decode_text
from eventspool._backends.redis.errors import error_code, find_place, is_reply, translate
from eventspool._backends.redis.standing import find_advice

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ask_condition", "list_others"]

_REFUSALS: Final = {
    "OOM": FULL,
    "READONLY": READ_ONLY,
    "NOREPLICAS": REPLICAS,
    "MISCONF": SAVING,
    "NOPERM": PERMISSION,
}
_ROOT: Final = re.compile(r"(.*):\{(.*):0\}:m", re.DOTALL)
_SEEK_SECONDS: Final = 0.3
"""Most seconds for which other queues are sought. On a server of millions of keys some are then not found."""
_MOST_OTHERS: Final = 20


def ask_condition(client: Any, prefix: str, queue: str) -> Condition:
    """
    Return how the server is. Raises what the driver raises where it does not answer.

    Args:
        client: A client of redis-py's.
        prefix: What the queue's keys begin with.
        queue: How messages name the queue.
    """
    meta, probe = f"{prefix}m", "probe"
    pool = client.connection_pool
    connection = pool.get_connection()
    is_intact = False
    takes: Any = None
    gives: Any = None
    begun: Any = None
    try:
        before = time.time()
        known, moment, begun = _ask(connection, ("HGETALL", meta), ("TIME",), ("MULTI",))
        middle = (before + time.time()) / 2
        if not isinstance(begun, Exception):  # outside of a transaction the commands would be run
            commands = (("HSETNX", f"{prefix}d", probe, ""), ("HDEL", f"{prefix}n", probe), ("DISCARD",))
            takes, gives, discarded = _ask(connection, *commands)
            begun = discarded  # a user that may not discard it leaves the transaction to the end of the connection
        is_intact = not isinstance(begun, Exception)
    finally:
        if not is_intact:
            connection.disconnect()
        pool.release(connection)
    if isinstance(known, Exception):
        raise known
    fields = _pair(known)
    code = error_code(takes) if isinstance(takes, Exception) else ""
    because = ""
    if code:
        because = str(translate(takes, queue, find_place(client), advice=find_advice(client, takes)))
    return Condition(
        refuses=_REFUSALS.get(code, REFUSED) if code else "",
        because=because,
        drains=not isinstance(gives, Exception),
        is_used="epoch" in fields,
        clock_ahead=None if isinstance(moment, Exception) else read_moment(moment) - middle,
        clocks=read_clocks(fields, middle),
    )


def read_moment(reply: Sequence[Any]) -> float:
    """Return what TIME has replied, in seconds since the epoch."""
    return int(reply[0]) + int(reply[1]) / 1e6


def _ask(connection: Any, *commands: Sequence[Any]) -> list[Any]:
    """Send *commands* in one write, and return their replies; an error of the server's as a value."""
    connection.send_packed_command(connection.pack_commands(commands))
    return [_read(connection) for _ in commands]


def _read(connection: Any) -> Any:
    try:
        return connection.read_response()
    except Exception as error:
        if not is_reply(error):
            raise
        return error


def _pair(reply: Any) -> dict[str, str]:
    """Return the hash that *reply* holds: a list of names and values, or a mapping where the connection speaks RESP3."""
    if isinstance(reply, dict):
        return {decode_text(name): decode_text(value) for name, value in reply.items()}
    words = [decode_text(each) for each in reply]
    return dict(zip(words[::2], words[1::2], strict=True))


# Other queues


def list_others(client: Any, prefix: str) -> tuple[str, ...]:
    """
    Return the queues that were used on the server of *client*, as an operator would name them.

    Args:
        client: A client of redis-py's.
        prefix: What the queue's own keys begin with: others of the same prefix are named by their names alone.
    """
    until = time.monotonic() + _SEEK_SECONDS
    own = prefix.partition(":{")[0]
    found: list[str] = []
    with contextlib.suppress(Exception):  # the user may not scan: then nothing is known of others
        found += _list_in(client, own, until)
        settings = client.connection_pool.connection_kwargs
        here = int(settings.get("db") or 0)
        for name in client.info("keyspace"):
            number = int(name.removeprefix("db")) if name.removeprefix("db").isdecimal() else here
            if number != here and time.monotonic() < until:
                found += _list_elsewhere(client, number, own, until)
    return tuple(found[:_MOST_OTHERS])


def _list_elsewhere(client: Any, database: int, own: str, until: float) -> list[str]:
    pool = client.connection_pool
    settings = {**pool.connection_kwargs, "db": database}
    other = type(client)(connection_pool=type(pool)(connection_class=pool.connection_class, **settings))
    try:
        return [f"{name} (in database {database})" for name in _list_in(other, own, until)]
    finally:
        other.close()


def _list_in(client: Any, own: str, until: float) -> list[str]:
    cursor, found = 0, []
    while True:
        cursor, keys = client.execute_command("SCAN", cursor, "MATCH", "*:{*:0}:m", "COUNT", 1000)
        for key in map(decode_text, keys):
            named = _ROOT.fullmatch(key)
            if named and any(client.execute_command("HMGET", key, "epoch", "ring")):
                found.append(named[2] if named[1] == own else f"{named[2]} (with the prefix {named[1]})")
        if not int(cursor) or time.monotonic() > until or len(found) >= _MOST_OTHERS:
            return sorted(found)
