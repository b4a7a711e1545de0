"""
What the integrations of web frameworks share besides reading a request: none of it raises into the application.

A wrong set-up still does, where it is given: when the middleware is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from eventspool._events.interruption import raise_interruption
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle
from eventspool.integrations._request import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool.integrations._request import Request, Switches

__all__ = ["describe_safely"]

_T = TypeVar("_T")

_throttle = Throttle(Log("eventspool"))


def describe_safely(read: Callable[[_T], Request], given: _T, switches: Switches) -> dict[str, Any]:
    """Return the context of the events of a request, which *read* makes of what a server has *given*; {} where that fails."""
    try:
        return describe(read(given), switches)
    except Exception as error:  # noqa: BLE001 - the application's request goes on without
        raise_interruption(error)
        _throttle.warning("reading a request for the context of its events met %s", type(error).__name__)
        return {}
