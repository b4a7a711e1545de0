"""
From a caller's values to JSON text: which values have one, and what it is. docs/reference.md says it for users.

There are two encoders with one meaning. ``dumps_fast`` is orjson; it raises for every value that it would not write as the
rules say. ``encode_exactly`` is plain Python, knows every rule, and names the path of a bad value.

orjson gets no ``default`` hook: it walks the caller's dicts by borrowed pointers, and a hook (or another
thread that it lets in) could change a dict under it.

Optional libraries are recognised by the names of their types and never imported.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from json.encoder import encode_basestring as _quote
from types import NoneType
from typing import Any, NoReturn
from uuid import UUID

from eventspool._events.clock import instant_text
from eventspool._events.interruption import raise_interruption
from eventspool._events.mappings import is_mapping, items_of
from eventspool._events.models import fields_of, secret_text
from eventspool._exceptions import EventError

try:
    from orjson import OPT_PASSTHROUGH_DATACLASS, OPT_PASSTHROUGH_DATETIME, OPT_PASSTHROUGH_SUBCLASS, Fragment
    from orjson import dumps as dumps_fast
except ImportError:
    dumps_fast = Fragment = None  # type: ignore[assignment, misc]
    FAST_OPTIONS = 0
else:
    FAST_OPTIONS = OPT_PASSTHROUGH_DATETIME | OPT_PASSTHROUGH_DATACLASS | OPT_PASSTHROUGH_SUBCLASS

__all__ = [
    "FAST_OPTIONS",
    "MAX_DEPTH",
    "MOCKS",
    "Fragment",
    "dumps_fast",
    "encode_exactly",
    "integer_text",
    "numpy_scalar",
    "type_name",
    "without_surrogates",
]

MAX_DEPTH = 254
"""Most containers inside each other, the event included. It is orjson's limit, so both encoders agree."""

_SAFE_BITS = 2000
"""Bits of the longest integers that Python always writes: ``sys.set_int_max_str_digits`` allows 640 digits at least."""
_DEPTH_OF_ARGUMENTS = 2
"""How deep the mappings stand that callers give: properties, traits, context."""
_SEGMENT_CHARS = 50
_PATH_SEGMENTS = 12
_raw_type_name: Callable[[type], str] = type.__dict__[
    "__name__"
].__get__  # a metaclass cannot override this one


class _Refusal(Exception):  # noqa: N818 - it never leaves this module
    """A value without a JSON form. ``path`` is filled in on the way out, innermost first."""

    def __init__(self, message: str, reason: str = "unencodable") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.path: list[object] = []


class _NameRefusal(_Refusal):
    """A key without a form of its own. The path ends at the container: the key itself is not shown."""


def encode_exactly(event: dict[str, Any], max_bytes: int) -> bytes:
    """
    Return *event* as compact JSON. Work and memory stay in proportion to *max_bytes*, however much the event holds.

    Raises:
        EventError: A value has no JSON form (``unencodable``), or the event is too large (``too_large``).
    """
    try:
        text = _object(list(event.items()), 1, max_bytes)
        try:
            encoded = text.encode()
        except UnicodeEncodeError:
            encoded = without_surrogates(text).encode()
        if len(encoded) > max_bytes:
            _refuse_size(max_bytes)
    except _Refusal as refusal:
        path, message, reason = _path_text(refusal.path), refusal.message, refusal.reason
    except Exception as error:  # noqa: BLE001 - the stack ran out while a refusal was built
        raise_interruption(error)
        path, message, reason = "event", f"encoding it raised {type_name(error)}", "unencodable"
    else:
        return encoded
    raise EventError(f"{path}: {message}", reason)


