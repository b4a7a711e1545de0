"""
A function's process on AWS Lambda: a line of its input is a call, and a line of its output the answer.

``python function.py KEY URL returns|raises``
"""

from __future__ import annotations

import json
import sys
import time
from types import SimpleNamespace

import eventspool
from eventspool.integrations.aws_lambda import handler

key, url, ending = sys.argv[1:]
eventspool.init(key, data_plane_url=url)
answer: list[str | None] = []


@handler
def handle(event: int, context: object) -> None:
    """Track three events."""
    answer[:] = [eventspool.track(f"u{event}", "Asked") for _ in range(3)]
    if ending == "raises":
        raise ValueError


for line in sys.stdin:
    ends_at = time.monotonic() + 60.0
    told = SimpleNamespace(
        aws_request_id=f"request-{int(line)}",
        get_remaining_time_in_millis=lambda at=ends_at: int(1000 * (at - time.monotonic())),
    )
    try:
        handle(int(line), told)
    except ValueError:
        assert ending == "raises"
    print(json.dumps(answer), flush=True)
