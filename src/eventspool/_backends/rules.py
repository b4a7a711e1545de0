"""
What every store keeps to: its limits, what an ordering asks of it, and how it reads what it stored. Pure.

They stand here once, so that two processes on one queue, the processor and the contract suite mean the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from eventspool._config import Ordering

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eventspool._job import Job

__all__ = [
    "AGE_DEPTH",
    "BURST",
    "FAILURES",
    "LIMITED_POLL",
    "LONGEST_HOLD",
    "ORDER_RULES",
    "PAUSE_POLL",
    "PROBE_DEPTH",
    "PROBE_PAUSE",
    "PROBE_PERMIT",
    "PROBE_POLL",
    "PROBE_SPREAD",
    "PROBE_YIELD",
    "PROCESSOR_TTL",
    "QUEUE_LEASE",
    "READ_BYTES",
    "OrderRules",
    "count_within",
    "place_of",
    "positions_of",
]

QUEUE_LEASE: Final = 10.0
"""Longest lease of a queue as a whole, in seconds: after it another processor takes over from a dead one."""
PROBE_DEPTH: Final = 1000
"""How many due jobs a probe looks at."""
AGE_DEPTH: Final = 100
"""Among how many of the next jobs the oldest is sought. Producers' clocks differ, but not by more jobs than these."""
PROCESSOR_TTL: Final = 30.0
"""Seconds after which a silent processor is no longer counted."""
PAUSE_POLL: Final = 1.0
"""Seconds after which a processor that met a paused queue looks again, in case the wake-up is lost."""
FAILURES: Final = 5
"""Failures in a row after which the data plane counts as down: in one processor, or in all of them together."""
PROBE_PAUSE: Final = 4.8
"""
Most seconds after which the processors may probe again. The one that probed last leaves the next probe to others for
``PROBE_YIELD`` more, so two probes are five seconds apart at most. One that probes alone waits for up to ``backoff_max``.
"""
PROBE_YIELD: Final = 0.2
"""Seconds: were the last prober first again, one whose own network is broken would find the data plane down for ever."""
PROBE_PERMIT: Final = 5.0
"""Seconds for which only one processor may probe. Then another one does: the first may have died, or waits for an answer."""
PROBE_POLL: Final = 1.0
"""Least seconds after which the other processors ask what has become of a probe."""
PROBE_SPREAD: Final = 3.0
"""Most seconds more after which they do, each after its own: so they do not all come back at once after a good answer."""
LONGEST_HOLD: Final = 7200.0
"""Seconds; a data plane is asked to stay away from for an hour at most, so what says more is damaged, and is ignored."""
BURST: Final = 1.0
"""Seconds of ``max_events_per_second`` that may be used at once after a silence."""
LIMITED_POLL: Final = 0.25
"""Least seconds after which a processor asks again that met the limit: many of them must not ask for every single event."""
READ_BYTES: Final = 4 << 20
"""Most bytes of payloads that one call reads, but for a single larger one: a bound of memory, and of how long writers wait."""


@dataclass(frozen=True, slots=True)
class OrderRules:
    """
    What an ordering asks of a store.

    Args:
        one_holder: One processor at a time leases the queue as a whole; the others get nothing.
        keeps_places: A job keeps its place while it is leased or put off, and holds up what stands behind it.
        rejects_followers: Behind a job that does not fit, the rest of the commit is rejected: nothing overtakes it.
    """

    one_holder: bool
    keeps_places: bool
    rejects_followers: bool


ORDER_RULES: Final = {
    Ordering.NONE: OrderRules(one_holder=False, keeps_places=False, rejects_followers=False),
    Ordering.FIFO: OrderRules(one_holder=True, keeps_places=True, rejects_followers=True),
    Ordering.PER_USER: OrderRules(one_holder=False, keeps_places=True, rejects_followers=True),
}
"""Every ordering has an entry. For one that is forgotten, a backend cannot be made."""


def count_within(sizes: Iterable[int], max_bytes: int | None) -> int:
    """Return how many of the first *sizes* are at most *max_bytes* together. The first one fits in any case."""
    count = total = 0
    for size in sizes:
        total += size
        if count and max_bytes is not None and total > max_bytes:
            break
        count += 1
    return count


def place_of(after: Job | str | None) -> tuple[str, float | None]:
    """Return the id of the job behind which a list goes on, and the time that the list had for it, where that is known."""
    if after is None or isinstance(after, str):
        return after or "", None
    return after.id, after.next_attempt_at if after.failed_at is None else after.failed_at


def positions_of(stored: str | bytes | None) -> tuple[int, ...] | None:
    """Return the places of events that a store keeps as JSON; ``None`` where there are none, or none that can be read."""
    try:
        return tuple(map(int, json.loads(stored))) if stored else None
    except (TypeError, ValueError):
        return None
