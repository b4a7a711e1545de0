"""
The web application's handler, called without a server: what tracking costs the thread that handles requests.

Reads questions, a JSON object a line: ``{"carts": [...], "rate": calls a second or null for no pause}`` is answered with
``{"latencies": [ms], "seconds"}``, ``{"flush": true}`` as ``POST /flush`` is. Latency counts from the scheduled moment.
"""

from __future__ import annotations

import json
import sys
import time

from web_app import handle


def call(carts: list[bytes], rate: float | None) -> dict[str, object]:
    """Handle all *carts*, on schedule."""
    latencies = []
    begin = time.perf_counter()
    for number, cart in enumerate(carts):
        moment = begin + number / rate if rate else time.perf_counter()
        wait = moment - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        handle("/", cart)
        latencies.append((time.perf_counter() - moment) * 1000)
    return {"latencies": latencies, "seconds": time.perf_counter() - begin}


for line in sys.stdin:
    question = json.loads(line)
    if question.get("flush"):
        print(handle("/flush", b"").decode(), flush=True)
    else:
        carts = [cart.encode() for cart in question["carts"]]
        print(json.dumps(call(carts, question["rate"])), flush=True)
