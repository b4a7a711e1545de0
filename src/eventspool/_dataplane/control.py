"""
The control endpoints: what a test in another process, the command line and the dashboard use.

    GET  /__stats             the counts, as JSON
    GET  /__events?limit=N    the last N (100) kept events, as JSON
    GET  /__requests?limit=N  the last N (100) requests, answered or not, as JSON
    GET  /__ids               the id of every event received, one a line, in the order of first arrival
                              (one with control characters as in a JSON string)
    POST /__faults            replace the fault script: a JSON array of rules, or {"rules": […], "seed": 0}
    POST /__reset             forget what arrived; the fault script stays

They need no write key, so they answer only this machine, only under a loopback name (a page whose host name
was rebound to 127.0.0.1 still sends its own), and never a page of another origin.
"""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs

from eventspool._dataplane.exchange import json_answer, refusal
from eventspool._dataplane.rules import parse_rule
from eventspool._dataplane.wire import Answer, Refused
from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eventspool._dataplane.ledger import RequestRecord, Stats
    from eventspool._dataplane.wire import Head, Wire

__all__ = ["PREFIX", "Controlled", "check_origin", "serve_control"]

PREFIX = "/__"
_MAX_BODY_BYTES = 65_536
_IDS_PER_BLOCK = 2_000
_LOOPBACK_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.IGNORECASE)
_ENDPOINTS = {
    "/__stats": "GET",
    "/__events": "GET",
    "/__requests": "GET",
    "/__ids": "GET",
    "/__faults": "POST",
    "/__reset": "POST",
}
_NO_STORE = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))


class Controlled(Protocol):
    """A data plane, as far as these endpoints need it."""

    @property
    def requests(self) -> list[RequestRecord]: ...

    def last_events(self, limit: int) -> list[dict[str, Any]]: ...

    def unique_ids(self) -> list[str]: ...

    def stats(self) -> Stats: ...

    def reset(self) -> None: ...

    def script(self, *rules: Any, seed: int | None = None) -> None: ...


def check_origin(headers: Mapping[str, str], peer: str) -> None:
    """Raise ``Refused`` (403) for another machine, another name than a loopback one, or a foreign page."""
    address = ipaddress.ip_address(peer.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    if not (mapped or address).is_loopback:
        raise Refused(403, "the control endpoints answer only this machine")
    host = headers.get("host", "")
    if not _LOOPBACK_HOST.fullmatch(host):
        raise Refused(403, "the control endpoints answer only to 127.0.0.1, localhost and [::1]")
    origin = headers.get("origin")
    foreign_site = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    if foreign_site or (origin is not None and origin.lower() != f"http://{host.lower()}"):
        raise Refused(403, "the control endpoints answer no page of another origin")


def serve_control(plane: Controlled, wire: Wire, head: Head, peer: str) -> bool:
    """Answer one control request; return whether the connection can serve another one."""
    try:
        check_origin(head.headers, peer)
        method = _ENDPOINTS.get(head.path)
        if method is None:
            raise Refused(404, f"known are {', '.join(_ENDPOINTS)}")  # noqa: TRY301 - one place answers refusals
        if method != head.method:
            raise Refused(405, f"{head.path} takes {method}")  # noqa: TRY301
        body = (
            wire.read_body(head, _MAX_BODY_BYTES)
            if method == "POST" and "content-length" in head.headers
            else b""
        )
        if method == "POST" and "transfer-encoding" in head.headers:
            body = wire.read_body(head, _MAX_BODY_BYTES)
    except Refused as refused:
        wire.send_answer(refusal(refused, *_NO_STORE), keep_alive=False)
        return False
    if head.path == "/__ids":
        _send_ids(plane.unique_ids(), wire, keep_alive=head.keep_alive)
        return head.keep_alive
    try:
        answer = _reply(plane, head, body)
    except ConfigError as error:
        answer = refusal(Refused(400, str(error)), *_NO_STORE)
    # A connection that outlived a change of the script would go on to be served during an outage.
    keep_alive = head.keep_alive and head.path != "/__faults"
    wire.send_answer(answer, keep_alive=keep_alive)
    return keep_alive


def _reply(plane: Controlled, head: Head, body: bytes) -> Answer:
    if head.path == "/__stats":
        return json_answer(200, plane.stats().as_dict(), *_NO_STORE)
    if head.path == "/__events":
        return json_answer(200, {"events": plane.last_events(_limit(head.query))}, *_NO_STORE)
    if head.path == "/__requests":
        limit = _limit(head.query)
        kept = plane.requests
        return json_answer(
            200, {"requests": [asdict(r) for r in kept[max(0, len(kept) - limit) :]]}, *_NO_STORE
        )
    if head.path == "/__reset":
        plane.reset()
    else:
        rules, seed = _read_script(body)
        plane.script(*rules, seed=seed)
    return json_answer(200, {"ok": True}, *_NO_STORE)


def _limit(query: str) -> int:
    text = parse_qs(query).get("limit", ["100"])[-1]
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ConfigError("limit must be a number of events")
    return int(text)


def _read_script(body: bytes) -> tuple[list[Any], int | None]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise ConfigError("the fault script is no JSON") from None
    seed = None
    if isinstance(given, dict):
        if set(given) - {"rules", "seed"}:
            raise ConfigError("a fault script is an array of rules, or an object of rules and seed")
        seed, given = given.get("seed"), given.get("rules")
    if not isinstance(given, list):
        raise ConfigError("rules must be an array")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise ConfigError("seed must be an integer")
    rules = [parse_rule(rule) for rule in given]
    if any(rule.outage and rule.to is None for rule in rules):
        raise ConfigError("an outage set over HTTP needs to: nothing would be left to end it")
    return rules, seed


def _send_ids(ids: list[str], wire: Wire, *, keep_alive: bool) -> None:
    total = sum(map(len, _id_blocks(ids)))
    answer = Answer(200, headers=_NO_STORE, content_type="text/plain; charset=utf-8")
    wire.send_blocks(answer, _id_blocks(ids), total, keep_alive=keep_alive)


def _id_blocks(ids: list[str]) -> Iterator[bytes]:
    for start in range(0, len(ids), _IDS_PER_BLOCK):
        yield "".join(f"{_as_line(i)}\n" for i in ids[start : start + _IDS_PER_BLOCK]).encode()


def _as_line(message_id: str) -> str:
    return message_id if message_id.isprintable() else json.dumps(message_id)[1:-1]
