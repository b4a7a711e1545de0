"""
One process of the load of ``torture.failovers``: it stores events and writes down each call, or it delivers.

Its argument says what it does, as JSON. The end of its standard input ends it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any, TextIO

from eventspool import Client, QueueOpts

THREADS = 50
"""Callers that wait at the same time, each for its own event."""


def main() -> None:
    """Work until the standard input ends."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    queue = QueueOpts(
        url=options["url"],
        queue_name=options["queue"],
        prefix=options["prefix"],
        is_multi_processor=True,
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
            threading.Thread(target=call, args=(client, ledger, ended, THREADS / options["rate"], number))
            for number in range(THREADS)
        ]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        ended.set()
        for thread in threads:
            thread.join()
    client.close(timeout=10.0)


def call(client: Client, ledger: TextIO, ended: threading.Event, pause: float, number: int) -> None:
    """Store an event every *pause* seconds, and write down when each was acknowledged."""
    due = time.monotonic() + pause * number / THREADS
    while not ended.wait(max(0.0, due - time.monotonic())):
        name = client.track(f"user-{number}", "Failed Over")
        ledger.write(f"{time.time():.4f} {name or ''}\n")
        due = max(due + pause, time.monotonic())


if __name__ == "__main__":
    main()
