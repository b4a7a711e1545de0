"""The one error that ends a benchmark."""

from __future__ import annotations

__all__ = ["BenchmarkError"]


class BenchmarkError(Exception):
    """A run that cannot be counted: a process failed, an event was lost, a tool is missing."""
