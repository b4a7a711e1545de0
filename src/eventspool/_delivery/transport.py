"""
HTTP to the data plane: one POST, one deadline, no redirects, connections kept and reused.

Built on ``http.client`` so that a request is bounded as a whole: every read gets what is left of one
deadline, which a per-read timeout does not give (a data plane that drips one byte a second would hold it for
ever). The answer's body is read up to 256 KiB and never decompressed: ``Accept-Encoding: identity`` is sent.
Proxies come from the environment (``HTTPS_PROXY``, ``HTTP_PROXY``, ``NO_PROXY``), certificate authorities
from the system (or ``SSL_CERT_FILE``).
"""

from __future__ import annotations

import base64
import contextlib
import encodings.idna  # noqa: F401 - the first lookup of a name would import it, perhaps while another thread forks
import functools
import http.client
import io
import select
import socket
import ssl
import time
import urllib.request
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from eventspool._delivery.verdict import DeliveryResult, parse_retry_after
from eventspool._version import __version__

if TYPE_CHECKING:
    from eventspool._config import ClientOpts

__all__ = ["HTTPTransport", "Transport", "write_head"]

_MAX_ANSWER_BYTES = 256 << 10
_MAX_RAW_BYTES = 1 << 20
"""Most that is read of one answer, with its headers and the framing of its chunks."""
_CONNECTION_LOST = (
    http.client.RemoteDisconnected,
    ConnectionResetError,
    ConnectionAbortedError,
    BrokenPipeError,
    ssl.SSLEOFError,
)


class Transport(Protocol):
    """The way to a data plane."""

    def send(self, body: bytes, *, gzip: bool) -> DeliveryResult:
        """POST *body* and return the outcome. Never raises; called from several threads."""

    def close(self) -> None:
        """Close idle connections."""


class _DeadlineReader(io.RawIOBase):
    """Reads a socket until one fixed moment, however slowly the bytes trickle in."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, deadline: float) -> None:
        self._raw = raw
        self._sock = sock
        self._deadline = deadline
        self._read = 0
        self.ended = False
        """The other side has closed the connection."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        _limit(self._sock, self._deadline)
        count = self._raw.readinto(buffer)
        self.ended = count == 0
        self._read += count or 0
        if (
            self._read > _MAX_RAW_BYTES
        ):  # such as a chunk of a negative size, which http.client reads to its end
            raise http.client.HTTPException
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer that is read against the deadline of its request."""

    def __init__(self, sock: socket.socket, *args: Any, deadline: float, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._reader = _DeadlineReader(self.fp.detach(), sock, deadline)
        self.fp = io.BufferedReader(self._reader)

    def begin(self) -> None:
        super().begin()
        if self._reader.ended:  # http.client takes headers that are cut off for complete
            raise http.client.IncompleteRead(b"")


def _dial(address: tuple[str, int], *_: object, deadline: float) -> socket.socket:
    """
    Return a connection to one of the addresses behind a name.

    They share what is left of the time evenly: a dead one that says nothing must not use up that of the others.
    """
    failure = OSError()
    found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    for left, (family, kind, protocol, _name, target) in zip(range(len(found), 0, -1), found, strict=True):
        sock = socket.socket(family, kind, protocol)
        try:
            now = time.monotonic()
            _limit(sock, now + (deadline - now) / left)
            sock.connect(target)
            _limit(sock, deadline)  # for the TLS handshake
            return sock
        except OSError as error:
            sock.close()
            failure = error
    raise failure


def _limit(sock: socket.socket, deadline: float) -> None:
    """Let no call on *sock* last beyond *deadline*, to a hundredth of what is left: setting a timeout is a system call."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    if not 0.99 * remaining <= (sock.gettimeout() or 0.0) <= 1.01 * remaining:
        sock.settimeout(remaining)


