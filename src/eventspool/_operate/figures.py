"""Figures as people read them, on the command line, in the dashboard and in what the doctor finds."""

from __future__ import annotations

__all__ = ["format_age", "format_count"]


def format_count(number: int, one: str, many: str | None = None) -> str:
    """Return ``1 job``, ``2,345 jobs``; *many* where the plural takes more than an "s"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


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
