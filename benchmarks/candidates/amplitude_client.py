"""amplitude-analytics, with its default options. Its buffer has no bound."""

from __future__ import annotations

import time
from typing import Any

from amplitude import Amplitude, BaseEvent, Config, worker
from amplitude.constants import PluginType

from benchmarks.event import EVENT, USER
from driver import Candidate, Order, run


def make(order: Order) -> Candidate:
    """Return a client."""
    if order.idle:
        worker.Workers.start = lambda self: None
    settled = [0]
    called = [0]

    def settle(event: object, code: int, message: object = None) -> None:
        settled[0] += 1

    client = Amplitude(
        "key", Config(server_url=f"{order.sink}/2/httpapi", callback=None if order.idle else settle)
    )
    [destination] = client._Amplitude__timeline.plugins[PluginType.DESTINATION]  # noqa: SLF001 - no other way

    def track(properties: dict[str, Any], context: dict[str, Any]) -> None:
        called[0] += 1
        client.track(
            BaseEvent(
                EVENT,
                user_id=USER,
                event_properties=properties,
                ip=context["ip"],
                user_properties={"userAgent": context["userAgent"]},
            )
        )

    def flush() -> None:  # the client's own returns before all is sent
        while settled[0] < called[0]:
            client.flush()
            time.sleep(0.001)

    return Candidate(track=track, flush=flush, rest=destination.storage.pull_all)


if __name__ == "__main__":
    run(make)
