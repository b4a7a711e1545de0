"""The commands of the server that a queue needs, which of them it can do without, and which of them a server refuses."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DISPENSABLE", "NEEDED", "Refusal", "name_refused", "read_refusal", "select_missing"]

NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "ping": (),
    "select": ("0",),
    "info": (),
    "eval": ("return 1", "0"),
    "evalsha": ("0" * 40, "0"),
    "script|load": ("return 1",),
    "time": (),
    "hset": ("KEY", "f", "v"),
    "hsetnx": ("KEY", "f", "v"),
    "hget": ("KEY", "f"),
    "hmget": ("KEY", "f"),
    "hgetall": ("KEY",),
    "hvals": ("KEY",),
    "hdel": ("KEY", "f"),
    "hlen": ("KEY",),
    "hstrlen": ("KEY", "f"),
    "hexists": ("KEY", "f"),
    "hscan": ("KEY", "0"),
    "zadd": ("KEY", "1", "m"),
    "zrem": ("KEY", "m"),
    "zcard": ("KEY",),
    "zscore": ("KEY", "m"),
    "zrank": ("KEY", "m"),
    "zcount": ("KEY", "0", "1"),
    "zrange": ("KEY", "0", "1"),
    "zrangebyscore": ("KEY", "0", "1"),
    "llen": ("KEY",),
    "rpush": ("KEY", "v"),
    "blpop": ("KEY", "1"),
    "get": ("KEY",),
    "set": ("KEY", "v"),
    "del": ("KEY",),
    "pttl": ("KEY",),
    "wait": ("0", "1"),
}
"""How to call each command that a queue uses, so that a probe can try it out. ``multi`` and ``exec`` are tried out apart."""

DISPENSABLE: Final[dict[str, str]] = {
    "ping": "nothing is lost without it",
    "select": "only database 0 can be used without it",
    "info": "settings that lose events are not warned of without it",
    "evalsha": "each step sends its whole script as EVAL without it",
    "script|load": "nothing is lost without it",
    "blpop": "the queue is looked at four times a second without it",
    "wait": "durability='replicated' acknowledges nothing without it",
}
"""Commands that a queue can do without, and what that costs."""

_OPERATING: Final = {"hlen", "hscan", "hvals", "zcount", "zrank"}
"""What operators need to look at a queue, list its jobs or mend it. A process that stores and delivers does not need these."""

_OTHERS: Final = {"multi", "exec", "auth", "hello", "config", "client", "script"}
_KEYS_WORDS: Final = ("access a key", "access one of the keys", "access at least one of the keys")
_DENIED_NAME: Final = re.compile(r"to run the '([A-Za-z|]+)'")
_UNKNOWN: Final = re.compile(
    r"unknown (?:redis |valkey )?command"
    r"|command\b.{0,40}\b(?:disabled|unsupported|not (?:available|allowed|supported|permitted|enabled))"
    r"|(?:disabled|unsupported|not (?:available|allowed|supported|permitted|enabled))\b.{0,20}\bcommand",
    re.IGNORECASE,
)
_UNKNOWN_NAME: Final = re.compile(r"[`'\"]([A-Za-z]+)(?:[ |][A-Za-z]+)?[`'\"]|\bcommand:? ([A-Za-z]+)\b")


class Refusal(NamedTuple):
    """
    A command that a server refused for what it is, not for its arguments.

    Args:
        kind: ``unknown``: the server has no command of that name. ``denied``: the ACL does not let the user call it.
            ``keys``: the ACL does not let the user use the queue's keys.
        command: The command's name; "" where the server does not say.
    """

    kind: Literal["unknown", "denied", "keys"]
    command: str = ""


def read_refusal(code: str, words: str) -> Refusal | None:
    """
    Return what a server refused with *code* and *words*; ``None`` where it did not refuse a command for what it is.

    Only names of commands that this module knows are taken from the words. Anything else may be an argument.
    """
    if code == "NOPERM":
        if any(phrase in words for phrase in _KEYS_WORDS):
            return Refusal("keys")
        return Refusal("denied", _known(found[1]) if (found := _DENIED_NAME.search(words)) else "")
    head = words.partition(", with args")[0][:200]
    if "EXEC without MULTI" in head:  # redis-py does not look at the reply to MULTI
        return Refusal("unknown")
    if code == "ERR" and _UNKNOWN.search(head):
        found = _UNKNOWN_NAME.search(head)
        return Refusal("unknown", _known(found[1] or found[2]) if found else "")
    return None


def _known(name: str) -> str:
    name = name.lower()
    if name in NEEDED or name in _OTHERS:
        return "script|load" if name == "script" else name
    return ""


def name_refused(refused: Mapping[str, str], keys: str = "") -> str:
    """
    Return a sentence on commands that a server refuses, for logs and for operators alike.

    Args:
        refused: Each command with the ``kind`` of its refusal.
        keys: What the queue's keys begin with.
    """
    unknown, denied = (
        [name.replace("|", " ").upper() for name, kind in refused.items() if kind == wanted]
        for wanted in ("unknown", "denied")
    )
    parts = []
    if unknown:
        parts.append(f"it has no {', '.join(unknown)} (renamed, switched off, or not offered by its host)")
    if denied:
        parts.append(f"THE ACL USER LACKS A PERMISSION: it may not call {', '.join(denied)}")
    if "keys" in refused.values():
        parts.append(
            f"THE ACL USER LACKS A PERMISSION: it may not use the queue's keys, which begin with {keys}"
        )
    return "; ".join(parts)


def select_missing(refused: Mapping[str, str], *, replicated: bool = False) -> dict[str, str]:
    """Return those of *refused* without which nothing can be stored or delivered, or (*replicated*) acknowledged."""
    spared = {*DISPENSABLE, *_OPERATING} - ({"wait"} if replicated else set())
    missing = {name: kind for name, kind in refused.items() if name not in spared}
    if "eval" in missing and not {"evalsha", "script|load"} & refused.keys():
        del missing["eval"]  # scripts can be loaded and called by their digests
    return missing
