"""
One process of the load of ``torture.failovers``: it stores events and writes down each call, or it delivers.

Its argument says what it does, as JSON. The end of its standard input ends it.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from eventspool import Client, QueueOpts

THREADS = 50
"""Callers of one process that wait at the same time, each for its own event. Each of them has a user of its own."""


def main() -> None:
    """Work until the standard input ends."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    queue = QueueOpts(
        url=options["url"],
        queue_name=options["queue"],
        prefix=options["prefix"],
        ordering=options["ordering"],
        partitions=options["partitions"],
        job_opts={"visibility_timeout": 5.0},
    )
    if options["ledger"] is None:
        with Client("key", data_plane_url=options["plane"], persistence=queue):
            sys.stdin.read()
        return
    client = Client(
        "key",
        data_plane_url=options["plane"],
        persistence=queue,
        durability=options["durability"],
        process=False,
        timeout=20.0,
    )
    ended = threading.Event()
    with Path(options["ledger"]).open("w", buffering=1) as ledger:
        threads = [
            threading.Thread(
                target=call, args=(client, ledger, ended, THREADS / options["rate"], options["name"], number)
            )
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        ended.set()
        for thread in threads:
            thread.join()
    client.close(timeout=10.0)


def call(
    client: Client, ledger: TextIO, ended: threading.Event, pause: float, name: str, number: int
) -> None:
    """
    Store an event of one user every *pause* seconds, and write down when each was acknowledged.

    An event's id says whose it is and which of them. One that was not acknowledged is kept, too, and the next one comes after
    it.
    """
    user = f"{name}-{number}"
    due = time.monotonic() + pause * number / THREADS
    for count in itertools.count():
        if ended.wait(max(0.0, due - time.monotonic())):
            return
        event = f"{user}.{count}"
        is_acknowledged = client.track(user, "Failed Over", message_id=event) is not None
        ledger.write(f"{time.time():.4f} {event if is_acknowledged else ''}\n")
        due = max(due + pause, time.monotonic())


if __name__ == "__main__":
    main()
