"""Bugs on purpose, in the producers of a run: one that the torture does not notice would make it worthless."""

from __future__ import annotations

import random
from typing import Any

__all__ = ["KINDS", "commit"]

KINDS = ("forget", "alter", "invent")
_SHARE = 0.2


def commit(kind: str) -> None:
    """Have a share of this process's batches lose an event, change one, or gain one that nobody issued."""
    from eventspool._buffering import flusher

    seal = flusher.seal

    def sabotaged(events: list[bytes], **options: Any) -> bytes:
        if random.random() < _SHARE:
            first = bytes(events[0])
            if kind == "alter":
                events = [first.replace(b"Order Completed", b"Order Completes"), *events[1:]]
            elif kind == "invent":
                events = [*events, first.replace(b'"event-', b'"ghost-')]
            elif len(events) > 1:
                events = events[1:]
        return seal(events, **options)

    flusher.seal = sabotaged
