"""eventspool, with its default options. A durable queue is one that several processes share."""

from __future__ import annotations

from functools import partial

import eventspool
from benchmarks.event import EVENT, USER
from driver import Candidate, Order, run


def make(order: Order) -> Candidate:
    """Return a client."""
    persistence = {"url": order.queue, "is_multi_processor": True} if order.queue else None
    options = {"flush_at": 10_000, "flush_interval": 600.0} if order.idle else {}
    client = eventspool.Client("key", data_plane_url=order.sink, persistence=persistence, **options)
    return Candidate(
        track=partial(client.track, USER, EVENT), flush=client.flush, rest=client.flush, refusal=None
    )


if __name__ == "__main__":
    run(make)
