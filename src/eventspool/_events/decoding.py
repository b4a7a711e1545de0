"""
Read and show stored events. This is the one place for both, and it takes what any process of any release has stored.

JSON has numbers that Python's own do not hold, or will not print: integers of thousands of digits, floats beyond 1.8e308. They
are read as ``Decimal``, which is equal to what was written, and are written again as they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from eventspool._envelope import EnvelopeError, open_envelope

__all__ = ["decode_batch", "decode_event", "exact_float", "exact_int", "json_text", "plain_float"]

_quote = json.encoder.encode_basestring
_quote_ascii = json.encoder.encode_basestring_ascii


def decode_event(event: bytes | str, *, is_exact: bool = False) -> dict[str, Any]:
    """
    Return what *event*, the JSON of one, says.

    Args:
        event: Of this or another process.
        is_exact: A number that a float would write differently (0.10) is a ``Decimal``.

    Raises:
        ValueError: It is no JSON object, or nested too deeply for Python to read.
    """
    try:
        fields = json.loads(
            event,
            parse_int=exact_int,
            parse_float=_any_float if is_exact else plain_float,
            parse_constant=lambda _: None,
        )
    except RecursionError:
        raise ValueError("the event is nested too deeply") from None
    if not isinstance(fields, dict):
        raise ValueError("the event is no JSON object")  # noqa: TRY004 - of wrong text, not of a wrong type
    return fields


def decode_batch(payload: bytes) -> list[dict[str, Any]]:
    """Return the events of a stored batch that can be read: none where it is damaged, encrypted or no batch."""
    try:
        stored = open_envelope(payload).split()
    except EnvelopeError:
        return []
    found: list[dict[str, Any]] = []
    for event in stored:
        try:
            found.append(decode_event(event))
        except ValueError:
            continue
    return found


def exact_int(text: str) -> int | Decimal:
    """Return the integer that *text* is. Python itself reads no more than some 4,300 digits."""
    try:
        return int(text)
    except ValueError:
        return Decimal(text)


def exact_float(text: str) -> float | Decimal:
    """Return the number that *text* is, so that it is written again as it was. Raises ``ValueError`` beyond all bounds."""
    number = float(text)
    if repr(number) == text:
        return number
    try:
        return Decimal(text)
    except ArithmeticError:
        raise ValueError("the number's exponent is beyond all bounds") from None


def plain_float(text: str) -> float | Decimal:
    """Return the float that *text* is; one that is beyond a float's bounds exactly, if any number is."""
    number = float(text)
    return number if number - number == 0 else _any_float(text)


def _any_float(text: str) -> float | Decimal:
    try:
        return exact_float(text)
    except ValueError:
        return float(text)


def json_text(value: object, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """
    Return *value* as JSON: always as such, unlike ``json.dumps``, and in its form.

    Numbers are exact, what is no number is null, and what JSON has no form for is its ``str``.

    Args:
        value: Mappings, iterables, text and numbers within each other.
        indent: Spaces a level; ``None`` puts all into one line.
        ascii_only: Escape every other character, halves of surrogate pairs too.
    """
    return _Writer(indent, _quote_ascii if ascii_only else _quote).text(value, 0)


class _Writer:
    def __init__(self, indent: int | None, quote: Any) -> None:
        self._indent = indent
        self._quote = quote
        self._colon = ":" if indent is None else ": "

    def text(self, value: object, level: int) -> str:
        if value is None or isinstance(value, bool):
            return {None: "null", True: "true", False: "false"}[value]
        if isinstance(value, str):
            return str(self._quote(str.__str__(value)))
        if isinstance(value, int | float | Decimal):
            return _number(value)
        if isinstance(value, Mapping):
            members = [f"{self._name(k)}{self._colon}{self.text(v, level + 1)}" for k, v in value.items()]
            return self._wrapped("{", members, "}", level)
        if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray):
            return self._wrapped("[", [self.text(each, level + 1) for each in value], "]", level)
        return str(self._quote(str(value)))

    def _name(self, key: object) -> str:
        return str(self._quote(str.__str__(key) if isinstance(key, str) else str(key)))

    def _wrapped(self, opening: str, members: list[str], closing: str, level: int) -> str:
        if self._indent is None or not members:
            return opening + ",".join(members) + closing
        line = "\n" + " " * self._indent * level
        inner = line + " " * self._indent
        return f"{opening}{inner}{f',{inner}'.join(members)}{line}{closing}"


def _number(value: float | Decimal) -> str:
    if isinstance(value, Decimal):
        return str(value) if value.is_finite() else "null"
    if isinstance(value, float):
        return float.__repr__(value) if value - value == 0 else "null"
    return str(Decimal(value)) if value.bit_length() > 2000 else int.__repr__(value)
