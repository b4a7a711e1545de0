"""
The stored form of a batch: versioned, checksummed, compressed once for storage *and* sending. Pure.

The text of a batch is ``EVENT,\\nEVENT,\\n…`` with every event exactly as encoded on the caller's thread. A JSON string
never holds a raw newline, so the events can be cut apart again without parsing them. ``{"batch":[`` before one text, or
before several with ``,\\n`` between them, and ``],"sentAt":"…"}`` behind make a request body (``_body``).

Compression keeps that property: the text is stored as a raw deflate stream that ends on a byte boundary
without its final block (a *sync flush*, RFC 1951 section 3.2.4), and other blocks may come before and behind it. So a batch
is compressed once, several can share a request, and ``sentAt`` is still the moment of sending, days later.

Layout: ``"ES"``, version, flags (1 = deflate, 4 = cut, 8 = traced), then four little-endian u32: CRC-32 of all else, number of
events, CRC-32 of the text, length of the text; then the stream. In version 1, which is read and no longer written, the text
begins with ``{"batch":[``, so such a batch is the first of its request. The CRC-32 of the text is in both versions that of a
text that begins so: then a request with one batch has nothing to compute anew.

A batch of which events were taken out (delivered, or erased by user id) is *cut*: between header and stream it says what
became of every event of the batch as it was first stored, as runs such as ``1p3h`` (see ``Cut``), behind their length as
a u32. So every process that reads the batch, in whichever queue, knows which of the first events these are. A whole batch
says nothing of it.

A *traced* batch says, behind that, in which spans its events were tracked: the *trace*, behind its length as a u32
(``_delivery.observation`` writes and reads it). No request holds it. A batch of a client that is not instrumented has none.

An *encrypted* envelope (flags = 2) holds a whole one: ``"ES"``, version, flags, CRC-32, number of events, the key's
id (8 bytes), the nonce (12 bytes), the encrypted envelope, the tag (16 bytes). The tag vouches for all before the nonce,
too, but for the CRC.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import ModuleType

_deflate: ModuleType
try:  # ISA-L deflates several times faster, and sums ten times faster; the formats are the same.
    from isal import isal_zlib as _deflate
except ImportError:
    _deflate = zlib
crc32: Callable[..., int] = _deflate.crc32
"""CRC-32 of bytes, behind a given one."""

__all__ = [
    "FRAME_BYTES",
    "HEAD",
    "SEPARATOR",
    "Cipher",
    "Cut",
    "Envelope",
    "EnvelopeError",
    "count_events",
    "crc32",
    "cut_of",
    "decrypt",
    "encrypt",
    "inflate",
    "measure_text",
    "open_envelope",
    "seal",
    "trace_of",
]

_MAGIC = b"ES"
_VERSION = 2
_HEADED_VERSION = 1
_VERSIONS = (_HEADED_VERSION, _VERSION)
_DEFLATE = 1
_ENCRYPTED = 2
_CUT = 4
_TRACED = 8
_READABLE = (_ENCRYPTED, *(a | b | c for a in (0, _DEFLATE) for b in (0, _CUT) for c in (0, _TRACED)))
_HEADER = struct.Struct("<2sBBIIII")
_LENGTH = struct.Struct("<I")
_ENCRYPTED_HEAD = struct.pack("<2sBB", _MAGIC, _HEADED_VERSION, _ENCRYPTED)
_KEY_ID = slice(12, 20)
_MAGIC_AND_CRC_BYTES = 8
HEAD = b'{"batch":['
"""What a request body begins with."""
_HEAD_CRC = crc32(HEAD)
SEPARATOR = b",\n"
"""What stands between two events, and between two batches of one request."""
FRAME_BYTES = len('{"batch":[],"sentAt":"2026-11-23T17:26:00.123Z"}')
"""What a request body takes besides its events and their separators."""
MAX_TEXT_BYTES = 64 * 1024 * 1024
"""Most bytes that a stored batch may inflate to. More is a decompression bomb and no batch."""
MAX_PAYLOAD_BYTES = MAX_TEXT_BYTES + (1 << 20)
"""Most bytes that a stored batch can take, however badly it compresses. Backends read no larger one."""
OVERSIZED = b"\0"
"""What backends hand out in the place of a larger one. It is no batch, so it goes to the failed queue as corrupt."""
_MAX_CUT_EVENTS = MAX_TEXT_BYTES // 2
"""Most events that a batch can ever have held: the shortest takes two bytes of text."""


class EnvelopeError(ValueError):
    """A stored payload cannot be read. ``reason`` is ``corrupt``, ``unsupported`` or ``encrypted``."""

    def __init__(self, message: str, reason: str = "corrupt") -> None:
        super().__init__(message)
        self.reason = reason


class Cipher(Protocol):
    """Keys: one that encrypts, several that decrypt."""

    key_id: bytes
    """Names, in 8 bytes, the key that encrypts."""

    def encrypt(self, plain: bytes, header: bytes) -> bytes:
        """Return *plain*, encrypted together with a nonce and bound to *header*."""

    def decrypt(self, key_id: bytes, encrypted: bytes, header: bytes) -> bytes | None:
        """Return what ``encrypt`` was given, or ``None``."""


@dataclass(frozen=True, slots=True)
class Cut:
    """
    What became of each event of a batch out of which events were taken.

    Args:
        fates: One letter for each event of the batch as it was first stored, in its order: ``h``, it is here; ``d``, it was
            delivered, and only others failed; ``p``, it was purged: erased by user id.
    """

    fates: bytes

    DONE = b"d"
    PURGED = b"p"

    @property
    def here(self) -> tuple[int, ...]:
        """The positions, in the batch as first stored, of the events that are left, in their order."""
        return self._which(b"h")

    @property
    def purged(self) -> tuple[int, ...]:
        """The positions of those that were purged."""
        return self._which(self.PURGED)

    def _which(self, fate: bytes) -> tuple[int, ...]:
        return tuple(position for position, letter in enumerate(self.fates) if letter == fate[0])

    def keep(self, places: Iterable[int], fate: bytes) -> Cut:
        """Take out all but the events at *places* (0 is the first of those that are left): *fate* becomes of them."""
        here = self.here
        kept = {here[place] for place in places}
        fates = bytearray(self.fates)
        for position in here:
            if position not in kept:
                fates[position] = fate[0]
        return Cut(bytes(fates))

    def to_bytes(self) -> bytes:
        """Return it as runs."""
        return b"".join(b"%d%c" % (len(list(run)), letter) for letter, run in groupby(self.fates))

    @classmethod
    def from_bytes(cls, stored: bytes) -> Cut:
        """Return what ``to_bytes`` has written. Raises ``EnvelopeError`` for anything else."""
        if not re.fullmatch(rb"(?:[0-9]{1,8}[hdp])*", stored):
            raise EnvelopeError("the batch says nothing readable of the events that were taken out of it")
        runs = [(int(number), letter) for number, letter in re.findall(rb"([0-9]+)([hdp])", stored)]
        if sum(number for number, _ in runs) > _MAX_CUT_EVENTS:
            raise EnvelopeError("the batch says that more was taken out of it than it can have held")
        return cls(b"".join(letter * number for number, letter in runs))


def seal(
    events: Sequence[bytes], *, compress: bool = True, cut: Cut | None = None, trace: bytes = b""
) -> bytes:
    """
    Return the envelope of *events*, each the compact JSON of one event.

    Args:
        events: The events.
        compress: Deflate them.
        cut: Which events of which batch these are, where others were taken out of it.
        trace: In which spans they were tracked.
    """
    text = SEPARATOR.join(events)
    if compress:
        deflater = _deflate.compressobj(1, zlib.DEFLATED, -15)
        stream: bytes = deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)
    else:
        stream = text
    flags = _DEFLATE if compress else 0
    if trace:
        flags |= _TRACED
        stream = _LENGTH.pack(len(trace)) + trace + stream
    if cut is not None:
        flags |= _CUT
        fates = cut.to_bytes()
        stream = _LENGTH.pack(len(fates)) + fates + stream
    rest = struct.pack("<III", len(events), crc32(text, _HEAD_CRC), len(text)) + stream
    head = struct.pack("<2sBB", _MAGIC, _VERSION, flags)
    return head + struct.pack("<I", crc32(rest, crc32(head))) + rest


def count_events(payload: bytes) -> int:
    """Return the number of events that *payload* says it holds, 0 where it cannot be read. Opens nothing."""
    if len(payload) < _HEADER.size or payload[:2] != _MAGIC or payload[2] not in _VERSIONS:
        return 0
    return int(_HEADER.unpack_from(payload)[4])


def measure_text(payload: bytes) -> int | None:
    """Return how many bytes the text in *payload* says it has; ``None`` where it can share no request. Opens nothing."""
    if len(payload) < _HEADER.size or payload[:3] != _MAGIC + bytes([_VERSION]) or payload[3] & _ENCRYPTED:
        return None
    return int(_HEADER.unpack_from(payload)[6])


def cut_of(payload: bytes | None) -> Cut | None:
    """Return what was taken out of the batch in *payload*; ``None`` for a whole one, and where it cannot be read."""
    try:
        return open_envelope(payload or b"").cut
    except EnvelopeError:
        return None


def trace_of(payload: bytes | None) -> bytes:
    """Return in which spans the events in *payload* were tracked; nothing where it does not say, or cannot be read."""
    if not payload or len(payload) < _HEADER.size or not payload[3] & _TRACED:
        return b""
    try:
        return open_envelope(payload).trace
    except EnvelopeError:
        return b""


def encrypt(payload: bytes, cipher: Cipher) -> bytes:
    """Return *payload*, which may be any bytes, in an encrypted envelope; *payload* itself where it is in one already."""
    if (
        payload[:4] == _ENCRYPTED_HEAD
    ):  # no key of ours opened it; it is being moved from one queue to another
        return payload
    rest = struct.pack("<I8s", count_events(payload), cipher.key_id)
    rest += cipher.encrypt(payload, _ENCRYPTED_HEAD + rest)
    return _ENCRYPTED_HEAD + struct.pack("<I", crc32(rest, crc32(_ENCRYPTED_HEAD))) + rest


def decrypt(payload: bytes, cipher: Cipher) -> bytes:
    """Return what is in an encrypted *payload*; *payload* where it is not encrypted, or *cipher* does not open it."""
    if payload[:4] != _ENCRYPTED_HEAD:
        return payload
    header = _ENCRYPTED_HEAD + payload[_MAGIC_AND_CRC_BYTES : _KEY_ID.stop]
    opened = cipher.decrypt(payload[_KEY_ID], payload[_KEY_ID.stop :], header)
    return payload if opened is None else opened


@dataclass(frozen=True, slots=True)
class Envelope:
    """
    A payload whose header and checksum were found good.

    Args:
        events: How many events are in it.
        compressed: The stream is deflated.
        is_headed: The text begins with ``HEAD`` already.
        text_crc: CRC-32 of ``HEAD`` and the events.
        text_bytes: Length of the text.
        stream: The text as it is stored.
        cut: Which events of which batch these are, where others were taken out of it.
        trace: In which spans they were tracked, where the batch says so.
    """

    events: int
    compressed: bool
    is_headed: bool
    text_crc: int
    text_bytes: int
    stream: bytes = field(repr=False)
    cut: Cut | None = field(default=None, repr=False)
    trace: bytes = field(default=b"", repr=False)

    def split(self) -> list[bytes]:
        """Return the events' bytes, as they were sealed. Raises ``EnvelopeError`` where the count is wrong."""
        text = self.text()
        if self.is_headed:
            if not text.startswith(HEAD):
                raise EnvelopeError("the batch does not begin as one")
            text = text[len(HEAD) :]
        events = text.split(SEPARATOR) if text else []
        if len(events) != self.events:
            raise EnvelopeError("the batch holds another number of events than it says")
        return events

    def text(self) -> bytes:
        """Return the text. Raises ``EnvelopeError`` where it is not what was stored."""
        if not self.compressed:
            return self.stream
        text = inflate(self.stream, self.text_bytes)
        if len(text) != self.text_bytes or crc32(text, 0 if self.is_headed else _HEAD_CRC) != self.text_crc:
            raise EnvelopeError("the batch inflates to something else than was stored")
        return text


