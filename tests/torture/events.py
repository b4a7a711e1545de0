"""The events of a torture run: made from a seed, recognised by a digest of what the caller gave."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

__all__ = ["POISON", "digest_of", "is_poison", "make_event"]

POISON = "Poison"
"""The name of events that the data plane refuses while it is told to. They alone may end in the failed queue."""
_POISON_SHARE = 0.05
_IDENTITY = ("messageId", "type", "event", "userId", "properties", "timestamp")


def digest_of(event: Mapping[str, Any]) -> str:
    """Return a digest of what the caller gave and what must come out at the other end."""
    kept = {name: event.get(name) for name in _IDENTITY}
    return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=12).hexdigest()


def make_event(dice: random.Random, name: str) -> dict[str, Any]:
    """Return a track event in its wire form; *name* makes its message id unique."""
    poison = dice.random() < _POISON_SHARE
    size = dice.choice((0, 10, 40, 40, 200, 2000))
    return {
        "messageId": f"{'poison' if poison else 'event'}-{name}",
        "type": "track",
        "event": POISON if poison else "Order Completed",
        "userId": f"user-{dice.randrange(100)}",
        "properties": {
            "text": dice.choice(("a", "ü", "\u2028", "😀", '"\\', "\x7f")) * size,
            "total": dice.randrange(10**9) / 100,
            "lines": [{"sku": dice.randrange(10**12), "gift": dice.random() < 0.5} for _ in range(size % 7)],
            "note": None,
        },
        "timestamp": "2026-01-02T03:04:05.678Z",
    }


def is_poison(message_id: str) -> bool:
    """Whether the event with *message_id* was made to be refused."""
    return message_id.startswith("poison-")
