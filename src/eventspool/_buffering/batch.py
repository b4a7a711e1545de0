"""Cutting a run of encoded events into batches. Pure."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from eventspool._envelope import FRAME_BYTES, SEPARATOR

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["count_fitting"]

_SEPARATOR_BYTES = len(SEPARATOR)


def count_fitting(events: Sequence[bytes], max_batch_bytes: int, guess: int = 0) -> int:
    """
    Return how many of the first *events* make a request body of at most *max_batch_bytes*.

    Sizes are those of the uncompressed body, which a data plane's limit is about. An event that is larger than a batch
    may be is a batch of its own. Other threads may append meanwhile. A *guess* of how many events will fit at least,
    such as a little less than last time, makes counting cheaper; a wrong guess changes nothing.
    """
    size, count, total = FRAME_BYTES - _SEPARATOR_BYTES, 0, len(events)  # no separator before the first
    guess = min(guess, total)
    try:
        guessed = size + sum(map(len, islice(events, guess))) + guess * _SEPARATOR_BYTES
    except RuntimeError:  # without a GIL another thread may append in between
        guessed = max_batch_bytes + 1
    if guessed <= max_batch_bytes:
        size, count = guessed, guess
    while count < total:
        size += len(events[count]) + _SEPARATOR_BYTES
        if size > max_batch_bytes and count:
            return count
        count += 1
    return total
