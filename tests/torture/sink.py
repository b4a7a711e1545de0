"""
The data plane as a process: fails when told to, and writes down every event that it takes before it says so.

One line for each arrival, in a file that outlives the process: ``TIME ID DIGEST BYTES``, where BYTES is a digest of the
event exactly as it came. Its faults are scripted over HTTP (see the local data plane's control endpoints).
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from typing import Any

from eventspool._dataplane.ledger import Ledger
from eventspool.testing import DataPlane
from torture.events import digest_of

__all__ = ["RecordingLedger", "main"]


class RecordingLedger(Ledger):
    """
    A data plane's record that is also appended to a file, before the request is answered.

    Args:
        path: The file.
    """

    def __init__(self, path: str) -> None:
        super().__init__(keep_events=0, keep_requests=0)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(self._file, b"\n")  # the one before may have died in the middle of a line

    def note(self, request: Any, accepted: Any = (), **counts: Any) -> None:
        """Write the events down, then count them."""
        moment = time.monotonic()
        lines = [
            f"{moment:.4f} {event['messageId']} {digest_of(event)} "
            f"{hashlib.blake2b(raw.encode(), digest_size=12).hexdigest()}\n"
            for event, raw in accepted
        ]
        if lines:
            os.write(self._file, "".join(lines).encode())
        super().note(request, accepted, **counts)


def main(write_key: str, port: str, path: str) -> None:
    """Serve until the standard input ends."""
    plane = DataPlane(write_key, port=int(port), keep_events=0, keep_requests=0)
    plane._ledger = plane._connections._ledger = RecordingLedger(path)
    with plane:
        os.write(1, b"ready\n")
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
