"""
Fill a queue with batches that nobody delivers yet: ``fill.py QUEUE_URL EVENTS EVENTS_A_BATCH [USERS]``; 0 for full batches.

With USERS the events are those of so many users in turns, without it one user's. The batches are put together as a client
would. That it goes through the backend is only to be quick about it.
"""

from __future__ import annotations

import json
import random
import sys
import uuid
from typing import TYPE_CHECKING

import orjson

from benchmarks.event import CONTEXT, EVENT, USER, varied_properties
from eventspool._backends import create_backend
from eventspool._config import QueueOpts
from eventspool._envelope import seal
from eventspool._job import NewJob, new_job_id

if TYPE_CHECKING:
    from collections.abc import Iterator

_BODY_BYTES = 460_800 - 50
"""The client's default ``max_batch_bytes``, less what stands around the events."""
_COMMIT_JOBS = 64
_MAX_JOBS = 10_000_000
_RUN = 20_000
"""Events that are encoded at a time."""
_VARIED = varied_properties(2000)
_random = random.Random(7)


def user_of(number: int, users: int) -> str:
    """Return the id of the user whose the *number*-th order is."""
    return f"user_{number % users}" if users else USER


def encoded_events(first: int, end: int, users: int = 0) -> list[bytes]:
    """Return the events of the orders from *first* to *end* (exclusive) as they go over the wire."""
    return [
        orjson.dumps(
            {
                "type": "track",
                "messageId": str(uuid.UUID(int=_random.getrandbits(128), version=4)),
                "timestamp": "2026-11-23T17:26:00.123Z",
                "originalTimestamp": "2026-11-23T17:26:00.123Z",
                "channel": "server",
                "context": {"library": {"name": "eventspool", "version": "0"}, **CONTEXT},
                "userId": user_of(number, users),
                "event": EVENT,
                "properties": {**_VARIED[number % len(_VARIED)], "order_id": f"o-{number:08d}"},
            }
        )
        for number in range(first, end)
    ]


def batches(events: int, size: int, users: int) -> Iterator[list[bytes]]:
    """Yield all events in batches of *size*, or of as many as make a request body of the default size."""
    batch: list[bytes] = []
    body_bytes = 0
    for first in range(0, events, _RUN):
        for event in encoded_events(first, min(first + _RUN, events), users):
            body_bytes += len(event) + 2
            if len(batch) == size if size else body_bytes > _BODY_BYTES:
                yield batch
                batch, body_bytes = [], len(event) + 2
            batch.append(event)
    yield batch


def main(url: str, events: int, size: int, users: int = 0) -> None:
    """Fill, and print how many jobs that makes."""
    backend = create_backend(QueueOpts(url=url, is_multi_processor=True, max_jobs=_MAX_JOBS))
    backend.open()
    jobs = 0
    group: list[NewJob] = []
    for batch in batches(events, size, users):
        group.append(NewJob(new_job_id(), seal(batch), len(batch)))
        jobs += 1
        if len(group) == _COMMIT_JOBS:
            backend.commit(group)
            group = []
    backend.commit(group)
    stored = backend.stats().waiting
    if (stored.jobs, stored.events) != (jobs, events):
        sys.exit(f"the queue holds {stored.events} of {events} events")
    backend.close()
    print(json.dumps({"jobs": jobs, "bytes": stored.bytes}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
