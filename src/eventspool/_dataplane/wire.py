"""
HTTP/1.1 over one socket, every read bounded in bytes and in total time.

Not ``http.server``: its timeout restarts with every byte, which a slow client turns into for ever, and a
scripted fault has to end a connection at an exact point (before the body, after it, in the middle of the
answer).
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Answer", "Head", "Refused", "Wire"]

MAX_HEAD_BYTES = 32_768
_MAX_LINE_BYTES = 1_024
_RECV_BYTES = 65_536
_LINGER_SECONDS = 1.0
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")


class Refused(Exception):  # noqa: N818 - an answer, not a failure of ours
    """The request gets *status* and *message* as its answer; *index* names the event that it is about."""

    def __init__(self, status: int, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.index = index


@dataclass(frozen=True, slots=True)
class Head:
    """A request line and its headers, names in lower case."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    keep_alive: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """A response that is not on the wire yet."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"

    def encode(self, *, keep_alive: bool) -> bytes:
        """Return the response's bytes."""
        return self.head(len(self.body), keep_alive=keep_alive) + self.body

    def head(self, content_length: int, *, keep_alive: bool) -> bytes:
        """Return the status line and headers of a body of *content_length* bytes."""
        try:
            phrase = HTTPStatus(self.status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [
            f"HTTP/1.1 {self.status} {phrase}",
            f"Date: {formatdate(usegmt=True)}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {content_length}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        if not keep_alive:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


class Wire:
    """
    One accepted connection.

    Args:
        sock: The connected socket. The caller closes it.
        idle_timeout: Seconds that a connection may stand idle between two requests.
        read_timeout: Seconds from a request's first byte to its last.
    """

    def __init__(self, sock: socket.socket, *, idle_timeout: float, read_timeout: float) -> None:
        self._sock = sock
        self._idle_timeout = idle_timeout
        self._read_timeout = read_timeout
        self._buffer = bytearray()
        self._deadline = 0.0

    def read_head(self) -> Head | None:
        """
        Read up to the end of the headers; ``None`` when the client is done with this connection.

        Raises:
            Refused: 400, 408, 431 or 505. The connection is of no use afterwards.
            OSError: The connection broke.
        """
        try:
            if not self._buffer:
                self._deadline = time.monotonic() + self._idle_timeout
                self._fill()
        except (TimeoutError, EOFError):
            return None
        self._deadline = time.monotonic() + self._read_timeout
        try:
            while True:
                while self._buffer[:2] == b"\r\n":  # left over from a sloppy client's previous body
                    del self._buffer[:2]
                if self._buffer and not 65 <= self._buffer[0] <= 90 and self._buffer[0] != 13:
                    raise Refused(400, "this is no HTTP request (https:// to an http:// port?)")
                end = self._buffer.find(b"\r\n\r\n")
                if end > MAX_HEAD_BYTES or (end < 0 and len(self._buffer) > MAX_HEAD_BYTES):
                    raise Refused(431, f"the headers are larger than {MAX_HEAD_BYTES} bytes")
                if end >= 0:
                    return _parse_head(self._take(end + 4)[:-4])
                self._fill()
        except TimeoutError:
            raise Refused(408, f"the headers took longer than {self._read_timeout:g} seconds") from None
        except EOFError:
            return None

    def read_body(self, head: Head, limit_bytes: int) -> bytes:
        """
        Read the body that belongs to *head*, at most *limit_bytes*.

        Raises:
            Refused: 400, 408, 411, 413 or 501. The connection is of no use afterwards.
            OSError: The connection broke.
        """
        length = head.headers.get("content-length")
        coding = head.headers.get("transfer-encoding")
        if coding is not None and length is not None:
            raise Refused(400, "Content-Length and Transfer-Encoding exclude each other")
        if coding is not None and coding.lower() != "chunked":
            raise Refused(501, "the only Transfer-Encoding known here is chunked")
        if coding is None and length is None:
            raise Refused(411, "a POST needs a Content-Length or a chunked body")
        if length is not None and not (length.isascii() and length.isdigit() and len(length) <= 15):
            raise Refused(400, "Content-Length is no number")
        if length is not None and int(length) > limit_bytes:
            raise Refused(413, f"the body is larger than {limit_bytes} bytes")
        if head.headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            return self._take(int(length)) if length is not None else self._take_chunks(limit_bytes)
        except TimeoutError:
            raise Refused(408, f"the request took longer than {self._read_timeout:g} seconds") from None
        except EOFError:
            raise Refused(400, "the body ended early") from None

    def send(self, data: bytes) -> None:
        """Write *data*. Raises ``OSError`` when the client does not take it within ten seconds."""
        self._sock.settimeout(10.0)
        self._sock.sendall(data)

    def send_answer(self, answer: Answer, *, keep_alive: bool) -> None:
        """Write *answer*; without *keep_alive*, wait for the client to read it before we close."""
        self.send(answer.encode(keep_alive=keep_alive))
        if not keep_alive:
            self.finish()

    def send_blocks(
        self, answer: Answer, blocks: Iterable[bytes], total_bytes: int, *, keep_alive: bool
    ) -> None:
        """Write *answer* with a body that is never in memory as a whole."""
        self.send(answer.head(total_bytes, keep_alive=keep_alive))
        for block in blocks:
            self.send(block)

    def finish(self) -> None:
        """
        Say that no more comes, and take what the client is still sending, for a moment.

        Closing a socket that has unread input resets the connection, and a reset discards the answer on its
        way.
        """
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
            self.wait_for_client(_LINGER_SECONDS)

    def wait_for_client(self, seconds: float) -> None:
        """Read and forget until the client closes the connection, or *seconds* have passed."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(OSError):
            while (remaining := deadline - time.monotonic()) > 0:
                self._sock.settimeout(remaining)
                if not self._sock.recv(_RECV_BYTES):
                    return

    def reset(self) -> None:
        """Make the close that follows a reset (RST) instead of a polite end."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _fill(self) -> None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._sock.settimeout(remaining)
        chunk = self._sock.recv(_RECV_BYTES)
        if not chunk:
            raise EOFError
        self._buffer += chunk

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._fill()
        taken = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return taken

    def _take_line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _MAX_LINE_BYTES:
                break
            self._fill()
        if not 0 <= end <= _MAX_LINE_BYTES:
            raise Refused(400, "a line of the chunked body is too long")
        return self._take(end + 2)[:-2]

    def _take_chunks(self, limit_bytes: int) -> bytes:
        chunks: list[bytes] = []
        total = 0
        while True:
            size_text = self._take_line().partition(b";")[0].strip()
            if not _CHUNK_SIZE.fullmatch(size_text):
                raise Refused(400, "a chunk's size is no number")
            size = int(size_text, 16)
            total += size
            if total > limit_bytes:
                raise Refused(413, f"the body is larger than {limit_bytes} bytes")
            if size == 0:
                break
            chunks.append(self._take(size))
            if self._take(2) != b"\r\n":
                raise Refused(400, "a chunk is longer than it says")
        for _ in range(32):
            if not self._take_line():
                return b"".join(chunks)
        raise Refused(400, "the chunked body has too many trailers")


def _parse_head(raw: bytes) -> Head:
    request_line, *header_lines = raw.decode("latin-1").split("\r\n")
    parts = request_line.split(" ")
    if len(parts) != 3 or not _TOKEN.fullmatch(parts[0]) or not parts[1].startswith("/"):
        raise Refused(400, "the request line is malformed")
    method, target, version = parts
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refused(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    headers: dict[str, str] = {}
    for line in header_lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not _TOKEN.fullmatch(name):
            raise Refused(400, "a header line is malformed")
        if name in headers:
            if name in ("content-length", "transfer-encoding", "host", "authorization", "content-encoding"):
                raise Refused(400, f"the header {name} came twice")
            headers[name] += ", " + value.strip(" \t")
        else:
            headers[name] = value.strip(" \t")
    connection = headers.get("connection", "").lower()
    keep_alive = "close" not in connection if version == "HTTP/1.1" else "keep-alive" in connection
    path, _, query = target.partition("?")
    return Head(method, path, query, headers, keep_alive)
