"""
What stands in a column, as a value that the rest can use. Pure.

Another program may have written anything into the file, so every value is taken with a doubt, and none may raise.
"""

from __future__ import annotations

from typing import Any

__all__ = ["MAX_COUNT", "as_bytes", "as_count", "as_id", "as_text", "micros"]

MAX_COUNT = 1 << 31
"""Largest count that is believed."""


def micros(seconds: float) -> int:
    """Return *seconds* in microseconds."""
    return int(seconds * 1_000_000)


def as_count(value: Any) -> int:
    """Return a stored number as a count."""
    return int(min(max(value, 0), MAX_COUNT)) if isinstance(value, (int, float)) and value == value else 0


def as_bytes(value: Any) -> bytes | None:
    """Return a stored payload; the processor judges it."""
    return value if value is None or isinstance(value, bytes) else str(value).encode()


def as_text(value: object) -> str:
    """Return *value* as text that can be stored: SQLite takes no lone surrogates."""
    return str(value).encode("utf-8", "replace").decode()


def as_id(job_id: str) -> str | None:
    """Return *job_id* as a statement takes it: ``None``, which is no job's, for text with surrogates, which no file holds."""
    try:
        job_id.encode()
    except UnicodeEncodeError:
        return None
    return job_id
