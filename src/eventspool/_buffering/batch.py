"""Cutting a run of encoded events into batches. No I/O, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import deque

__all__ = ["fill_batch"]

_SEPARATOR_BYTES = 2
_FRAME_BYTES = (
    len('{"batch":[],"sentAt":"2026-11-23T17:26:00.123Z"}') - _SEPARATOR_BYTES
)  # the first has none


def fill_batch(events: deque[bytes], max_batch_bytes: int) -> list[bytes]:
    """
    Move events from the left of *events* into a batch: as many as make a request body of *max_batch_bytes*.

    Sizes are those of the uncompressed body: that is what a data plane's limit is about. An event that is larger
    than a batch may be stands alone. Other threads may append meanwhile.
    """
    batch: list[bytes] = []
    size = _FRAME_BYTES
    pop, add = events.popleft, batch.append
    try:
        while True:
            event = pop()
            size += len(event) + _SEPARATOR_BYTES
            if size > max_batch_bytes and batch:
                events.appendleft(event)
                return batch
            add(event)
    except IndexError:
        return batch
