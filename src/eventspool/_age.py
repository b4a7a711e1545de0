"""Durations as people read them, in tables and in what doctor finds."""

from __future__ import annotations

__all__ = ["format_age"]


def format_age(seconds: float) -> str:
    """Return a duration in its two largest units: ``3.2 s``, ``4 min 5 s``, ``2 d 3 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for size, name, small, small_name in (
        (86_400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {name} {whole % size // small} {small_name}"
    raise AssertionError
