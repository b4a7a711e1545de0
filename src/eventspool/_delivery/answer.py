"""
A request is written and its answer read, as HTTP/1.1 wants it (RFC 9112), within bounds of size and time.

The answer may come before the request is written: a data plane that finds a batch too large, or its key wrong, says so after
the head, and closes. Interim answers (1xx) are passed over. ``http.client`` would not do: it knows no early answer, no interim
one but 100, at most 100 headers, and no deadline.
"""

from __future__ import annotations

import contextlib
import re
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventspool._delivery.wire import Wire

__all__ = ["Answer", "AnswerError", "CutError", "LostError", "NoHTTPError", "ask"]

_MAX_HEAD_BYTES = 1 << 20
"""Most bytes that are read before an answer's body: those of interim answers and of all headers."""
_MAX_FRAMING_BYTES = 16 << 20
"""Most bytes that are read to frame a body: the sizes of its chunks, and trailers."""
_MAX_EARLY_BYTES = 32 << 20
"""Most bytes of an answer that are taken in while the request is still being written."""
_STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) +([1-9][0-9][0-9])(?:[ \t][^\n]*)?")
_HEAD_END = re.compile(rb"\n\r?\n")
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})[ \t]*(?:;.*)?", re.DOTALL)
_CONNECTION_LOST = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, ssl.SSLEOFError)


class AnswerError(Exception):
    """There is no whole answer."""


class LostError(AnswerError):
    """The connection was closed or reset before a byte of an answer came."""


class CutError(AnswerError):
    """The connection was closed or reset amid the answer."""


class NoHTTPError(AnswerError):
    """What came is no HTTP/1 answer that we asked for."""


class Answer:
    """
    One answer. ``look`` until its head is there, then ``pieces`` are its body.

    Args:
        wire: Where it comes from.
        method: Of the request: the answer to ``HEAD`` has no body, and neither has that to a ``CONNECT`` that worked.
    """

    def __init__(self, wire: Wire, method: str) -> None:
        self._wire = wire
        self._method = method
        self._searched = 0
        self._room = _MAX_HEAD_BYTES
        self._version = 0
        self._framing = 0
        self._headers: dict[str, str] = {}
        self.status = 0
        """The HTTP status, 0 while the head is not there."""
        self.is_asked_in_full = False
        """The request was written to its end."""
        self._is_read = False

    def header(self, name: str) -> str:
        """Return a header by its name in lower case; "" where there is none. Several of one name are joined by commas."""
        return self._headers.get(name, "")

    @property
    def is_reusable(self) -> bool:
        """The connection can take another request: this one and its answer are over, and neither side is to close."""
        tokens = _tokens(f"{self.header('connection')},{self.header('proxy-connection')}")
        stays = "close" not in tokens if self._version else "keep-alive" in tokens
        return (
            self._is_read and self.is_asked_in_full and stays and not (self._wire.unread or self._wire.ended)
        )

    def look(self) -> bool:
        """
        Say whether the head of the final answer is among what has come.

        Raises:
            NoHTTPError: What has come is no answer, or too long for one.
        """
        unread = self._wire.unread
        while not self.status and unread:
            if not b"HTTP/1.".startswith(unread[:7]):
                raise NoHTTPError
            end = _HEAD_END.search(unread, self._searched)
            if end is None:
                self._searched = max(0, len(unread) - 3)
                if len(unread) > self._room:
                    raise NoHTTPError
                return False
            self._take_head(end.end())
        return bool(self.status)

    def _take_head(self, size: int) -> None:
        unread = self._wire.unread
        head = bytes(unread[:size])
        del unread[:size]
        self._room -= size
        self._searched = 0
        if self._room < 0:
            raise NoHTTPError
        line, *lines = head.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
        found = _STATUS_LINE.fullmatch(line)
        if not found or found[2] == b"101":  # 101 switches to another protocol, for which we did not ask
            raise NoHTTPError
        status = int(found[2])
        if status >= 200:
            self._version, self.status = int(found[1]), status
            self._headers = _parse_headers(lines)

    def pieces(self, deadline: float) -> Iterator[bytes]:
        """
        Yield the body as it comes, without what frames it.

        Raises:
            CutError: It ends too early.
            NoHTTPError: Its framing makes no sense.
            TimeoutError: It was not over by the *deadline*.
        """
        codings, length = _tokens(self.header("transfer-encoding")), self.header("content-length")
        if self._is_bodiless():
            pass
        elif codings == ["chunked"]:
            yield from self._chunks(deadline)
        elif codings not in ([], ["identity"]):
            raise NoHTTPError
        elif length:
            yield from self._sized(_parse_length(length), deadline)
        else:
            yield from self._to_the_end(deadline)
        # An answer with both headers may mean either, so it is not known where the next one would begin.
        self._is_read = not (codings and length)

    def _is_bodiless(self) -> bool:
        tunnel = self._method == "CONNECT" and self.status < 300
        return tunnel or self._method == "HEAD" or self.status in (204, 304)

    def _to_the_end(self, deadline: float) -> Iterator[bytes]:
        while not self._wire.ended:
            yield self._take(len(self._wire.unread))
            self._more(deadline)
        yield self._take(len(self._wire.unread))

    def _sized(self, left: int, deadline: float) -> Iterator[bytes]:
        while left:
            while not self._wire.unread:
                self._more(deadline, is_due=True)
            piece = self._take(left)
            left -= len(piece)
            yield piece

    def _chunks(self, deadline: float) -> Iterator[bytes]:
        while True:
            size = _CHUNK_SIZE.fullmatch(self._line(deadline))
            if size is None:
                raise NoHTTPError
            if not (count := int(size[1], 16)):
                break
            yield from self._sized(count, deadline)
            if self._line(deadline):
                raise NoHTTPError
        while self._line(deadline):  # trailers
            pass

    def _line(self, deadline: float) -> bytes:
        searched = 0
        while (end := self._wire.unread.find(b"\n", searched)) < 0:
            searched = len(self._wire.unread)
            self._spend(searched)
            self._more(deadline, is_due=True)
        line = self._take(end + 1)
        self._framing += len(line)
        self._spend(0)
        return line.rstrip(b"\r\n")

    def _spend(self, more: int) -> None:
        if self._framing + more > _MAX_FRAMING_BYTES:
            raise NoHTTPError

    def _take(self, most: int) -> bytes:
        unread = self._wire.unread
        if most >= len(unread):
            taken = bytes(unread)
            unread.clear()
        else:
            taken = bytes(unread[:most])
            del unread[:most]
        return taken

    def _more(self, deadline: float, *, is_due: bool = False) -> None:
        """Wait for more of the answer. *is_due*: the answer is cut off where nothing more comes."""
        wire = self._wire
        if not wire.ended:
            wire.wait(deadline)
            try:
                wire.receive()
            except _CONNECTION_LOST:
                raise CutError from None
        if wire.ended and is_due:
            raise CutError


