"""
One measured run in a process of its own: ``candidate.py NAME EVENTS SINK_URL [QUEUE_URL]``. Prints one JSON object.

NAME is ``peer`` (events-sdk-python) or ``eventspool``. The caller waits where a buffer is full, so nothing is dropped.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

from event import CONTEXT, properties

if TYPE_CHECKING:
    from collections.abc import Callable

_WARM = 90_000_000


def _peer(url: str) -> tuple[Callable[[dict[str, Any], dict[str, Any]], bool], Callable[[], object]]:
    from hightouch.htevents.client import Client

    client = Client("key", host=url)

    def track(props: dict[str, Any], context: dict[str, Any]) -> bool:
        return bool(client.track("user_12345", "Order Completed", props, context)[0])

    return track, client.flush


def _eventspool(
    url: str, queue: str | None
) -> tuple[Callable[[dict[str, Any], dict[str, Any]], bool], Callable[[], object]]:
    import eventspool

    persistence = {"url": queue, "is_multi_processor": True} if queue else None
    client = eventspool.Client("key", data_plane_url=url, persistence=persistence)

    def track(props: dict[str, Any], context: dict[str, Any]) -> bool:
        return client.track("user_12345", "Order Completed", props, context) is not None

    return track, client.flush


def main(name: str, events: int, url: str, queue: str | None = None) -> None:
    """Run one candidate."""
    track, flush = _peer(url) if name == "peer" else _eventspool(url, queue)
    for number in range(_WARM, _WARM + 50):
        track(properties(number), dict(CONTEXT))
    flush()
    costs = []
    usage = resource.getrusage(resource.RUSAGE_SELF)
    begin = time.perf_counter()
    for number in range(events):
        props, context = properties(number), dict(CONTEXT)
        while True:
            before = time.perf_counter_ns()
            taken = track(props, context)
            after = time.perf_counter_ns()
            if taken:
                break
            time.sleep(0.001)
        costs.append(after - before)
    flush()
    seconds = time.perf_counter() - begin
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime - usage.ru_utime - usage.ru_stime
    print(
        json.dumps(
            {
                "events_per_second": events / seconds,
                "track_p50_us": statistics.median(costs) / 1000,
                "cpu_seconds_per_100k": cpu / events * 100_000,
                "warm": 50,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
