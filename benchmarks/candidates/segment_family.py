"""segment-analytics-python, and two of its descendants: events-sdk-python (Hightouch) and rudder-sdk-python."""

from __future__ import annotations

import importlib
from functools import partial

from benchmarks.event import EVENT, USER
from driver import Candidate, Order, run

_PACKAGES = {
    "segment": "segment.analytics",
    "hightouch": "hightouch.htevents",
    "rudder": "rudderstack.analytics",
}


def make(order: Order) -> Candidate:
    """Return a client."""
    package = _PACKAGES[order.name]
    options = {}
    if order.idle:
        importlib.import_module(f"{package}.consumer").Consumer.start = lambda self: None
        options["max_queue_size"] = 1_000_000
    client = importlib.import_module(f"{package}.client").Client("key", host=order.sink, **options)
    queue = client.queue
    return Candidate(
        track=partial(client.track, USER, EVENT),
        flush=client.flush,
        rest=queue.queue.clear,
        is_full=lambda: queue.qsize() >= queue.maxsize,
    )


if __name__ == "__main__":
    run(make)
