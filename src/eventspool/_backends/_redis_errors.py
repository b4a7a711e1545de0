"""
Turn whatever a Redis driver raises into our two errors, by its code alone.

A driver's text can hold a command's arguments, and so event data and passwords; none of it may reach a log. And the class is
no guide: Redis 6.2 wraps the errors of scripts (``ERR Error running script … -READONLY …``), redis-py strips the code off
some answers and knows no class for others. So the code is taken from the class where that is telling, else looked for
in the text.
"""

from __future__ import annotations

import re

from eventspool._exceptions import QueueError, QueueUnavailable

__all__ = ["error_code", "translate"]

_CODE_OF_CLASS = {
    "AskError": "ASK",
    "AuthenticationError": "WRONGPASS",
    "AuthenticationWrongNumberOfArgsError": "WRONGPASS",
    "AuthorizationError": "NOPERM",
    "BusyLoadingError": "LOADING",
    "ClusterDownError": "CLUSTERDOWN",
    "MasterDownError": "MASTERDOWN",
    "MovedError": "MOVED",
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
    "MOVED": "the cluster keeps this queue on another node",
    "ASK": "the cluster is moving the queue to another node",
    "BUSY": "it is busy running a script",
    "UNBLOCKED": "it ended a blocked call, perhaps in a failover",
    "EXECABORT": "it refused a transaction",
    "NOSCRIPT": "it lost our scripts",
    # A password may be rotated back, or reach this process late: so these are outages too, but nobody may overlook them.
    "NOAUTH": "IT REQUIRES A PASSWORD and none was given: set username and password, or put them into the URL",
    "WRONGPASS": "IT REFUSES THE USER NAME OR PASSWORD",
    "NOPERM": "THE ACL USER LACKS A PERMISSION; see the documentation for the commands and keys that eventspool needs",
}

_KNOWN = re.compile(rf"(?<![A-Za-z0-9_])({'|'.join([*_UNAVAILABLE, 'WRONGTYPE'])})(?![A-Za-z0-9_])")
_FIRST_WORD = re.compile(r"-?([A-Z]{2,24})(?: |$)")
_IN_PIPELINE = " of pipeline caused error: "


def error_code(error: BaseException) -> str:
    """Return the code of a Redis error (``OOM``, ``READONLY``, …), "" for a connection that failed, else ``ERR``."""
    classes = {kind.__name__ for kind in type(error).__mro__}
    # redis-py puts the failing command before the server's words: what we look for must not be found in a payload.
    text = str(error.args[0] if error.args else "").rpartition(_IN_PIPELINE)[2]
    for name, code in _CODE_OF_CLASS.items():
        if name in classes:
            return "NOAUTH" if code == "WRONGPASS" and "required" in text else code
    if "max number of clients" in text or isinstance(error, OSError):
        return ""
    found = _KNOWN.search(text)
    if found:
        return found[1]
    if {"ConnectionError", "TimeoutError", "RedisClusterException", "ClusterError"} & classes:
        return ""
    first = _FIRST_WORD.match(text)
    return first[1] if first else "ERR"


def translate(error: BaseException, queue: str) -> QueueError:
    """Return our error for a driver's *error*; *queue* names the queue in the message."""
    if isinstance(error, QueueError):
        return error
    code = error_code(error)
    if not code:
        what = (
            "did not answer in time"
            if "TimeoutError" in {k.__name__ for k in type(error).__mro__}
            else "cannot be reached"
        )
        return QueueUnavailable(f"the Redis server of {queue} {what}")
    if code in _UNAVAILABLE:
        return QueueUnavailable(
            f"the Redis server of {queue} cannot serve it now: {_UNAVAILABLE[code]} ({code})"
        )
    if code == "WRONGTYPE":
        return QueueError(
            f"the keys of {queue} hold data of something else (WRONGTYPE): choose another prefix or queue_name"
        )
    return QueueError(f"the Redis server of {queue} refused a command ({code}, {type(error).__name__})")
