"""
The keys and values of mappings that are no plain dict, none of them lost.

Web frameworks have mappings with several values for a key (form fields, headers), each with methods of its own to get at
them, and most with an ``items()`` that tells one value a key. They are known by those methods, so none is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

__all__ = ["is_mapping", "items_of"]

_ALL_PAIRS = ("multi_items", "allitems")
"""Names under which all pairs are told: Starlette and httpx; Bottle and orderedmultidict."""
_ALL_VALUES = ("getlist", "getall", "get_all")
"""Names under which all values of a key are told."""


def is_mapping(kind: type) -> bool:
    """Say whether values of *kind* are mappings, by their type or, as Werkzeug's headers, by all that they can do."""
    return issubclass(kind, Mapping) or (
        all(hasattr(kind, name) for name in ("keys", "items", "__getitem__", "getlist"))
    )


def items_of(value: Any, kind: type, most: int) -> list[tuple[Any, Any]]:
    """
    Return the keys and values of *value*, a mapping of type *kind*: each key once, several values of it as a list.

    Werkzeug's and Django's multi-valued dicts, which hold a list for every key, give a list for every key. Others give one
    where a key is there more than once. Of a mapping without end *most* and one more are returned.
    """
    if issubclass(kind, dict):
        if hasattr(kind, "lists") and hasattr(
            kind, "getlist"
        ):  # Werkzeug's combined one has nothing in the dict itself
            return list(islice(value.lists(), most + 1))
        return list(dict.items(value))
    tell = next((name for name in _ALL_PAIRS if hasattr(kind, name)), "items")
    pairs = [(key, each) for key, each in islice(getattr(value, tell)(), most + 1)]
    if len(pairs) > most:
        return pairs
    together: dict[Any, list[Any]] = {}
    for key, each in pairs:
        together.setdefault(key, []).append(each)
    if len(together) == len(pairs):
        get = next((name for name in _ALL_VALUES if hasattr(kind, name)), None)
        return pairs if get is None else [(key, _all_values(value, get, key, each)) for key, each in pairs]
    return [(key, values if len(values) > 1 else values[0]) for key, values in together.items()]


def _all_values(mapping: Any, get: str, key: object, value: object) -> object:
    found = getattr(mapping, get)(key)
    return list(found) if isinstance(found, list | tuple) and len(found) > 1 and value in found else value