def ask(wire: Wire, request: bytes, deadline: float, method: str = "POST") -> Answer:
    """
    Write *request* and return its answer, with the body still unread.

    Where a final answer other than 2xx comes amid the request, the rest of the request is not written. After a 2xx it is
    written: the data plane may take a batch in while it answers.

    Raises:
        LostError: The connection was closed before an answer began.
        CutError: It was closed before the answer's head was over.
        NoHTTPError: What came is no answer.
        TimeoutError: The head did not come by the *deadline*.
        OSError: The network failed in another way.
    """
    answer = Answer(wire, method)
    rest = memoryview(request)
    with contextlib.suppress(*_CONNECTION_LOST):  # the other side may have said why before it closed
        while rest and not (answer.look() and answer.status >= 300) and not wire.ended:
            rest = rest[wire.write(rest) :]
            if rest and wire.wait(deadline, to_write=True):
                wire.receive()
                if len(wire.unread) > _MAX_EARLY_BYTES:
                    raise NoHTTPError
    answer.is_asked_in_full = not rest
    while not answer.look():
        if wire.ended:
            raise CutError if wire.unread else LostError
        wire.wait(deadline)
        try:
            wire.receive()
        except _CONNECTION_LOST:
            wire.ended = True
    return answer


def _parse_headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    name = ""
    for line in lines:
        text = line.decode("latin-1")
        if text[:1] in (" ", "\t"):  # the previous line goes on
            value = text.strip()
        else:
            name, colon, value = text.partition(":")
            name, value = name.strip().lower(), value.strip()
            if not colon:
                name = ""
        if name:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _tokens(value: str) -> list[str]:
    return [token for part in value.lower().split(",") if (token := part.strip())]


def _parse_length(value: str) -> int:
    lengths = set(_tokens(value))
    length = lengths.pop() if lengths else ""
    if lengths or not (length.isascii() and length.isdigit()):
        raise NoHTTPError
    return int(length) if len(length) <= 18 else 10**18  # Python reads no number of thousands of digits
