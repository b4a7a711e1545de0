"""Cutting a run of encoded events into batches. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["count_fitting"]

_SEPARATOR_BYTES = 2
_FRAME_BYTES = (
    len('{"batch":[],"sentAt":"2026-11-23T17:26:00.123Z"}') - _SEPARATOR_BYTES
)  # the first has none


def count_fitting(events: Sequence[bytes], max_batch_bytes: int) -> int:
    """
    Return how many of the first *events* make a request body of at most *max_batch_bytes*.

    Sizes are those of the uncompressed body: that is what a data plane's limit is about. An event that is larger
    than a batch may be stands alone. Other threads may append meanwhile.
    """
    size = _FRAME_BYTES
    total = len(events)
    for count in range(total):
        size += len(events[count]) + _SEPARATOR_BYTES
        if size > max_batch_bytes and count:
            return count
    return total
