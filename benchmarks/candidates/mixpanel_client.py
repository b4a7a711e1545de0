"""mixpanel with its buffered consumer, which sends on the caller's thread with every fiftieth event, its largest batch."""

from __future__ import annotations

from typing import Any

import mixpanel

from benchmarks.event import EVENT, USER
from driver import Candidate, Order, run


def make(order: Order) -> Candidate:
    """Return a client."""
    if order.idle:
        mixpanel.Consumer.send = lambda self, *given, **named: None
    consumer = mixpanel.BufferedConsumer(events_url=f"{order.sink}/track")
    client = mixpanel.Mixpanel("token", consumer=consumer)

    def track(properties: dict[str, Any], context: dict[str, Any]) -> None:
        client.track(USER, EVENT, {**properties, **context})

    return Candidate(track=track, flush=consumer.flush, rest=consumer.flush)


if __name__ == "__main__":
    run(make)
