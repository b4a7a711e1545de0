"""
Turn whatever a Redis driver raises into our two errors, by the error's code alone.

A driver's text can hold a command's arguments, and so event data and passwords: none of it may reach a log. The class of an
error does not say enough either: Redis 6.2 wraps the errors of scripts (``ERR Error running script … -READONLY …``), redis-py
takes the code off some replies and has no class for others. So the code is taken from the class where that has one, and is
looked for in the text otherwise.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from eventspool._backends.redis.commands import name_refused, read_refusal
from eventspool._backends.redis.ways import name_kinds, name_way
from eventspool._exceptions import QueueError, QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventspool._backends.redis.commands import Refusal

__all__ = [
    "TOO_BIG",
    "Place",
    "Undiscovered",
    "error_code",
    "find_place",
    "find_refusal",
    "is_drivers",
    "is_reply",
    "refuse",
    "translate",
]

TOO_BIG = "TOOBIG"
"""Our own code for a value or command that is longer than the server takes."""

_CODE_OF_CLASS = {
    "MovedError": "MOVED",  # before AskError, from which redis-py derives it
    "AskError": "ASK",
    "AuthenticationError": "WRONGPASS",
    "AuthenticationWrongNumberOfArgsError": "WRONGPASS",
    "AuthorizationError": "NOPERM",
    "BusyLoadingError": "LOADING",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "NoPermissionError": "NOPERM",
    "NoScriptError": "NOSCRIPT",
    "OutOfMemoryError": "OOM",
    "ReadOnlyError": "READONLY",
    "TryAgainError": "TRYAGAIN",
}

_UNAVAILABLE = {
    "OOM": "it is out of memory and refuses new jobs; raise maxmemory or let the queue drain",
    "READONLY": "it is a read-only replica, perhaps after a failover",
    "LOADING": "it is still loading its data",
    "MISCONF": "it cannot save to disk and refuses writes; see the server's log",
    "NOREPLICAS": "it has too few replicas and refuses writes",
    "CLUSTERDOWN": "the cluster is down",
    "MASTERDOWN": "the link to its master is down",
    "TRYAGAIN": "the cluster is moving the queue to another node",
    "MOVED": "the cluster has moved the queue to another node just now",
    "ASK": "the cluster is moving the queue to another node",
    "BUSY": "it is busy running a script",
    "UNBLOCKED": "it ended a blocked call, perhaps in a failover",
    "EXECABORT": "it refused a transaction",
    "NOSCRIPT": "it lost our scripts",
    # An operator may take a new password back, or it may reach this process late. So these are outages, too, but in
    # capitals, so that no operator overlooks them.
    "NOAUTH": "IT REQUIRES A PASSWORD and none was given: set username and password, or put them into the URL",
    "WRONGPASS": "IT REFUSES THE USER NAME OR PASSWORD",
    "NOPERM": "THE ACL USER LACKS A PERMISSION; see the documentation for the commands and keys that eventspool needs",
}

_KNOWN = re.compile(rf"(?<![A-Za-z0-9_])({'|'.join([*_UNAVAILABLE, 'WRONGTYPE'])})(?![A-Za-z0-9_])")
_FIRST_WORD = re.compile(r"-?([A-Z]{2,24})(?: |$)")
_TOO_BIG = re.compile(
    r"invalid bulk length|max (?:request|single record) size|exceeds maximum allowed size", re.IGNORECASE
)
_DENIED_IN_SCRIPT = ("ACL failure", "The user executing the script can't")
_NO_DATABASE = ("DB index is out of range", "invalid DB index", "SELECT is not allowed in cluster mode")
_MOVED_TO = re.compile(r"^(?:MOVED )?\d{1,5} ([\w.:-]{1,255}:\d{1,5})$")
_NO_ANSWER = {
    "ConnectionError",
    "TimeoutError",
    "InvalidResponse",
    "ProtocolError",
    "RedisClusterException",
    "ClusterError",
}
_IN_PIPELINE = " of pipeline caused error: "


class Undiscovered(Exception):  # noqa: N818 - it says that a server was not found, which may be no fault
    """
    The server of a queue is not known now. It becomes ``QueueUnavailable``, as the driver's errors do.

    Args:
        clause: Why, as the end of a sentence about the server.
        code: Our own code for that.
    """

    def __init__(self, clause: str, code: str) -> None:
        super().__init__(clause)
        self.clause = clause
        self.code = code


class Place(NamedTuple):
    """
    Where a server is, as messages name it.

    Args:
        address: Host and port, or the path of a socket; "" where it is not known.
        database: The number of the database.
        secure: TLS is used.
    """

    address: str = ""
    database: int = 0
    secure: bool = False


def find_place(client: Any) -> Place:
    """Return where the server of *client* is, one of redis-py's; an empty place where there is no client yet."""
    if client is None:
        return Place()
    pool = getattr(client, "connection_pool", None)
    settings = getattr(pool, "connection_kwargs", {})
    host, port = str(settings.get("host", "localhost")), settings.get("port", 6379)
    address = (
        str(settings["path"])
        if settings.get("path")
        else f"[{host}]:{port}"
        if ":" in host
        else f"{host}:{port}"
    )
    kind = getattr(getattr(pool, "connection_class", None), "__name__", "")
    return Place(address, int(settings.get("db") or 0), secure="SSL" in kind)


