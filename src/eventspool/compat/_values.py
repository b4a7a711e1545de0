"""
What an SDK of the family makes of the values of a call, before they are written as JSON.

It has rules of its own for bytes, moments, keys and what cannot be written; a program that changes its import alone relies on
them. What the SDK would leave out although eventspool can write it is sent.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import NoneType
from typing import TYPE_CHECKING, Any

from eventspool._events.encoding import encode_exactly, type_name
from eventspool._exceptions import EventError
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Reading", "read_moment"]

_throttle = Throttle(Log("eventspool"))
_PLAIN = frozenset({str, int, float, bool, NoneType})
_RECENT = timedelta(seconds=5)
"""A moment without a zone that is not older was taken by ``datetime.now()``, so the SDKs think."""


class _Unwritable(Exception):  # noqa: N818 - it never leaves this module
    """A value that has no JSON form. The mapping that holds it leaves it out."""


class Reading:
    """
    Copies the values of one call.

    Args:
        budget: Most values of the call. An event with more of them is larger than the client takes.
    """

    def __init__(self, budget: int) -> None:
        self._budget = self._left = budget

    def mapping(self, given: dict[Any, Any]) -> dict[Any, Any]:
        """
        Return a copy of *given* without the values that have no JSON form.

        Raises:
            EventError: It is too large.
        """
        self._take(len(given))
        copy = {}
        for name, value in list(given.items()):
            try:
                copy[_key(name)] = self._value(value)
            except _Unwritable as error:
                _throttle.warning("left a value out of an event: %s", error)
        return copy

    def _take(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise EventError(f"the event has more than {self._budget} values", "too_large")

    def _value(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if issubclass(kind, dict):
            return self.mapping(value)
        if issubclass(kind, list | tuple | set):
            return self._list(value)
        if issubclass(kind, Decimal):
            return float(value) if value.is_finite() else None
        if issubclass(kind, datetime):
            return value.isoformat()
        if issubclass(kind, bytes | bytearray):
            return _text(value)
        if issubclass(kind, Enum) and not issubclass(kind, str | int | float):
            return self._value(value.value)
        if not issubclass(kind, str | int | float | date):
            self._try_writing(value)
        return value

    def _list(self, values: Iterable[Any]) -> list[Any]:
        items = list(values)
        self._take(len(items))
        return [self._value(item) for item in items]

    def _try_writing(self, value: object) -> None:
        try:
            encode_exactly({"value": value}, self._budget)
        except EventError as error:
            if error.reason != "unencodable":
                raise
            raise _Unwritable(f"one of type {type_name(value)} has no JSON form") from None


def _text(value: bytes | bytearray) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _Unwritable("bytes that are no UTF-8 text") from None


def _key(name: Any) -> Any:
    """Return the key that ``json`` writes for *name*. One that it does not write stays, and the client refuses the event."""
    if isinstance(name, bool):
        return "true" if name else "false"
    if name is None:
        return "null"
    return repr(name) if type(name) in (int, float) else name


def read_moment(given: datetime | None) -> datetime:
    """Return the moment that a call means. One without a zone is UTC, unless it is recent: then it is local time."""
    if given is None:
        return datetime.now(UTC)
    if given.utcoffset() is not None:
        return given
    naive = given.replace(tzinfo=None)
    is_recent = datetime.now() - naive < _RECENT  # noqa: DTZ005 - local, like what it is compared with
    return naive if is_recent else naive.replace(tzinfo=UTC)
