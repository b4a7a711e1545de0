"""What an event lacks to be the one that a test asks for, in as few words as possible. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eventspool._events.decoding import decode_event
from eventspool._events.encoding import encode_exactly

__all__ = ["find_differences", "join_few", "show"]

_MAX_BYTES = 1 << 20
_MAX_SHOWN = 80
"""Characters that are shown of one value."""
_MAX_TOLD = 3
"""Differences that are told; of the others only how many there are."""
_MISSING = object()


def find_differences(wanted: Mapping[str, Any], found: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return what *found* lacks to have everything that *wanted* has; it may have more. *prefix*: the path to both."""
    differences: list[str] = []
    for name, value in wanted.items():
        differences += _compare(prefix + name, value, found.get(name, _MISSING))
    return differences


def _compare(path: str, wanted: Any, found: Any) -> list[str]:
    """Return where the value that is *found* at *path* differs: as deep down as the two have the same shape."""
    if found is _MISSING:
        return [f"{path} is missing"]
    if found == wanted or found == (sent := _as_sent(wanted)):
        return []
    if isinstance(found, Mapping) and isinstance(sent, Mapping):
        surplus = [
            f"{path}.{name} is {show(found[name])}, not missing" for name in found.keys() - sent.keys()
        ]
        return find_differences(sent, found, f"{path}.") + sorted(surplus)
    if isinstance(found, list) and isinstance(sent, list) and len(found) == len(sent):
        pairs = enumerate(zip(sent, found, strict=True))
        return [each for place, pair in pairs for each in _compare(f"{path}[{place}]", *pair)]
    return [f"{path} is {show(found)}, not {show(wanted)}"]


def _as_sent(value: Any) -> Any:
    """Return *value* as it comes out of an event: a moment is text there, and a decimal a number."""
    try:
        return decode_event(encode_exactly({"value": value}, _MAX_BYTES))["value"]
    except Exception:  # noqa: BLE001 - a matcher such as mock.ANY, say: it compares itself
        return value


def show(value: object) -> str:
    """Return *value* as a message shows it."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def join_few(texts: Sequence[str], separator: str = "; ", most: int = _MAX_TOLD) -> str:
    """Return the first of *texts*, and how many others there are."""
    told = separator.join(texts[:most])
    return told if len(texts) <= most else f"{told} and {len(texts) - most} more"
