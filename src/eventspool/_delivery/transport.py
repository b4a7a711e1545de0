"""
HTTP to the data plane: one POST, one deadline, no redirects, connections kept and reused.

A request is bounded as a whole. A timeout for each read would not do: a data plane that sends one byte a second would hold the
request for ever. The answer to a batch that was taken is read up to 16 MiB, for it may name events that were not taken; of any
other answer a little is quoted. ``Accept-Encoding: identity`` is sent; an answer that comes compressed all the same is
inflated within the same bound.

The options or the environment say which proxy is used (``_config.proxy``), and which certificates are believed
(``_config.authorities``).
"""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import socket
import ssl
import time
import zlib
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from eventspool._config.authorities import find_doubts, load_trust
from eventspool._config.proxy import Proxy, bare_host, find_proxy, parse_proxy, place
from eventspool._delivery.answer import Answer, AnswerError, CutError, LostError, NoHTTPError, ask
from eventspool._delivery.verdict import DeliveryResult, parse_retry_after
from eventspool._delivery.wire import Wire, dial, give_until
from eventspool._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eventspool._config import ClientOpts

__all__ = ["HTTPTransport", "Transport", "write_head"]

_MAX_ANSWER_BYTES = 16 << 20
_MAX_REFUSAL_BYTES = 64 << 10
"""Most that is read of an answer other than 2xx, for the sake of its connection."""
_REFUSAL_SECONDS = 1.0
"""Longest wait, in seconds, for the body of an answer other than 2xx: its status says enough."""
_QUOTED_BYTES = 4 << 10
_TOO_LONG = "with more than 16 MiB"


class Transport(Protocol):
    """The way to a data plane."""

    def send(self, body: bytes, *, gzip: bool) -> DeliveryResult:
        """POST *body* and return the outcome. Never raises; called from several threads."""

    def close(self) -> None:
        """Close idle connections."""


class _OutageError(Exception):
    """The way to the data plane is broken. Its text is for people."""

    def __init__(self, text: str, *, timed_out: bool = False) -> None:
        super().__init__(text)
        self.timed_out = timed_out


