"""
The stored form of a batch: versioned, checksummed, compressed once for storage *and* sending. Pure.

The text of a batch is ``{"batch":[EVENT,\\nEVENT,\\n…`` with every event exactly as encoded on the caller's
thread. A JSON string never holds a raw newline, so the events can be cut apart again without parsing them,
and the text becomes a request body by appending ``],"sentAt":"…"}``.

Compression keeps that property: the text is stored as a raw deflate stream that ends on a byte boundary
without its final block (a *sync flush*, RFC 1951 section 3.2.4). To send it, a gzip header goes before it,
and a stored block with the tail and the gzip trailer go behind it (RFC 1952). So a batch is compressed once,
and ``sentAt`` is still the moment of sending, days later.

Layout: ``"ES"``, version, flags (1 = deflate), then four little-endian u32: CRC-32 of all else, number of
events, CRC-32 of the text, length of the text; then the stream.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType

_deflate: ModuleType
try:  # ISA-L deflates several times faster, and sums ten times faster; the formats are the same.
    from isal import isal_zlib as _deflate
except ImportError:
    _deflate = zlib
_crc32: Callable[..., int] = _deflate.crc32

__all__ = ["Envelope", "EnvelopeError", "count_events", "open_envelope", "seal"]

_MAGIC = b"ES"
_VERSION = 1
_DEFLATE = 1
_HEADER = struct.Struct("<2sBBIIII")
_HEAD = b'{"batch":['
_SEPARATOR = b",\n"
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
MAX_TEXT_BYTES = 64 * 1024 * 1024
"""Most that a stored batch may inflate to; more is a decompression bomb, not a batch."""


class EnvelopeError(ValueError):
    """A stored payload cannot be read. ``reason`` is ``corrupt`` or ``unsupported``."""

    def __init__(self, message: str, reason: str = "corrupt") -> None:
        super().__init__(message)
        self.reason = reason


def seal(events: Sequence[bytes], *, compress: bool = True) -> bytes:
    """Return the envelope of *events*, each the compact JSON of one event."""
    text = _HEAD + _SEPARATOR.join(events)
    if compress:
        deflater = _deflate.compressobj(1, zlib.DEFLATED, -15)
        stream: bytes = deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)
    else:
        stream = text
    rest = struct.pack("<III", len(events), _crc32(text), len(text)) + stream
    head = struct.pack("<2sBB", _MAGIC, _VERSION, _DEFLATE if compress else 0)
    return head + struct.pack("<I", _crc32(rest, _crc32(head))) + rest


def count_events(payload: bytes) -> int:
    """Return the number of events that *payload* says it holds, 0 where it cannot be read. Opens nothing."""
    if len(payload) < _HEADER.size or payload[:3] != _MAGIC + bytes([_VERSION]):
        return 0
    return int(_HEADER.unpack_from(payload)[4])


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload whose header and checksum were found good."""

    events: int
    compressed: bool
    text_crc: int
    text_bytes: int
    stream: bytes

    def body(self, sent_at: str, *, gzip: bool) -> bytes:
        """Return the request body, ``sentAt`` included; gzipped where *gzip*."""
        tail = b'],"sentAt":"' + sent_at.encode() + b'"}'
        if not gzip:
            return self._text() + tail
        if not self.compressed:
            return zlib.compress(self._text() + tail, 1, 31)
        size = len(tail)
        block = struct.pack("<BHH", 1, size, size ^ 0xFFFF) + tail
        trailer = struct.pack("<II", _crc32(tail, self.text_crc), (self.text_bytes + size) & 0xFFFFFFFF)
        return b"".join((_GZIP_HEADER, self.stream, block, trailer))

    def split(self) -> list[bytes]:
        """Return the events' bytes, as they were sealed. Raises ``EnvelopeError`` where the count is wrong."""
        text = self._text()
        if not text.startswith(_HEAD):
            raise EnvelopeError("the batch does not begin as one")
        body = text[len(_HEAD) :]
        events = body.split(_SEPARATOR) if body else []
        if len(events) != self.events:
            raise EnvelopeError("the batch holds another number of events than it says")
        return events

    def _text(self) -> bytes:
        if not self.compressed:
            return self.stream
        inflater = zlib.decompressobj(-15)
        try:
            text = inflater.decompress(self.stream, self.text_bytes + 1)
        except zlib.error:
            raise EnvelopeError("the batch cannot be inflated") from None
        if len(text) != self.text_bytes or _crc32(text) != self.text_crc:
            raise EnvelopeError("the batch inflates to something else than was stored")
        return text


def open_envelope(payload: bytes) -> Envelope:
    """
    Check *payload* and return what is in it.

    Raises:
        EnvelopeError: It is foreign, truncated, damaged, or of a newer version.
    """
    if len(payload) < _HEADER.size or payload[:2] != _MAGIC:
        raise EnvelopeError("the payload is not an eventspool batch")
    _, version, flags, crc, events, text_crc, text_bytes = _HEADER.unpack_from(payload)
    if version != _VERSION or flags not in (0, _DEFLATE):
        raise EnvelopeError(
            f"the payload has format {version}.{flags}, which this version cannot read", "unsupported"
        )
    if _crc32(memoryview(payload)[8:], _crc32(payload[:4])) != crc:
        raise EnvelopeError("the payload's checksum is wrong")
    if text_bytes > MAX_TEXT_BYTES:
        raise EnvelopeError("the payload says that it inflates beyond all bounds")
    return Envelope(events, bool(flags), text_crc, text_bytes, payload[_HEADER.size :])
