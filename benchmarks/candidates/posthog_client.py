"""posthog, with its default options."""

from __future__ import annotations

from typing import Any

from posthog import client as posthog_client
from posthog import consumer as posthog_consumer

from benchmarks.event import EVENT, USER
from driver import Candidate, Order, run


def make(order: Order) -> Candidate:
    """Return a client."""
    options = {}
    if order.idle:
        posthog_consumer.Consumer.start = lambda self: None
        options["max_queue_size"] = 1_000_000
    client = posthog_client.Client("phc_key", host=order.sink, **options)
    queue = client.queue

    def track(properties: dict[str, Any], context: dict[str, Any]) -> object:
        return client.capture(EVENT, distinct_id=USER, properties={**properties, **context})

    return Candidate(
        track=track,
        flush=client.flush,
        rest=queue.queue.clear,
        is_full=lambda: queue.qsize() >= queue.maxsize,
    )


if __name__ == "__main__":
    run(make)
