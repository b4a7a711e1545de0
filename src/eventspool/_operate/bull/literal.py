"""
Read data that was written as JavaScript. Pure.

The Node SDKs store a batch by ``serialize-javascript``: JSON in which dates, functions and values that JSON lacks stand as
source code, which the SDKs evaluate. Here it is read as text: what is no data is refused, and the callbacks, which hold no
event, are passed over unread.
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["LiteralError", "read_literal"]

_STRING = r'"[^"\\]*(?:\\.[^"\\]*)*"'
_TOKEN = re.compile(
    rf"(?P<string>{_STRING})"
    rf"|new (?:Date|URL)\((?P<made>{_STRING})\)"
    r"|(?P<open>[\[{])|(?P<close>[\]}])|(?P<mark>[:,])"
    r"|(?P<plain>true|false|null|-?[0-9][0-9.eE+-]*)"
    r"|(?P<nothing>NaN|-?Infinity)"
    r"|(?P<undefined>undefined)"
)
_CALLBACKS = '"callbacks"'
_BEHIND_CALLBACKS = re.compile(r'\],"attempts":[0-9]{1,20}\}\Z')
_MOST_BEHIND = 40
"""Characters that stand behind the callbacks at most."""


class LiteralError(ValueError):
    """The text is no data, or is damaged. The message holds nothing of it."""


def read_literal(text: str) -> Any:
    """
    Return the value that *text* stands for, as JSON would have carried it to a data plane.

    A date is its text. NaN and infinities are ``None``. What is undefined is left out of an object, and ``None`` in an array.
    The member ``callbacks`` of the outermost object is left out.

    Raises:
        LiteralError: It holds a function elsewhere, a Map, or anything else that is no data.
    """
    try:
        return json.loads(_to_json(text))
    except (ValueError, RecursionError):
        raise LiteralError("the text is JavaScript that is no data, or is damaged") from None


def _to_json(text: str) -> str:
    """Return *text* as JSON. Whether it is whole and well-formed is for the reader of JSON to say."""
    parts: list[str] = []
    opened: list[str] = []
    at = 0
    end = _BEHIND_CALLBACKS.search(
        text, max(len(text) - _MOST_BEHIND, 0)
    )  # once: the text may have many such names
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise LiteralError("the text holds something that is no data")
        at, kind, part = found.end(), found.lastgroup, found[0]
        is_list = part == _CALLBACKS and opened == ["{"] and text.startswith(":[", at)
        if is_list and end is not None and end.start() >= at + len(":["):
            _drop_comma(parts)
            return "".join([*parts, "}"])
        if kind == "open":
            opened.append(part)
        elif kind == "close" and opened:
            opened.pop()
        elif kind == "made":
            part = found["made"]
        elif kind == "nothing":
            part = "null"
        elif kind == "undefined":
            if opened and opened[-1] == "{":
                _drop_member(parts)
                continue
            part = "null"
        elif part == "," and parts and parts[-1] == "{":
            continue  # behind a first member that was left out
        parts.append(part)
    return "".join(parts)


def _drop_member(parts: list[str]) -> None:
    """Take out the name and the colon that stand last."""
    if len(parts) < 2 or parts.pop() != ":":
        raise LiteralError("the text is damaged")
    parts.pop()
    _drop_comma(parts)


def _drop_comma(parts: list[str]) -> None:
    if parts and parts[-1] == ",":
        parts.pop()