class HTTPTransport:
    """
    Sends batches to one data plane.

    Args:
        opts: The client's options; used are ``write_key``, ``data_plane_url``, ``path``, ``timeout``, ``proxy`` and
            ``ca_file``.
    """

    def __init__(self, opts: ClientOpts) -> None:
        parts = urlsplit(opts.data_plane_url)
        self._tls = parts.scheme == "https"
        self._host = bare_host(parts.hostname or "")
        self._port = parts.port or (443 if self._tls else 80)
        self._path = parts.path.rstrip("/") + opts.path
        self._timeout = opts.timeout
        self._ca_file = opts.ca_file
        self._origin = f"{parts.scheme}://{place(self._host, parts.port)}"
        host = _host_header(self._host, None if self._port == (443 if self._tls else 80) else self._port)
        self._headers = {
            "Host": host,
            "Accept-Encoding": "identity",
            "Authorization": _basic(f"{opts.write_key}:"),
            "Content-Type": "application/json",
            "User-Agent": f"eventspool/{__version__}",
        }
        self._proxy: Proxy | None = None
        self._proxy_trouble = ""
        try:
            if opts.proxy is None:
                self._proxy = find_proxy(parts.scheme, self._host, self._port, os.environ)
            elif opts.proxy:
                self._proxy = parse_proxy(opts.proxy)
        except (
            ValueError
        ) as error:  # not raised here, for the client makes its transport within an event method
            self._proxy_trouble = str(error)
        self._who = self._origin
        if self._proxy and not self._tls:
            self._path = f"http://{host}{self._path}"
            self._headers.update(_login(self._proxy))
            self._who = f"{self._origin} (through the proxy {self._proxy})"
        self._plain_head = write_head("POST", self._path, self._headers)
        self._gzip_head = write_head("POST", self._path, {**self._headers, "Content-Encoding": "gzip"})
        self._context: ssl.SSLContext | None = None
        self._idle: list[Wire] = []
        self._is_closed = False

    def send(self, body: bytes, *, gzip: bool) -> DeliveryResult:
        """POST *body* within the timeout and return the outcome. Never raises."""
        deadline = time.monotonic() + self._timeout
        # One piece, written at once: each write costs a handover of the interpreter to another thread and back.
        head = self._gzip_head if gzip else self._plain_head
        request = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        try:
            if wire := self._take_idle():
                try:
                    return self._exchange(wire, request, deadline)
                except (
                    LostError
                ):  # it was closed between our look and our request: again, with a new connection
                    pass
            return self._exchange(self._connect(deadline), request, deadline)
        except _OutageError as error:
            return DeliveryResult(error=str(error), timed_out=error.timed_out)
        except (OSError, AnswerError) as error:
            text = _explain(error, self._who)
            return DeliveryResult(error=text, timed_out=isinstance(error, TimeoutError))

    def close(self) -> None:
        """Close idle connections. A connection that is in use is closed when its answer is there."""
        self._is_closed = True
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread was quicker
                self._idle.pop().close()

    def _take_idle(self) -> Wire | None:
        while self._idle:
            try:
                wire = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if wire.is_idle():
                return wire
            wire.close()
        return None

    def _exchange(self, wire: Wire, request: bytes, deadline: float) -> DeliveryResult:
        kept = False
        try:
            answer = self._ask(wire, request, deadline)
            retry_after = parse_retry_after(answer.header("retry-after"), time.time())
            status = answer.status
            if 200 <= status < 300:
                content, trouble, timed_out = _read_whole(answer, deadline)
            else:
                content, trouble, timed_out = _read_beginning(answer, deadline), "", False
            if answer.is_reusable:
                self._idle.append(wire)
                kept = True
                if self._is_closed:
                    self.close()
        finally:
            if not kept:
                wire.close()
        error = f"{self._who} answered {status} {trouble}" if trouble else ""
        who = f"the proxy {self._proxy}" if status == 407 and self._proxy else self._who
        return DeliveryResult(status, error, retry_after, content, timed_out, who)

    def _ask(self, wire: Wire, request: bytes, deadline: float, method: str = "POST") -> Answer:
        """Return the answer to *request*, its body still unread. The doctor overrides this."""
        return ask(wire, request, deadline, method)

    def _connect(self, deadline: float) -> Wire:
        """Return a new connection. Raises ``_OutageError``."""
        if self._proxy_trouble:
            raise _OutageError(self._proxy_trouble)
        context = self._load_trust() if self._tls else None
        proxy = self._proxy
        with _told_of(f"the proxy {proxy}" if proxy else self._origin, "did not take the connection in time"):
            sock = dial(*((proxy.host, proxy.port) if proxy else (self._host, self._port)), deadline)
        try:
            if context and proxy:
                self._open_tunnel(Wire(sock), proxy, deadline)
            if context:
                with (
                    _told_of(self._origin, "did not finish the TLS handshake in time"),
                    self._told_of_trust(),
                ):
                    give_until(sock, deadline)
                    sock = context.wrap_socket(sock, server_hostname=self._host.partition("%")[0])
            return Wire(sock)
        except BaseException:
            sock.close()
            raise

    def _open_tunnel(self, wire: Wire, proxy: Proxy, deadline: float) -> None:
        target = _host_header(self._host, self._port)
        request = write_head("CONNECT", target, {"Host": target, **_login(proxy)}) + b"\r\n"
        with _told_of(f"the proxy {proxy}"):
            answer = ask(wire, request, deadline, "CONNECT")
            if wire.unread and answer.status < 300:  # in a tunnel our side speaks first
                raise NoHTTPError
        if not 200 <= answer.status < 300:
            raise _OutageError(f"the proxy {proxy} answered {answer.status} to CONNECT")

    @contextlib.contextmanager
    def _told_of_trust(self) -> Iterator[None]:
        try:
            yield
        except ssl.SSLCertVerificationError as error:
            doubts = "" if self._ca_file else find_doubts(os.environ)
            text = f"the certificate of {self._origin} was not accepted: {error.verify_message}{doubts}"
            raise _OutageError(text) from None

    def _load_trust(self) -> ssl.SSLContext:
        """Return the context that knows which certificates to believe, made when first needed. Raises ``_OutageError``."""
        if self._context is None:
            try:
                self._context = load_trust(self._ca_file, os.environ)
            except ValueError as error:
                raise _OutageError(f"ca_file: {error}") from None
        return self._context


