"""
A small web application, as ASGI and as WSGI: prices a cart and tracks five events. One server process runs it.

``BENCH_WEB`` in the environment says who tracks, as JSON: ``{"tracker": "none" | "eventspool" | "segment" | "posthog", "url":
data plane, "queue": queue options or null, "durable": whether calls are, "path": folders to import from besides, "freeze":
whether the collector is to leave alone what there is once the server is warm}``. ``POST /`` answers with the priced cart;
``POST /flush`` with the CPU time of the process and the number of full collections of garbage, once every event tracked so far
is delivered.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.event import CONTEXT, EVENT, USER, properties

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    Track = Callable[[dict[str, Any], dict[str, Any]], object]

EVENTS_A_REQUEST = 5
_CATALOGUE = {
    f"A-{n}": {"price": 5 + n * 0.37, "category": f"c{n % 12}", "name": f"Article {n}"} for n in range(500)
}


def price(cart: dict[str, Any]) -> dict[str, Any]:
    """Do what a handler does: look up, compute, group, sort. One to two milliseconds with the JSON around it."""
    categories: dict[str, dict[str, Any]] = {}
    for line in cart["lines"]:
        article = _CATALOGUE[line["sku"]]
        amount = round(article["price"] * line["quantity"], 2)
        tax = round(amount * 0.19, 2)
        group = categories.setdefault(article["category"], {"amount": 0.0, "tax": 0.0, "lines": []})
        group["amount"] += amount
        group["tax"] += tax
        group["lines"].append({**line, "name": article["name"], "amount": amount, "tax": tax})
    for group in categories.values():
        group["lines"].sort(key=lambda line: (-line["amount"], line["sku"]))
    return {
        "order": cart["order"],
        "total": round(sum(group["amount"] + group["tax"] for group in categories.values()), 2),
        "categories": dict(sorted(categories.items())),
    }


def _tracker(options: dict[str, Any]) -> tuple[Track | None, Callable[[], object]]:
    """Return what tracks one event, or ``None``, and what waits until all are delivered."""
    sys.path.extend(options.get("path", ()))
    name, url = options["tracker"], options["url"]
    if name == "none":
        return None, lambda: None
    if name == "eventspool":
        import eventspool

        durability = "persisted" if options.get("durable") else "buffered"
        client = eventspool.Client(
            "key", data_plane_url=url, persistence=options["queue"], durability=durability
        )
    elif name == "segment":
        from segment.analytics.client import Client

        client = Client("key", host=url)
    else:
        from posthog import Posthog

        posthog = Posthog("key", host=url)

        def capture(props: dict[str, Any], context: dict[str, Any]) -> object:
            return posthog.capture(EVENT, distinct_id=USER, properties={**props, **context})

        return capture, posthog.flush

    def track(props: dict[str, Any], context: dict[str, Any]) -> object:
        return client.track(USER, EVENT, props, context)

    return track, client.flush


_options = json.loads(os.environ["BENCH_WEB"])
_track, _flush = _tracker(_options)


def handle(path: str, body: bytes) -> bytes:
    """Answer one request."""
    if path == "/flush":
        _flush()
        if _options.get("freeze") and not gc.get_freeze_count():
            gc.collect()
            gc.freeze()
        full = gc.get_stats()[-1]["collections"]
        return json.dumps({"cpu_seconds": time.process_time(), "full_collections": full}).encode()
    cart = json.loads(body)
    answer = price(cart)
    if _track is not None:
        first = cart["order"] * EVENTS_A_REQUEST
        for number in range(first, first + EVENTS_A_REQUEST):
            _track(properties(number), dict(CONTEXT))
    return json.dumps(answer).encode()


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """The ASGI application."""
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    answer = handle(scope["path"], body)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def wsgi(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """The WSGI application."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    answer = handle(environ["PATH_INFO"], body)
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]
