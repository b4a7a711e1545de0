"""
Ask a data plane whether it would take our events, with a batch that holds none.

That is harmless: no event arrives anywhere, and yet the whole way is tried: name, proxy, TLS, path and write key. A data plane
checks the key before it looks into the body, so an answer other than 401 and 403 means that the key was taken (some data
planes accept every key and sort it out later; no client can see that).
"""

from __future__ import annotations

import email.utils
import ipaddress
import json
import socket
import ssl
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from eventspool._delivery.transport import HTTPTransport, write_head
from eventspool._doctor.plane_checks import PlaneFacts

if TYPE_CHECKING:
    import http.client

    from eventspool._config import ClientOpts

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
    body = json.dumps({"batch": [], "sentAt": _now()}).encode()
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
    """The transport that events take, which also notes what only a doctor wants to know."""

    def __init__(self, opts: ClientOpts, *, has_key: bool) -> None:
        super().__init__(opts)
        self._has_key = has_key
        self.skew: float | None = None
        self.expires_in: float | None = None

    def _ask(
        self, sock: socket.socket, request: bytes, deadline: float, method: str = "POST"
    ) -> http.client.HTTPResponse:
        if not self._has_key:  # nothing to be taken for a login that failed
            method, headers = "HEAD", {**self._headers}
            del headers["Authorization"], headers["Content-Type"]
            request = write_head(method, self._path, headers) + b"\r\n"
        if isinstance(sock, ssl.SSLSocket):
            self.expires_in = _expires_in(sock)
        before = time.time()
        answer = super()._ask(sock, request, deadline, method)
        self.skew = _skew(answer.getheader("Date"), (before + time.time()) / 2)
        return answer


def _expires_in(sock: ssl.SSLSocket) -> float | None:
    certificate = sock.getpeercert() or {}
    until = certificate.get("notAfter")
    return ssl.cert_time_to_seconds(until) - time.time() if isinstance(until, str) else None


def _skew(date: str | None, now: float) -> float | None:
    """Return how far a ``Date`` header, which has whole seconds, is ahead of *now*."""
    try:
        moment = email.utils.parsedate_to_datetime(date or "")
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:  # "-0000"; it is GMT, too
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() + 0.5 - now


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_loopback(host: str) -> bool:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return host == "localhost"
    return all(ipaddress.ip_address(str(each[4][0]).partition("%")[0]).is_loopback for each in found)
