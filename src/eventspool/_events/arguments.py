"""
Read the arguments of the six calls: ids, names, moments and mappings, and the objects that stand for these.

When an object of the caller's raises, the call gets an ``EventError`` that names the argument and shows no value.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import wraps
from types import NoneType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID

from eventspool._events.clock import instant_text, moment_of
from eventspool._events.encoding import MOCKS, integer_text, numpy_scalar, type_name, without_surrogates
from eventspool._events.interruption import raise_interruption
from eventspool._events.mappings import is_mapping, items_of
from eventspool._exceptions import EventError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "MAX_MESSAGE_ID_CHARS",
    "id_of",
    "mapping_of",
    "merged",
    "message_id_of",
    "moment_text",
    "required_id",
    "required_text",
    "text_of",
]

MAX_MESSAGE_ID_CHARS = 255
_MOST_ITEMS = 200_000
_P = ParamSpec("_P")
_T = TypeVar("_T")


def _no_other_error(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Turn what the caller's objects raise into ``EventError``. The first argument names the bad one."""

    @wraps(function)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except EventError:
            raise
        except Exception as error:  # noqa: BLE001
            raise_interruption(error)
            kind = type_name(error)
        raise EventError(f"{args[0]}: reading it raised {kind}")

    return guarded


def mapping_of(name: str, value: object) -> dict[str, Any]:
    if type(value) is dict:
        return value
    return {} if value is None else _read_mapping(name, value)


@_no_other_error
def _read_mapping(name: str, value: object) -> dict[str, Any]:
    kind = type(value)
    if is_mapping(kind):
        items = items_of(value, kind, _MOST_ITEMS)
        if len(items) > _MOST_ITEMS:
            raise EventError(f"{name}: has more than {_MOST_ITEMS:,} keys", "too_large")
        return dict(items)
    raise EventError(f"{name}: must be a mapping, not {type_name(value)}")


@_no_other_error
def merged(name: str, bound: Mapping[str, Any], given: object) -> dict[str, Any]:
    """Return *given*, which wins key by key, on top of what is *bound*."""
    return {**bound, **mapping_of(name, given)}


def _stood_for(value: Any) -> Any:
    """Return the text or number that a proxy (a lazy object, a local of a context) stands for; others as they are."""
    kind = type(value)
    if issubclass(kind, str | int | float) or value is None:
        return value
    names = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in kind.__mro__}
    if "django.Promise" in names:
        return str(value)
    if not names.isdisjoint(MOCKS):  # a mock's class is what a test told it to be
        return value
    claimed = value.__class__  # the class of what it stands for
    if claimed is kind or issubclass(claimed, bool):
        return value
    if claimed is NoneType:
        return None
    if issubclass(claimed, str):
        return str(value)
    if issubclass(claimed, int):
        return value.__int__()
    if issubclass(claimed, float):
        return value.__float__()
    return Decimal(str(value)) if issubclass(claimed, Decimal) else value


@_no_other_error
def id_of(name: str, value: Any) -> str | None:
    """Return an id as text, ``None`` where there is none."""
    value = _stood_for(value)
    if isinstance(value, Enum):
        value = value.value
    item = getattr(value, "item", None)
    if item is not None and type(value).__module__ == "numpy":
        value = item()
    if value is None or type(value).__name__ == "NAType":
        return None
    if issubclass(type(value), str):
        return str.__str__(value)
    if issubclass(type(value), float):
        if value - value != 0:
            raise EventError(f"{name}: must be a string or a finite number")
        return integer_text(int(value)) if value == int(value) else float.__repr__(value)
    if issubclass(type(value), int) and not isinstance(value, bool):
        return integer_text(value)
    if isinstance(value, Decimal) and value.is_finite():
        return Decimal.__str__(value)
    if isinstance(value, UUID) or type(value).__module__ == "uuid_utils":
        return str(value)
    raise EventError(f"{name}: must be a string or a number, not {type_name(value)}")


def required_id(name: str, value: object) -> str:
    text = value if type(value) is str else id_of(name, value)
    if not text:
        raise EventError(f"{name} must be given")
    return text


@_no_other_error
def text_of(name: str, value: object) -> str | None:
    value = _stood_for(value)
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        return None
    if not issubclass(type(value), str):
        raise EventError(f"{name}: must be a string, not {type_name(value)}")
    return str.__str__(value)


def required_text(name: str, value: object) -> str:
    text = None if value is None else text_of(name, value)
    if not text:
        raise EventError(f"{name} must be given")
    return text


@_no_other_error
def moment_text(name: str, value: object) -> str:
    value = _stood_for(value)
    if getattr(value, "item", None) is not None and type(value).__module__ == "numpy":
        value = numpy_scalar(value)
    moment = moment_of(value)
    if not isinstance(moment, datetime):
        raise EventError(
            f"{name}: must be a datetime, ISO 8601 text or seconds since 1970, not {type_name(value)}"
        )
    return instant_text(moment)


@_no_other_error
def message_id_of(name: str, value: object) -> str:
    text = id_of(name, value)
    if not text or len(text) > MAX_MESSAGE_ID_CHARS:
        raise EventError(f"{name}: must be a string of 1 to {MAX_MESSAGE_ID_CHARS} characters")
    return without_surrogates(text)
