"""
Call ``track()`` and a fixed reference some number of times, for ``benchmarks/instructions.py`` to count instructions.

    python counted.py TRACK_CALLS REFERENCE_CALLS

Nothing else happens in this process: no thread, no delivery, no collection of garbage, and the two loops share nothing.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from typing import Any

import orjson
import uuid_utils

from eventspool import Client

# Not event.py's: what is counted stays the same whatever the benchmarks send.
PROPERTIES = {
    "order_id": "o-00000001",
    "total": 129.97,
    "revenue": 99.99,
    "tax": 9.9,
    "shipping": 5.0,
    "currency": "USD",
    "coupon": "SUMMER",
    "products": [{"sku": "A-1", "price": 19.5, "qty": 1}, {"sku": "B-2", "price": 45.14, "qty": 2}],
}
CONTEXT = {"ip": "10.1.2.3", "userAgent": "Mozilla/5.0 (X11; Linux x86_64)"}
LIBRARY = {"name": "eventspool", "version": "0.1.0"}


class Reference:
    """
    What no ``track()`` can do without, and nothing else: an id, the time, one JSON document, an append under a lock.

    It tells how many instructions this interpreter, these libraries and this processor need for such work. Changing it
    changes what every recorded figure means.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.events: list[bytes] = []

    def track(self, user_id: str, event: str, properties: dict[str, Any], context: dict[str, Any]) -> str:
        message_id = str(uuid_utils.uuid4())
        body = {
            "type": "track",
            "event": event,
            "properties": properties,
            "userId": user_id,
            "context": {**context, "library": LIBRARY},
            "messageId": message_id,
            "timestamp": "2026-11-23T17:26:00.123Z" if time.time() else "",
        }
        encoded = orjson.dumps(body)
        with self.lock:
            self.events.append(encoded)
        return message_id


def client_without_threads(events: int) -> Client:
    """Return a client that takes *events* as if it had been started, and of which nothing runs."""
    client = Client(
        "write-key",
        data_plane_url="http://127.0.0.1:9",
        flush_at=events + 1,
        max_internal_queue_size=events + 1,
    )
    client._put = client._beginning._make().buffer.put  # noqa: SLF001 - what the first event does, but for starting threads
    return client


def main() -> None:
    """Make the calls, check that every event was taken, and leave without cleaning up, which would be counted."""
    track_calls, reference_calls = map(int, sys.argv[1:])
    client, reference = client_without_threads(track_calls + 1), Reference()
    gc.collect()
    gc.disable()
    gc.freeze()
    track = client.track
    for _ in range(track_calls):
        track("user_12345", "Order Completed", PROPERTIES, CONTEXT)
    track = reference.track
    for _ in range(reference_calls):
        track("user_12345", "Order Completed", PROPERTIES, CONTEXT)
    waiting = client._pipe().buffer.waiting  # noqa: SLF001
    taken = waiting, len(reference.events), threading.active_count()
    if taken != (track_calls, reference_calls, 1):
        sys.exit(f"events taken by track() and by the reference, and threads: {taken}")
    os._exit(0)


main()