def with_leaves_encoded(values: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of *values* for ``dumps_fast``, with every date, decimal and the like encoded already."""
    return {
        name: value if (write := _NOT_PLAIN.get(type(value))) is None else Fragment(write(value))
        for name, value in values.items()
    }


def without_surrogates(text: str) -> str:
    """Return *text* with surrogate pairs joined and lone surrogates, which UTF-8 cannot hold, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def type_name(value: object) -> str:
    """Return the name of *value*'s type, fit for a message."""
    return _printable(_raw_type_name(type(value)))


def _printable(text: str) -> str:
    cut = text if len(text) <= _SEGMENT_CHARS else text[:_SEGMENT_CHARS] + "…"
    return "".join(c if c.isprintable() else "?" for c in cut)


def _path_text(reversed_path: list[object]) -> str:
    path = ""
    for segment in reversed_path[: -_PATH_SEGMENTS - 1 : -1]:
        if type(segment) is int:
            path += f"[{segment}]"
        else:
            path += f".{_printable(str.__str__(segment))}" if isinstance(segment, str) else ".?"
    return (path[1:] or "event") + ("…" if len(reversed_path) > _PATH_SEGMENTS else "")


def _refuse_depth() -> NoReturn:
    raise _Refusal(f"nested more than {MAX_DEPTH} levels deep, or inside itself")


def _refuse_size(max_bytes: int) -> NoReturn:
    raise _Refusal(f"the event is larger than max_event_bytes ({max_bytes})", "too_large")


# -- containers ------------------------------------------------------------------------------------


def _object(items: list[tuple[Any, Any]], depth: int, max_bytes: int) -> str:
    if depth > MAX_DEPTH:
        _refuse_depth()
    if len(items) > max_bytes:
        _refuse_size(max_bytes)
    members: dict[str, str] = {}
    name: Any = None
    value: Any = None
    try:
        for name, value in items:
            kind = type(value)
            if kind is str:
                text = _quote(value) if len(value) <= max_bytes else _refuse_size(max_bytes)
            elif kind in _LEAVES:
                text = _LEAVES[kind](value)
            elif kind is dict:
                text = _object(list(value.items()), depth + 1, max_bytes)
            elif kind is list or kind is tuple:
                text = _array(tuple(value), depth + 1, max_bytes)
            else:
                text = _other(value, kind, depth + 1, max_bytes)
            key = _quote(name) if type(name) is str and name.isascii() else _key(name, depth, max_bytes)
            if key in members:
                raise _NameRefusal("two keys of it become the same text")  # noqa: TRY301 - one place reports
            members[key] = text
    except _NameRefusal as refusal:
        raise _Refusal(refusal.message) from None
    except _Refusal as refusal:
        refusal.path.append(name)
        raise
    except Exception as error:  # noqa: BLE001
        raise_interruption(error)
        raise _broken(value, error, name) from None
    text = ",".join([f"{key}:{value}" for key, value in members.items()])
    if len(text) > max_bytes:
        _refuse_size(max_bytes)
    return "{" + text + "}"


def _array(values: Sequence[Any], depth: int, max_bytes: int) -> str:
    text = ",".join(_elements(values, depth, max_bytes))
    if len(text) > max_bytes:
        _refuse_size(max_bytes)
    return "[" + text + "]"


def _elements(values: Sequence[Any], depth: int, max_bytes: int) -> list[str]:
    if depth > MAX_DEPTH:
        _refuse_depth()
    if len(values) > max_bytes:
        _refuse_size(max_bytes)
    texts: list[str] = []
    value: Any = None
    try:
        for value in values:
            kind = type(value)
            if kind is dict:
                texts.append(_object(list(value.items()), depth + 1, max_bytes))
            else:
                texts.append(_one(value, depth + 1, max_bytes))
    except _Refusal as refusal:
        refusal.path.append(len(texts))
        raise
    except Exception as error:  # noqa: BLE001
        raise_interruption(error)
        raise _broken(value, error, len(texts)) from None
    return texts


def _broken(value: object, error: Exception, segment: object) -> _Refusal:
    """Say which types are involved, and no more: the text of what the caller's code raises may hold the payload."""
    refusal = _Refusal(f"encoding a value of type {type_name(value)} raised {type_name(error)}")
    refusal.path.append(segment)
    return refusal


def _key(name: object, depth: int, max_bytes: int) -> str:
    """
    Return the JSON text of a key at *depth*, surrogates replaced, so that two keys that become the same are seen as such.

    Further down, a key may be any value that is written as one number, date or text: that text is the key, as in every JSON
    library.
    """
    kind = type(name)
    if not issubclass(kind, str):
        if depth <= _DEPTH_OF_ARGUMENTS:
            raise _NameRefusal("keys must be strings")
        if not issubclass(kind, bytes | bytearray | memoryview):
            with suppress(_Refusal):  # at this depth every container is refused
                text = _one(name, MAX_DEPTH + 1, max_bytes)
                return text if text[0] == '"' else f'"{text}"'
        raise _NameRefusal(f"a key of type {type_name(name)} cannot be encoded")
    if issubclass(kind, Enum):
        name = name._value_  # type: ignore[attr-defined]
    text = str.__str__(name)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = without_surrogates(text)
    return _quote(text)


# -- leaves ----------------------------------------------------------------------------------------


def integer_text(value: int) -> str:
    """Return *value* in digits, however many."""
    if int.bit_length(value) > _SAFE_BITS:  # Python may refuse to write it; Decimal writes it, and fast
        return str(Decimal(value))
    return int.__repr__(value)


def _float(value: float) -> str:
    text = float.__repr__(value)
    return "null" if text[-1] in "nf" else text  # nan, inf, -inf


def _decimal(value: Decimal) -> str:
    return Decimal.__str__(value) if value.is_finite() else "null"


def _datetime(value: datetime) -> str:
    return f'"{instant_text(value)}"' if value == value else "null"  # pandas' NaT equals nothing


def _bytes(value: bytes | bytearray | memoryview) -> str:
    return f'"{b64encode(bytes(value)).decode()}"'


_LEAVES: dict[type, Callable[[Any], str]] = {
    NoneType: lambda _: "null",
    bool: lambda value: "true" if value else "false",
    int: integer_text,
    float: _float,
    Decimal: _decimal,
    datetime: _datetime,  # before date, of which it is a kind
    date: lambda value: f'"{date.isoformat(value)}"',
    time: lambda value: f'"{time.isoformat(value)}"',
    timedelta: lambda value: repr(timedelta.total_seconds(value)),
    UUID: lambda value: f'"{UUID.__str__(value)}"',
    bytes: _bytes,
    bytearray: _bytes,
    memoryview: _bytes,
}


_NOT_PLAIN = {kind: write for kind, write in _LEAVES.items() if kind not in (NoneType, bool, float)}


# -- everything else -------------------------------------------------------------------------------

_AS_TEXT = frozenset(
    {f"ipaddress.IPv{v}{kind}" for v in (4, 6) for kind in ("Address", "Interface", "Network")}
    | {"uuid_utils.UUID", "pandas.Period", "django.Promise", "collections.UserString", "zoneinfo.ZoneInfo"}
    | {"fractions.Fraction", "yarl.URL", "httpx.URL", "starlette.URL"}
    | {"pydantic._BaseUrl", "pydantic._BaseMultiHostUrl", "pydantic_core.Url", "pydantic_core.MultiHostUrl"}
    | {"pydantic.NameEmail"}
)
_AS_LIST = frozenset({"numpy.ndarray", "pandas.Series", "pandas.Index", "pandas.ExtensionArray"})
_SECRETS = frozenset(
    {"pydantic._SecretBase", "pydantic._SecretField", "pydantic.SecretStr", "pydantic.SecretBytes"}
)
MOCKS = frozenset({"unittest.NonCallableMock", "mock.NonCallableMock"})
"""A mock has every method, and would pass for a path."""


def _other(value: Any, kind: type, depth: int, max_bytes: int) -> str:
    """Return the text of a *value* of none of the exact types above; *depth* counts it as a container."""
    if issubclass(kind, Enum):
        return _one(value.value, depth, max_bytes)
    if issubclass(kind, str):
        return _one(str.__str__(value), depth, max_bytes)
    if issubclass(kind, dict):
        return _object(items_of(value, kind, max_bytes), depth, max_bytes)
    if issubclass(kind, list | tuple):
        return _array(tuple(islice(value, max_bytes + 1)), depth, max_bytes)
    for base, write in _LEAVES.items():
        if issubclass(kind, base):
            return write(value)
    lineage = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in kind.__mro__}
    if "numpy.generic" in lineage:
        return _one(numpy_scalar(value), depth, max_bytes)
    if not lineage.isdisjoint(_AS_LIST):
        if value.size > max_bytes:
            _refuse_size(max_bytes)
        if value.dtype.kind in "mM" and "numpy.ndarray" in lineage:
            value = value.astype(f"{value.dtype.kind}8[us]")
        return _one(value.tolist(), depth, max_bytes)
    if "pandas.NAType" in lineage:
        return "null"
    if not lineage.isdisjoint(_AS_TEXT):
        return _quote(str(value))
    if not lineage.isdisjoint(_SECRETS):
        return _quote(secret_text(value))
    if "re.Pattern" in lineage:
        return _one(value.pattern, depth, max_bytes)
    fields = fields_of(value, kind, lineage)
    if fields is not None:
        return _one(fields, depth, max_bytes)
    if is_mapping(kind):
        return _object(items_of(value, kind, max_bytes), depth, max_bytes)
    if issubclass(kind, Sequence):
        return _array(tuple(islice(value, max_bytes + 1)), depth, max_bytes)
    if issubclass(kind, AbstractSet):
        return _set(value, depth, max_bytes)
    if hasattr(kind, "__fspath__") and lineage.isdisjoint(MOCKS):
        return _quote(os.fsdecode(value))
    raise _Refusal(f"a value of type {type_name(value)} cannot be encoded")


