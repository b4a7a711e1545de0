"""How long to wait and when to stop trying. Pure: time and randomness come in as arguments."""

from __future__ import annotations

from random import SystemRandom

__all__ = ["backoff_bound", "compute_backoff", "is_exhausted", "system_random"]

system_random = SystemRandom()
"""
Where jitter is drawn from. The ``random`` module's own generator is the host's, which may have seeded it; this one has
no state, so forked children do not draw alike either.
"""


def backoff_bound(failures: int, initial: float, maximum: float) -> float:
    """Return ``min(maximum, initial * 2**(failures - 1))``, the bound after *failures* failures in a row."""
    return min(maximum, initial * 2.0 ** min(max(failures, 1) - 1, 63))


def compute_backoff(
    failures: int, initial: float, maximum: float, jitter: float, retry_after: float | None = None
) -> float:
    """
    Return the seconds to wait before a job's next attempt: drawn with full jitter, and never less than the data plane asked
    for.

    Args:
        failures: Failed attempts so far, this one included.
        initial: Bound of the first wait.
        maximum: Largest bound.
        jitter: A uniform draw from [0, 1).
        retry_after: What the data plane asked for, clamped.
    """
    return max(jitter * backoff_bound(failures, initial, maximum), retry_after or 0.0)


def is_exhausted(attempts: int, max_attempts: int, age: float, retry_for: float) -> bool:
    """
    Say whether a job is given up: it failed *max_attempts* times *and* is at least *retry_for* seconds old.

    A negative age means that the producer's clock runs ahead: such a job is new.
    """
    return attempts >= max_attempts and max(age, 0.0) >= retry_for
