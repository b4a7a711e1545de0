"""What a Redis server tells of its settings, and the longest batch that they allow."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from eventspool._backends.redis.codec import decode_text
from eventspool._backends.redis.errors import error_code, find_refusal, is_reply
from eventspool._backends.redis.standing import find_movable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MovableBytes", "ask_info", "ask_longest", "ask_settings", "find_longest"]

_AROUND: Final = 64 << 10
"""Bytes that a command needs beside the batch, mostly for the names of keys and for the script that indexes it."""
_BELIEVED: Final = 60.0
"""Seconds for which it is believed how large a partition may be: an operator may set the server up anew, or replace it."""
_LIMITS: Final = ("proto-max-bulk-len", "client-query-buffer-limit")


def ask_info(client: Any, *sections: str) -> dict[str, object]:
    """Return *sections* of ``INFO``, the default ones where none is named; nothing where the ACL user may not ask."""
    found: dict[str, object] = {}
    try:
        for section in sections or (None,):
            found |= client.info(section) if section else client.info()
    except Exception as error:
        if find_refusal(error) is None:
            raise
    return found


def ask_settings(client: Any, *names: str) -> dict[str, str] | None:
    """Return what ``CONFIG GET`` says of *names*, ``None`` where the ACL user may not ask."""
    found: dict[str, str] = {}
    try:
        for name in names:
            found |= {decode_text(key): decode_text(value) for key, value in client.config_get(name).items()}
    except Exception as error:
        # Hosted servers that have no such command reply ERR, each in other words.
        if is_reply(error) and error_code(error) in ("NOPERM", "ERR"):
            return None
        raise
    return found


def ask_longest(client: Any) -> float:
    """Return the most bytes that one batch may have on this server, as far as it says; else infinity."""
    return find_longest(ask_info(client, "memory"), ask_settings(client, *_LIMITS) or {})


class MovableBytes:
    """Most bytes of a partition that its cluster can move to another node, as the node that has it told last."""

    def __init__(self) -> None:
        self.known: float | None = None
        """Infinity where size does not matter; ``None`` before the node was asked."""
        self._asked_at = 0.0

    def find(self, client: Any) -> float:
        """Return it. Where it is bounded, the node is asked again from time to time."""
        now = time.monotonic()
        if self.known is None or (self.known != float("inf") and now - self._asked_at > _BELIEVED):
            self._asked_at = now
            self.take(ask_info(client, "server", "cluster"), ask_settings(client, "proto-max-bulk-len"))
        return self.known or 0.0

    def take(self, info: Mapping[str, object], settings: Mapping[str, str] | None) -> None:
        """Go by what the node has told: see ``find_movable``."""
        self.known = find_movable(info, settings)


def find_longest(info: Mapping[str, object], settings: Mapping[str, str]) -> float:
    """
    Return the most bytes that one batch may have, infinity where nothing limits it.

    Args:
        info: The section ``memory`` of ``INFO``. The server needs some of ``maxmemory`` for itself. Where nothing else is left
            it can store nothing at all, which is an outage and not the fault of a batch.
        settings: ``proto-max-bulk-len`` and ``client-query-buffer-limit``, where they are known.
    """
    bounds = [
        _number(settings.get("proto-max-bulk-len")),
        _number(settings.get("client-query-buffer-limit")) - _AROUND,
        _number(info.get("maxmemory")) - _number(info.get("used_memory_startup")),
    ]
    return min([float(bound) for bound in bounds if bound > 0], default=float("inf"))


def _number(value: object) -> int:
    return int(str(value)) if str(value).isdecimal() else 0
