"""
The process that is killed: it tracks the purchases and delivers them, as any program would.

``python -m eventspool._demo.child`` reads one line of JSON from its standard input and then goes to work. After each group of
purchases it waits until they are stored and only then writes the new offset to its standard output. The word
``finish`` has it end in good order. The end of its input means that the conductor is gone, and ends it at once.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["main"]


def main() -> None:
    """Do what the line on the standard input says."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    orders = json.loads(sys.stdin.readline())
    finish = threading.Event()
    threading.Thread(target=_obey, args=(finish,), daemon=True).start()
    _work(orders, finish)


def _obey(finish: threading.Event) -> None:
    for line in sys.stdin:
        if line.strip() == "finish":
            finish.set()
            return
    os._exit(3)  # the conductor is gone: this process must not outlive it


def _work(orders: Mapping[str, Any], finish: threading.Event) -> None:
    from eventspool import Client, QueueOpts
    from eventspool._demo.purchases import Source

    source = Source(Path(orders["path"]), "", sample=orders["sample"])
    offset, group = orders["offset"], orders["group"]
    client = Client(
        orders["write_key"],
        data_plane_url=orders["data_plane_url"],
        flush_at=group,
        timeout=5.0,
        strict=True,
        persistence=QueueOpts(
            url=orders["queue"],
            queue_name=orders["queue_name"],
            is_multi_processor=True,
            job_opts=orders["job_opts"],
        ),
    )
    client.flush(timeout=0.0)  # starts the client, which delivers what the queue holds already
    rows = source.orders(offset)
    while batch := list(islice(rows, group)):
        for order in batch:
            client.track(
                order.user_id,
                "Order Completed",
                order.properties,
                timestamp=order.timestamp,
                message_id=order.message_id,
            )
        client.flush(until="persisted")
        offset += len(batch)
        print(json.dumps({"stored": offset}), flush=True)  # noqa: T201 - the conductor reads it
        time.sleep(orders["pace"])
    finish.wait()
    client.close()


if __name__ == "__main__":
    main()