def is_drivers(error: BaseException) -> bool:
    """Say whether the driver, the connection or this package raised *error*. If not, something else cut them off."""
    return isinstance(error, OSError | QueueError | Undiscovered) or "RedisError" in name_kinds(error)


def is_reply(error: BaseException) -> bool:
    """Say whether *error* is the server's reply to one command: then the connection is intact, and the next may be sent."""
    return "ResponseError" in name_kinds(error)


def error_code(error: BaseException) -> str:
    """Return the code of a Redis error (``OOM``, ``READONLY``, …), "" for a connection that failed, else ``ERR``."""
    if isinstance(error, Undiscovered):
        return error.code
    classes = name_kinds(error)
    text = _words(error)
    for name, code in _CODE_OF_CLASS.items():
        if name in classes:
            return "NOAUTH" if code == "WRONGPASS" and "required" in text else code
    if "Protocol error: unauthenticated" in text:  # the reply to a long command without a password
        return "NOAUTH"
    if _TOO_BIG.search(text[:200]):
        return TOO_BIG
    if "max number of clients" in text or isinstance(error, OSError):
        return ""
    if found := _KNOWN.search(text):
        return found[1]
    if _NO_ANSWER & classes:
        return ""
    if any(words in text for words in _DENIED_IN_SCRIPT):
        return "NOPERM"
    if any(words in text for words in _NO_DATABASE):
        return "ERR"
    return first[1] if (first := _FIRST_WORD.match(text)) else "ERR"


def _words(error: BaseException) -> str:
    """Return the server's words without a command's arguments before or behind them, which may hold event data."""
    return str(error.args[0] if error.args else "").rpartition(_IN_PIPELINE)[2].partition(", with args")[0]


def find_refusal(error: BaseException) -> Refusal | None:
    """Return the command that a server refused for what it is, ``None`` where *error* is something else."""
    return read_refusal(error_code(error), _words(error))


def translate(
    error: BaseException,
    queue: str,
    place: Place = Place(),  # noqa: B008 - it cannot be changed
    *,
    outer: BaseException | None = None,
    refused: Mapping[str, str] | None = None,
    keys: str = "its prefix",
    advice: str = "",
) -> QueueError:
    """
    Return our error for a driver's *error*.

    Args:
        error: What the driver raised.
        queue: How the message names the queue.
        place: Where the server is.
        outer: The exception that our caller was handling when it called. It is no cause of the driver's error.
        refused: The commands that the server refuses, where it did not say so itself.
        keys: What the queue's keys begin with.
        advice: What to write instead, where the server cannot keep the queue for what it is.
    """
    if isinstance(error, QueueError):
        return error
    if isinstance(error, Undiscovered):
        return QueueUnavailable(f"{_name_server(queue, Place())} cannot be found: {error.clause}")
    server = _name_server(queue, place)
    code = error_code(error)
    if isinstance(error.__cause__, QueueError):  # our credentials raised it, called by the driver
        return type(error.__cause__)(f"{server} cannot be used now: {error.__cause__}")
    if not code:
        return QueueUnavailable(f"{server} {name_way(error, place.secure, place.address, outer)}")
    words = _words(error)
    if any(each in words for each in _NO_DATABASE):
        only = ": a cluster has only database 0" if "cluster" in words else ""
        return QueueError(f"{server} has no database {place.database}{only}")
    refusal = read_refusal(code, words)
    if refusal is not None and advice:
        return QueueError(f"{server} is a sentinel, which keeps no queue: {advice}")
    if refusal is not None and not refused and (refusal.command or refusal.kind == "keys"):
        refused = {refusal.command: refusal.kind}
    if refusal is not None and refused:
        return refuse(queue, place, refused, keys)
    if code == "MOVED" and (target := _MOVED_TO.match(words)):
        return QueueUnavailable(f"{server} cannot serve it now: {_UNAVAILABLE[code]}, {target[1]} ({code})")
    if code in _UNAVAILABLE:
        more = f"; {advice}" if advice else ""
        return QueueUnavailable(f"{server} cannot serve it now: {_UNAVAILABLE[code]}{more} ({code})")
    if code == TOO_BIG:
        return QueueError(f"{server} refused a batch that is longer than it takes (see proto-max-bulk-len)")
    if code == "WRONGTYPE":
        return QueueError(
            f"the keys of {queue} hold data of something else (WRONGTYPE): choose another prefix or queue_name"
        )
    return QueueError(f"{server} refused a command ({code}, {type(error).__name__})")


def refuse(queue: str, place: Place, refused: Mapping[str, str], keys: str) -> QueueError:
    """Return the error that says which commands a server refuses; the arguments are those of ``translate``."""
    sentence = f"{_name_server(queue, place)} cannot serve it: {name_refused(refused, keys)}"
    if place.database and "select" in refused:
        sentence += f"; use database 0 instead of {place.database}"
    if "unknown" in refused.values():
        return QueueError(sentence)
    return QueueUnavailable(f"{sentence} (NOPERM)")


def _name_server(queue: str, place: Place) -> str:
    return f"the Redis server of {queue}{f' at {place.address}' if place.address else ''}"
