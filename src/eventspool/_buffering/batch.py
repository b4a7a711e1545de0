"""Cutting a run of encoded events into batches. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["cut_batches"]

_SEPARATOR_BYTES = 2
_FRAME_BYTES = (
    len('{"batch":[],"sentAt":"2026-11-23T17:26:00.123Z"}') - _SEPARATOR_BYTES
)  # the first has none


def cut_batches(events: Sequence[bytes], max_batch_bytes: int) -> Iterator[tuple[int, int]]:
    """
    Yield half-open ranges of *events*, in order, each the largest whose request body fits into
    *max_batch_bytes*.

    Sizes are those of the uncompressed body: that is what a data plane's limit is about. An event that is
    larger than a batch may be stands alone.
    """
    start, size = 0, _FRAME_BYTES
    for position, event in enumerate(events):
        grown = size + len(event) + _SEPARATOR_BYTES
        if grown > max_batch_bytes and position > start:
            yield start, position
            start, grown = position, _FRAME_BYTES + len(event) + _SEPARATOR_BYTES
        size = grown
    if start < len(events):
        yield start, len(events)