def _read_whole(answer: Answer, deadline: float) -> tuple[bytes, str, bool]:
    """
    Return the body of a 2xx answer; what was wrong with it, as the end of a sentence; and whether it was late.

    Where anything is wrong, it is not known which events were taken: the missing part may name some that were not.
    """
    if not answer.is_asked_in_full:
        return b"", "before it had taken the whole batch in", False
    pieces, size = [], 0
    try:
        for piece in answer.pieces(deadline):
            pieces.append(piece)
            size += len(piece)
            if size > _MAX_ANSWER_BYTES:
                return b"", _TOO_LONG, False
    except TimeoutError:
        return b"", "but not all of it in time", True
    except (CutError, OSError):
        return b"", "and broke the answer off", False
    except AnswerError:
        return b"", "with a body that is not framed as HTTP wants it", False
    content = b"".join(pieces)
    coding = answer.header("content-encoding").lower()
    if not content or coding in ("", "identity"):
        return content, "", False
    return (*_inflate(content, coding), False)


def _inflate(content: bytes, coding: str) -> tuple[bytes, str]:
    """Return a body that was compressed although we did not ask for that, and what is wrong with it."""
    if coding not in ("gzip", "x-gzip", "deflate"):
        return b"", "in a coding that was not asked for"
    inflating = zlib.decompressobj(32 + zlib.MAX_WBITS)
    try:
        inflated = inflating.decompress(content, _MAX_ANSWER_BYTES + 1)
    except zlib.error:
        return b"", "with a body that cannot be inflated"
    if len(inflated) > _MAX_ANSWER_BYTES:
        return b"", _TOO_LONG
    if not inflating.eof or inflating.unused_data:
        return b"", "with a body that cannot be inflated"
    return inflated, ""


def _read_beginning(answer: Answer, deadline: float) -> bytes:
    """Return the beginning of a body that is only quoted. Errors amid it do not matter: the status is known."""
    content = bytearray()
    with contextlib.suppress(OSError, AnswerError):
        for piece in answer.pieces(min(deadline, time.monotonic() + _REFUSAL_SECONDS)):
            content += piece
            if len(content) > _MAX_REFUSAL_BYTES:
                break
    return bytes(content[:_QUOTED_BYTES])


def _host_header(host: str, port: int | None) -> str:
    """Return what the ``Host`` header says (RFC 9110, section 7.2). *port*: ``None`` where it is the scheme's own."""
    host = host.partition("%")[0]  # the zone of an address has a meaning on this machine only
    with contextlib.suppress(UnicodeError):  # an impossible name is met when it is looked up
        host = host.encode("idna").decode()
    return place(host, port)


def write_head(method: str, path: str, headers: Mapping[str, str]) -> bytes:
    """Return the head of a request, without what may follow: further headers, and the empty line."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), ""]
    return "\r\n".join(lines).encode("ascii", "replace")


def _basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


def _login(proxy: Proxy) -> dict[str, str]:
    return {"Proxy-Authorization": _basic(proxy.login)} if proxy.login else {}


@contextlib.contextmanager
def _told_of(who: str, late: str = "did not answer in time") -> Iterator[None]:
    """Turn whatever fails within into an ``_OutageError`` that names *who*."""
    try:
        yield
    except (OSError, AnswerError, UnicodeError) as error:
        text = _explain(error, who, late)
        raise _OutageError(text, timed_out=isinstance(error, TimeoutError)) from None


def _explain(error: Exception, who: str, late: str = "did not answer in time") -> str:
    """Return what went wrong, in our own words: those of the driver may repeat what was sent."""
    if isinstance(error, TimeoutError):
        return f"{who} {late}"
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"{who} did not resolve"
    if isinstance(error, ConnectionRefusedError):
        return f"{who} refused the connection"
    if isinstance(error, LostError | CutError | ConnectionError | ssl.SSLEOFError):
        return f"{who} broke the connection off"
    if isinstance(error, ssl.SSLError):
        return f"TLS with {who} failed: {(error.reason or 'unknown').lower().replace('_', ' ')}"
    if isinstance(error, AnswerError):
        return f"{who} did not speak HTTP"
    code = getattr(error, "errno", None) or 0
    if code in (errno.EMFILE, errno.ENFILE):
        return f"no file descriptor was left to reach {who}"
    return f"{who} was not reachable ({errno.errorcode.get(code, type(error).__name__)})"
