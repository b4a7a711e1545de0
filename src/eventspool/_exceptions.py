"""
The errors that eventspool raises or hands to callbacks.

* EventSpoolError
  + ConfigError         a wrong option (also a ValueError)
  + EventError          an event that breaks the rules (also a ValueError)
  + RefusedError        an event that was right but could not be taken: buffer full, client closed
  + DeliveryError       an event that was given up: rejected, or tried too often
  + QueueError          the queue cannot be used
    + QueueUnavailable  the queue cannot be used now: not reachable, read-only, out of memory, loading; try again

No message carries an event's content, a write key or a password.
"""

from __future__ import annotations

import copyreg
from typing import Any

__all__ = [
    "ConfigError",
    "DeliveryError",
    "EventError",
    "EventSpoolError",
    "QueueError",
    "QueueUnavailable",
    "RefusedError",
]


class EventSpoolError(Exception):
    """Base of everything that eventspool raises."""

    def __reduce__(self) -> Any:
        """Copy and pickle what the error holds; Python would make it anew from its message alone, and lack the reason."""
        make = copyreg.__newobj__  # type: ignore[attr-defined] # typeshed lacks it
        return make, (type(self), *self.args), self.__dict__


class ConfigError(EventSpoolError, ValueError):
    """An option is unknown or has a value that cannot work. The message names it and says what would."""


class EventError(EventSpoolError, ValueError):
    """
    An event breaks the rules for events (docs/reference.md) and was refused.

    Args:
        message: What is wrong, with the path of the bad value, without the value itself.
        reason: The counter under which the refusal is reported in ``Client.stats().refused``.
    """

    def __init__(self, message: str, reason: str = "invalid") -> None:
        super().__init__(message)
        self.reason = reason


class RefusedError(EventSpoolError):
    """
    A valid event was not taken. ``reason`` says why: ``buffer_full``, ``closed``, ``no_queue``, or ``starting`` (a signal
    handler that had interrupted the client's first event made the call, or no thread could be started for it).
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class DeliveryError(EventSpoolError):
    """
    An accepted event was given up.

    Args:
        message: What the data plane answered, or why no answer came.
        reason: ``rejected``, ``max_attempts``, ``stalled``, ``too_large``, ``corrupt``, ``unsupported``,
            ``encrypted``, ``missing``, ``lost``, ``purged``, ``moved``.
        status: The HTTP status, where there was one.
    """

    def __init__(self, message: str, reason: str, status: int | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status


class QueueError(EventSpoolError):
    """The queue cannot be used. The message says what to do; the driver's own text never appears in it."""


class QueueUnavailable(QueueError):  # noqa: N818 - the name says what is the case
    """The queue cannot be used right now. Nothing was lost and no attempt was spent: try again later."""


class Unconfirmed(QueueUnavailable):
    """
    Too few replicas have confirmed a commit in time. It is stored, and the server works: jobs can be claimed there.

    To callers of the library it is a ``QueueUnavailable`` as any other, so it is not among the names that they import.

    Args:
        message: What is the case.
        node: The address of the server.
    """

    def __init__(self, message: str, node: str = "") -> None:
        super().__init__(message)
        self.node = node