class HTTPTransport:
    """
    Sends batches to one data plane.

    Args:
        opts: The client's options; used are ``write_key``, ``data_plane_url``, ``path`` and ``timeout``.
    """

    def __init__(self, opts: ClientOpts) -> None:
        parts = urlsplit(opts.data_plane_url)
        self._tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._path = parts.path.rstrip("/") + opts.path
        self._timeout = opts.timeout
        host = _host_header(self._host, None if self._port == (443 if self._tls else 80) else self._port)
        self._headers = {
            "Host": host,
            "Accept-Encoding": "identity",
            "Authorization": "Basic " + base64.b64encode(f"{opts.write_key}:".encode()).decode(),
            "Content-Type": "application/json",
            "User-Agent": f"eventspool/{__version__}",
        }
        self._proxy: SplitResult | None = None
        self._proxy_error = ""
        try:
            self._proxy = _find_proxy(parts.scheme, self._host, self._port)
            login = _proxy_headers(self._proxy) if self._proxy else {}
        except ValueError:  # whose text may repeat a password
            self._proxy_error = "the proxy that the environment names is no URL"
        else:
            if self._proxy and self._proxy.scheme != "http":
                kind = self._proxy.scheme
                self._proxy_error = f"a proxy of kind {kind!r} is not supported, only HTTP"
            elif self._proxy and not self._tls:
                self._path = f"http://{host}{self._path}"
                self._headers.update(login)
        self._plain_head = write_head("POST", self._path, self._headers)
        self._gzip_head = write_head("POST", self._path, {**self._headers, "Content-Encoding": "gzip"})
        self._tls_context: ssl.SSLContext | None = None
        self._idle: list[http.client.HTTPConnection] = []

    def send(self, body: bytes, *, gzip: bool) -> DeliveryResult:
        """POST *body* within the timeout and return the outcome. Never raises."""
        deadline = time.monotonic() + self._timeout
        if self._proxy_error:
            return DeliveryResult(error=self._proxy_error)
        # One piece, written at once: each write costs a handover of the interpreter to another thread and back.
        head = self._gzip_head if gzip else self._plain_head
        request = b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
        try:
            while self._idle:
                try:
                    connection = self._idle.pop()
                except IndexError:  # another thread was quicker
                    break
                if _was_dropped(connection):
                    connection.close()
                    continue
                try:
                    return self._exchange(connection, request, deadline)
                except _CONNECTION_LOST:  # it was closed between our look and our request: once more, afresh
                    break
            return self._exchange(self._connect(), request, deadline)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return DeliveryResult(error=_explain(error), timed_out=isinstance(error, TimeoutError))

    def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _exchange(
        self, connection: http.client.HTTPConnection, request: bytes, deadline: float
    ) -> DeliveryResult:
        try:
            if connection.sock is None:
                # A proxy's answer to CONNECT is an answer, too.
                connection.response_class = functools.partial(_Answer, deadline=deadline)  # type: ignore[assignment]
                connection._create_connection = functools.partial(_dial, deadline=deadline)  # type: ignore[attr-defined] # noqa: SLF001
                connection.connect()
            _limit(connection.sock, deadline)
            with self._ask(connection.sock, request, deadline) as answer:
                content = answer.read(_MAX_ANSWER_BYTES)
                if answer.length and len(content) < _MAX_ANSWER_BYTES:
                    # The missing half may name events that were rejected.
                    raise http.client.IncompleteRead(b"")  # noqa: TRY301 - one place closes the connection
                retry_after = parse_retry_after(answer.getheader("Retry-After"), time.time())
                # Behind an interim answer (1xx) that we do not know comes the real one: it must not answer the next request.
                reusable = answer.status >= 200 and answer.isclosed() and not answer.will_close
        except BaseException:
            connection.close()
            raise
        if reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return DeliveryResult(answer.status, "", retry_after, content)

    def _ask(
        self, sock: socket.socket, request: bytes, deadline: float, method: str = "POST"
    ) -> http.client.HTTPResponse:
        """Return the answer to *request*, its body still unread."""
        sock.sendall(request)
        answer = _Answer(sock, method=method, deadline=deadline)
        try:
            answer.begin()
        except BaseException:
            answer.close()
            raise
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        proxy = self._proxy
        host, port = (proxy.hostname or "", proxy.port or 80) if proxy else (self._host, self._port)
        if not self._tls:
            return http.client.HTTPConnection(host, port)
        if self._tls_context is None:
            self._tls_context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, context=self._tls_context)
        if proxy:
            connection.set_tunnel(self._host, self._port, _proxy_headers(proxy))
        return connection


def _host_header(host: str, port: int | None) -> str:
    """Return what the ``Host`` header says (RFC 9110, section 7.2). *port*: unless it is the scheme's own."""
    with contextlib.suppress(UnicodeError):  # a name that is none is met when it is looked up
        host = host.encode("idna").decode()
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


def write_head(method: str, path: str, headers: dict[str, str]) -> bytes:
    """Return the head of a request, but for what may follow: further headers and the empty line."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), ""]
    return "\r\n".join(lines).encode("ascii", "replace")


def _was_dropped(connection: http.client.HTTPConnection) -> bool:
    """Say whether the other side closed an idle connection (or, which is as bad, sent something unasked)."""
    if connection.sock is None:
        return True
    if not hasattr(select, "poll"):  # Windows; eventlet removes it
        return bool(select.select([connection.sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _find_proxy(scheme: str, host: str, port: int) -> SplitResult | None:
    """Return the proxy on the way there. Raises ``ValueError`` where what the environment names is none."""
    for name in (host, f"{host}:{port}"):  # NO_PROXY may name the port
        if urllib.request.proxy_bypass_environment(name):  # type: ignore[attr-defined]
            return None
    url = urllib.request.getproxies_environment().get(scheme)
    if not url:
        return None
    proxy = urlsplit(url if "://" in url else f"http://{url}")
    _ = proxy.port
    if not proxy.hostname:
        raise ValueError
    return proxy


def _proxy_headers(proxy: SplitResult) -> dict[str, str]:
    if not proxy.username:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode()}


def _explain(error: Exception) -> str:
    """Return what went wrong in our own words: the driver's may repeat what was sent."""
    if isinstance(error, TimeoutError):
        return "the data plane did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the data plane's certificate was not accepted: {error.verify_message}"
    if isinstance(error, socket.gaierror):
        return "the data plane's name was not resolved"
    if isinstance(error, ConnectionRefusedError):
        return "the data plane refused the connection"
    if isinstance(error, (*_CONNECTION_LOST, http.client.IncompleteRead)):
        return "the data plane broke the connection off"
    if isinstance(error, ssl.SSLError):
        return "TLS with the data plane failed"
    if isinstance(error, http.client.HTTPException):
        return "the data plane did not speak HTTP"
    return f"the data plane was not reachable ({type(error).__name__})"
