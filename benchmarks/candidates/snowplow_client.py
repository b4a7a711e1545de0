"""snowplow-tracker, tuned: one connection kept, 500 events a request instead of 10, no base64, no log line a request."""

from __future__ import annotations

import logging
from typing import Any

import requests
from snowplow_tracker import AsyncEmitter, SelfDescribing, SelfDescribingJson, Subject, Tracker

from benchmarks.event import USER
from driver import Candidate, Order, run

_EVENT = "iglu:com.example/order_completed/jsonschema/1-0-0"
_CONTEXT = "iglu:com.example/request/jsonschema/1-0-0"


def make(order: Order) -> Candidate:
    """Return a client."""
    logging.getLogger("snowplow_tracker.emitters").setLevel(logging.WARNING)
    if order.idle:
        AsyncEmitter.consume = lambda self: None
    emitter = AsyncEmitter(
        "127.0.0.1", protocol="http", port=order.port, batch_size=500, session=requests.Session()
    )
    tracker = Tracker("benchmark", emitter, app_id="benchmark", encode_base64=False)
    subject = Subject()
    subject.set_user_id(USER)

    def track(properties: dict[str, Any], context: dict[str, Any]) -> None:
        tracker.track(
            SelfDescribing(
                SelfDescribingJson(_EVENT, properties),
                event_subject=subject,
                context=[SelfDescribingJson(_CONTEXT, context)],
            )
        )

    return Candidate(track=track, flush=emitter.sync_flush, rest=lambda: None)


if __name__ == "__main__":
    run(make)
