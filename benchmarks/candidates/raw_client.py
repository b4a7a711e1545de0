"""
The sink's own limit: a client that posts ready bodies over raw sockets and does nothing else.

``raw_client.py SINK_URL EVENTS EVENTS_A_REQUEST CONNECTIONS``. Prints ``{"seconds", "cpu_seconds", "requests"}``.
"""

from __future__ import annotations

import functools
import gzip
import json
import resource
import socket
import sys
import threading
import time

from benchmarks.event import CONTEXT, EVENT, USER, varied_properties

_varied = functools.cache(varied_properties)


def _request(first: int, events: int) -> bytes:
    batch = [
        {
            "type": "track",
            "userId": USER,
            "event": EVENT,
            "properties": {**properties, "order_id": f"o-{first + number:08d}"},
            "context": CONTEXT,
        }
        for number, properties in enumerate(_varied(events))
    ]
    body = gzip.compress(json.dumps({"batch": batch}, separators=(",", ":")).encode(), 1)
    head = f"POST /v1/batch HTTP/1.1\r\nHost: sink\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _post(port: int, requests: list[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for request in requests:
            connection.sendall(request)
            if connection.recv(4096)[9:12] != b"200":
                sys.exit("the sink refused a request")


def main(sink: str, events: int, per_request: int, connections: int) -> None:
    """Post *events* in requests of so many, over so many connections at once."""
    requests = [_request(first, per_request) for first in range(0, events, per_request)]
    port = int(sink.rsplit(":", 1)[1])
    threads = [
        threading.Thread(target=_post, args=(port, requests[index::connections]))
        for index in range(connections)
    ]
    cpu, begin = _cpu_seconds(), time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds, cpu = time.perf_counter() - begin, _cpu_seconds() - cpu
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "requests": len(requests)}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
