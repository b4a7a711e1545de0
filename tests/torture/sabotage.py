"""Bugs on purpose, in the producers of a run: one that the torture does not notice would make it worthless."""

from __future__ import annotations

import random
from typing import Any

__all__ = ["KINDS", "commit"]

KINDS = ("forget", "alter", "invent", "repeat", "shuffle")
_SHARE = 0.2


def commit(kind: str) -> None:
    """Have a share of this process's batches lose an event, change one, gain one, repeat one, or be mixed up."""
    from eventspool._buffering import maker

    seal = maker.seal
    before: list[bytes] = []

    def sabotaged(events: list[bytes], **options: Any) -> bytes:
        first = bytes(events[0])
        if random.random() < _SHARE:
            if kind == "alter":
                events = [first.replace(b"Order Completed", b"Order Completes"), *events[1:]]
            elif kind == "repeat":
                events = [*before, *events]
            elif kind == "shuffle":
                events = events[::-1]
            elif kind == "invent":
                events = [*events, first.replace(b'"event-', b'"ghost-')]
            else:  # where it was alone, another goes twice: a batch without events could be noticed by its size
                events = [*before, *events[1:]] or events
        else:
            before[:] = [first]
        return seal(events, **options)

    maker.seal = sabotaged
