"""
Track flat out with default options until all is delivered: ``slow.py NAME EVENTS SINK_URL [QUEUE_URL]``.

NAME is ``eventspool``, ``segment`` or ``hightouch``. The caller waits where a buffer is full, so nothing is dropped.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.event import CONTEXT, EVENT, USER, properties

if TYPE_CHECKING:
    from collections.abc import Callable


def make_client(name: str, sink_url: str, queue_url: str | None) -> tuple[Any, Callable[[Any], bool]]:
    """Return a client, and what tells from an answer of its ``track`` that the event was taken."""
    if name == "segment":
        from segment.analytics.client import Client

        return Client("key", host=sink_url), lambda answer: bool(answer[0])
    if name == "hightouch":
        from hightouch.htevents.client import Client

        return Client("key", host=sink_url), lambda answer: bool(answer[0])
    import eventspool

    persistence = {"url": queue_url, "is_multi_processor": True} if queue_url else None
    client = eventspool.Client("key", data_plane_url=sink_url, persistence=persistence)
    return client, lambda answer: answer is not None


def cpu_seconds() -> float:
    """Return the processor time that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main(name: str, events: int, sink_url: str, queue_url: str | None = None) -> None:
    """Run one candidate. The first event, which makes the connections, is not measured."""
    client, taken = make_client(name, sink_url, queue_url)
    client.track(USER, EVENT, properties(events), dict(CONTEXT))
    client.flush()
    cpu, begin = cpu_seconds(), time.perf_counter()
    for number in range(events):
        props, context = properties(number), dict(CONTEXT)
        while not taken(client.track(USER, EVENT, props, context)):
            time.sleep(0.001)
    client.flush()
    seconds, used = time.perf_counter() - begin, cpu_seconds() - cpu
    print(json.dumps({"events_per_second": events / seconds, "cpu_seconds_per_100k": used / events * 1e5}))
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
