"""What a queue keeps besides jobs: bounded journals, such as the trail of what operators did."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["JournalEntry", "keeps_journals"]


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """
    One entry of a journal.

    Args:
        position: Its place, which never changes: a later entry has a higher one.
        at: When it was appended, in seconds since the epoch by the store's clock.
        body: What it says.
    """

    position: int
    at: float
    body: bytes


def keeps_journals(backend: object) -> bool:
    """Say whether the store of a *backend* keeps journals. One that was written for an older release does not."""
    return callable(getattr(backend, "append", None))