def inflate(stream: bytes, size: int) -> bytes:
    """
    Return what a raw deflate stream inflates to, and no more than one byte beyond *size*.

    Raises:
        EnvelopeError: It is no such stream.
    """
    inflater = zlib.decompressobj(-15)
    try:
        return inflater.decompress(stream, size + 1)
    except zlib.error:
        raise EnvelopeError("the batch cannot be inflated") from None


def open_envelope(payload: bytes) -> Envelope:
    """
    Check *payload* and return what is in it.

    Raises:
        EnvelopeError: It is foreign, truncated, damaged, of a newer version, or (still) encrypted.
    """
    if len(payload) < _HEADER.size or payload[:2] != _MAGIC:
        raise EnvelopeError("the payload is not an eventspool batch")
    _, version, flags, crc, events, text_crc, text_bytes = _HEADER.unpack_from(payload)
    is_known = flags in _READABLE and (
        version == _HEADED_VERSION or (version == _VERSION and flags != _ENCRYPTED)
    )
    if not is_known:
        raise EnvelopeError(
            f"the payload has format {version}.{flags}, which this version cannot read", "unsupported"
        )
    if crc32(memoryview(payload)[8:], crc32(payload[:4])) != crc:
        raise EnvelopeError("the payload's checksum is wrong")
    if flags == _ENCRYPTED:
        raise EnvelopeError("the batch is encrypted, and no key given here opens it", "encrypted")
    if text_bytes > MAX_TEXT_BYTES:
        raise EnvelopeError("the payload says that it inflates beyond all bounds")
    about = (events, bool(flags & _DEFLATE), version == _HEADED_VERSION, text_crc, text_bytes)
    if not flags & (_CUT | _TRACED):
        return Envelope(*about, payload[_HEADER.size :])
    cut, trace, at = None, b"", _HEADER.size
    if flags & _CUT:
        fates, at = _read_part(payload, at)
        cut = Cut.from_bytes(fates)
        if len(cut.here) != events:
            raise EnvelopeError("the batch holds another number of events than were left in it")
    if flags & _TRACED:
        trace, at = _read_part(payload, at)
    return Envelope(*about, payload[at:], cut, trace)


def _read_part(payload: bytes, at: int) -> tuple[bytes, int]:
    """Return the part whose length stands at *at*, and where it ends."""
    start = at + _LENGTH.size
    end = start + int.from_bytes(payload[at:start], "little")
    if end > len(payload):
        raise EnvelopeError("the payload is shorter than it says")
    return payload[start:end], end
