"""
Which queues a Redis has, also those of Bull, and how much memory they take there.

All masters of a cluster are scanned, in small steps that hold up nobody. A queue has few keys whatever it holds, and
the server estimates the memory of each by a few samples.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from eventspool._backends.found import FoundQueue
from eventspool._backends.redis.codec import decode_text
from eventspool._backends.redis.errors import error_code, find_place, is_drivers, is_reply, translate
from eventspool._backends.redis.topology import open_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from eventspool._backends.redis.topology import ClientSource
    from eventspool._config import RedisOpts

__all__ = ["list_queues"]

_STEP: Final = 1000
_SAMPLES: Final = 20
"""Entries of each key that the server looks at to estimate its size."""
_KEY: Final = re.compile(r"(.*):\{([^{}:]+):([^{}:]*)\}:(\w)", re.DOTALL)
_BULL: Final = (
    "wait",
    "active",
    "paused",
    "delayed",
    "failed",
    "completed",
    "stalled",
    "meta-paused",
    "meta",
)


def list_queues(target: RedisOpts, *, with_bull: bool = True) -> list[FoundQueue]:
    """
    Return the queues that are there, by prefix and name.

    Args:
        target: Where Redis is.
        with_bull: Look for those of Bull, too.

    Raises:
        QueueUnavailable: It cannot be reached.
        QueueError: Its user may not do this.
    """
    source = open_source(target)
    masters: list[Any] = []
    try:
        masters += source.masters()
        keys: dict[tuple[str, str], list[tuple[Any, bytes]]] = defaultdict(list)
        used: set[tuple[str, str]] = set()
        for client in masters:
            for key in _scan(client, "*:{*:*}:?"):
                if (named := _KEY.fullmatch(decode_text(key))) is not None:
                    place = (named[1], named[2])
                    keys[place].append((client, key))
                    # A store has an epoch from its first job on, each partition its own.
                    if (
                        named[4] == "m"
                        and place not in used
                        and client.execute_command("HEXISTS", key, "epoch")
                    ):
                        used.add(place)
        found = [FoundQueue(name, prefix, memory_bytes=_weigh(keys[prefix, name])) for prefix, name in used]
        if with_bull:
            for client in masters:
                found += _find_bull(client)
        return sorted(found, key=lambda each: (each.is_bull, each.prefix, each.queue_name))
    except Exception as error:
        if not is_drivers(error):
            raise
        server = find_place(masters[0] if masters else _any_client(source))
        raise translate(error, "these queues", server) from None
    finally:
        source.close()


def _any_client(source: ClientSource) -> Any:
    with contextlib.suppress(Exception):
        return source.client_for("")
    return None


def _scan(client: Any, pattern: str) -> Iterator[bytes]:
    cursor, seen = 0, set()
    while True:
        cursor, keys = client.execute_command("SCAN", cursor, "MATCH", pattern, "COUNT", _STEP)
        for key in keys:
            if key not in seen:
                seen.add(key)
                yield key
        if not int(cursor):
            return


def _weigh(keys: Sequence[tuple[Any, bytes]]) -> int | None:
    """Return the bytes of the server's memory that *keys* take; ``None`` where the user may not ask for that."""
    total = 0
    for client in {id(client): client for client, _ in keys}.values():
        own = [key for owner, key in keys if owner is client]
        sizes = _ask_each(client, lambda pipeline, key: pipeline.memory_usage(key, samples=_SAMPLES), own)
        for size in sizes:
            if isinstance(size, Exception):
                if is_reply(size) and error_code(size) in (
                    "NOPERM",
                    "ERR",
                ):  # hosted servers lack the command
                    return None
                raise size
            total += size or 0
    return total


def _find_bull(client: Any) -> list[FoundQueue]:
    bases = [decode_text(key).removesuffix(":id") for key in _scan(client, "*:*:id")]
    found = []
    for base in bases:
        prefix, _, name = base.rpartition(":")
        own = [f"{base}:{place}" for place in _BULL]
        types = [
            decode_text(kind) for kind in _ask_each(client, lambda pipeline, key: pipeline.type(key), own)
        ]
        if not any(kind != "none" for kind in types):
            continue  # a counter of another program's
        sizes = [
            _size(client, key, kind) if place in ("wait", "active", "paused", "delayed", "failed") else 0
            for place, key, kind in zip(_BULL, own, types, strict=True)
        ]
        found.append(FoundQueue(name, prefix, is_bull=True, jobs=sum(sizes[:4]), failed_jobs=sizes[4]))
    return found


def _size(client: Any, key: str, kind: str) -> int:
    return int(client.llen(key) if kind == "list" else client.zcard(key) if kind == "zset" else 0)


def _ask_each(client: Any, ask: Callable[[Any, Any], Any], keys: Sequence[Any]) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        ask(pipeline, key)
    return list(pipeline.execute(raise_on_error=False))
