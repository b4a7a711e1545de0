"""
Asks a data plane whether it would take our events, with a batch that holds none.

That is harmless, as no event arrives anywhere, and yet it tries the whole way: name, proxy, TLS, path and write key. A data
plane checks the key before it reads the body, so that an answer other than 401 and 403 means that it accepts the key. (Some
data planes accept every key and sort the events out later, which no client can see.)
"""

from __future__ import annotations

import email.utils
import ipaddress
import json
import socket
import ssl
import time
from datetime import UTC
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from eventspool._delivery.transport import HTTPTransport, write_head
from eventspool._doctor.plane_checks import PlaneFacts
from eventspool._events.clock import now_text

if TYPE_CHECKING:
    from eventspool._config import ClientOpts
    from eventspool._delivery.answer import Answer
    from eventspool._delivery.wire import Wire

__all__ = ["ask_plane"]


def ask_plane(opts: ClientOpts, *, has_key: bool) -> PlaneFacts:
    """Return what the data plane answers. Never raises."""
    parts = urlsplit(opts.data_plane_url)
    known: dict[str, Any] = {
        "url": opts.data_plane_url,
        "has_key": has_key,
        "encrypted": parts.scheme == "https",
        "loopback": _is_loopback(parts.hostname or ""),
    }
    probe = _Probe(opts, has_key=has_key)
    body = json.dumps({"batch": [], "sentAt": now_text()}).encode()
    began = time.monotonic()
    result = probe.send(body, gzip=False)
    elapsed = time.monotonic() - began
    probe.close()
    return PlaneFacts(
        problem=result.error,
        status=result.status,
        elapsed=elapsed,
        skew=probe.skew,
        expires_in=probe.expires_in,
        **known,
    )


class _Probe(HTTPTransport):
    """The transport that events take; it also notes what only doctor asks for."""

    def __init__(self, opts: ClientOpts, *, has_key: bool) -> None:
        super().__init__(opts)
        self._has_key = has_key
        self.skew: float | None = None
        self.expires_in: float | None = None

    def _ask(self, wire: Wire, request: bytes, deadline: float, method: str = "POST") -> Answer:
        if not self._has_key:  # so that the data plane sees no failed login
            method, headers = "HEAD", {**self._headers}
            del headers["Authorization"], headers["Content-Type"]
            request = write_head(method, self._path, headers) + b"\r\n"
        if isinstance(wire.sock, ssl.SSLSocket):
            self.expires_in = _expires_in(wire.sock)
        before = time.time()
        answer = super()._ask(wire, request, deadline, method)
        self.skew = _skew(answer.header("date"), (before + time.time()) / 2)
        return answer


def _expires_in(sock: ssl.SSLSocket) -> float | None:
    certificate = sock.getpeercert() or {}
    until = certificate.get("notAfter")
    return ssl.cert_time_to_seconds(until) - time.time() if isinstance(until, str) else None


def _skew(date: str, now: float) -> float | None:
    """Return by how many seconds a ``Date`` header, which has whole seconds only, is ahead of *now*."""
    try:
        moment = email.utils.parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:  # the zone "-0000", which means GMT here
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() + 0.5 - now


def _is_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return host == "localhost"
    return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)