def _one(value: Any, depth: int, max_bytes: int) -> str:
    """Return the text of *value*, which stands for one that would have been at *depth*."""
    kind = type(value)
    if kind is str:
        return _quote(value) if len(value) <= max_bytes else _refuse_size(max_bytes)
    write = _LEAVES.get(kind)
    if write is not None:
        return write(value)
    if kind is dict:
        return _object(list(value.items()), depth, max_bytes)
    if kind is list or kind is tuple:
        return _array(tuple(value), depth, max_bytes)
    return _other(value, kind, depth, max_bytes)


def _set(value: Iterable[Any], depth: int, max_bytes: int) -> str:
    """Equal sets give equal text: their members in order of value where that is total, else of text."""
    members = list(islice(value, max_bytes + 1))
    kinds = {type(member) for member in members}
    if kinds <= {str} or (kinds <= {int, float} and all(member == member for member in members)):
        return _array(sorted(members), depth, max_bytes)
    return "[" + ",".join(sorted(_elements(members, depth, max_bytes))) + "]"


def numpy_scalar(value: Any) -> Any:
    if value.dtype.char == "g":  # a long double: its item() is itself
        return Decimal(str(value))
    item = value.item()
    if value.dtype.kind in "mM" and isinstance(item, int):  # finer than microseconds, or beyond the calendar
        if not value.dtype.str.endswith(("[ns]", "[ps]", "[fs]", "[as]")):
            raise _Refusal("a numpy time beyond the calendar cannot be encoded")
        item = value.astype(f"{value.dtype.kind}8[us]").item()
    return item
