"""Tracks and delivers on a SQLite queue for some seconds, and writes what was acknowledged and what arrived into one file."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

from eventspool import Client
from eventspool._dataplane.ledger import Ledger
from eventspool.testing import DataPlane

_THREADS = 3


class _Telling(Ledger):
    def __init__(self, file: int) -> None:
        super().__init__(keep_events=0, keep_requests=0)
        self._file = file

    def note(self, request: Any, accepted: Any = (), **counts: Any) -> None:
        if accepted:
            os.write(self._file, "".join(f"d {event['messageId']}\n" for event, _ in accepted).encode())
        super().note(request, accepted, **counts)


def main(url: str, said: str, seconds: str) -> None:
    """Work for *seconds* on the queue at *url*, then end at once, as in a power cut."""
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    plane = DataPlane("key", keep_events=0, keep_requests=0, faults=[{"status": 503, "p": 0.3}])
    plane._ledger = plane._connections._ledger = _Telling(file)
    plane.start()
    jobs = {"backoff_initial": 0.02, "backoff_max": 0.2, "max_attempts": 1_000_000}
    client = Client(
        "key",
        data_plane_url=plane.url,
        persistence={"url": url, "is_multi_processor": True, "job_opts": jobs},
        durability="persisted",
    )

    def run(number: int) -> None:
        count = 0
        while True:
            count += 1
            text = "x" * (count % 50 * 40)
            message_id = client.track("u", "e", {"text": text}, message_id=f"{number}-{count}")
            if message_id is not None:
                os.write(file, f"a {message_id}\n".encode())

    for number in range(_THREADS):
        threading.Thread(target=run, args=(number,), daemon=True).start()
    time.sleep(float(seconds))
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
