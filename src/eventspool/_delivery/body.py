"""
Request bodies: the stored texts of one or several batches, with what comes before, between and behind them. Pure.

A gzipped body is one member (RFC 1952) whose deflate stream is put together of blocks (RFC 1951): a stored one with the head,
the stream of the first batch as it was stored, a stored one with the separator, the stream of the next batch, and so on, and a
final one with the tail. No stream refers to what comes before it. The checksum of one batch with its head is stored; that of
several is that of the text, so the blocks are inflated once, in one call of C, and thrown away.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from eventspool._envelope import HEAD, SEPARATOR, EnvelopeError, crc32, inflate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._envelope import Envelope

__all__ = ["make_body"]

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def _store(data: bytes, *, final: bool = False) -> bytes:
    """Return *data*, at most 65,535 bytes, as a stored block."""
    return struct.pack("<BHH", final, len(data), len(data) ^ 0xFFFF) + data


_HEAD_BLOCK = _store(HEAD)
_SEPARATOR_BLOCK = _store(SEPARATOR)


def make_body(envelopes: Sequence[Envelope], sent_at: str, *, gzip: bool) -> bytes:
    """
    Return the body of a request with these batches.

    Args:
        envelopes: At least one. Of several, those behind the first must not be headed.
        sent_at: The moment of sending, as it stands in the body.
        gzip: Compress it.

    Raises:
        EnvelopeError: A text is not what was stored. It is looked at only where it is needed.
    """
    tail = b'],"sentAt":"' + sent_at.encode() + b'"}'
    if gzip and all(envelope.compressed for envelope in envelopes):
        return _join_streams(envelopes, tail)
    text = SEPARATOR.join(envelope.text() for envelope in envelopes)
    body = (b"" if envelopes[0].is_headed else HEAD) + text + tail
    return zlib.compress(body, 1, 31) if gzip else body


def _join_streams(envelopes: Sequence[Envelope], tail: bytes) -> bytes:
    first = envelopes[0]
    head = b"" if first.is_headed else _HEAD_BLOCK
    size = first.text_bytes + (0 if first.is_headed else len(HEAD))
    stream = head + _SEPARATOR_BLOCK.join(envelope.stream for envelope in envelopes)
    crc = first.text_crc
    if len(envelopes) > 1:
        size += sum(len(SEPARATOR) + envelope.text_bytes for envelope in envelopes[1:])
        crc = _sum_inflated(stream, size)
    trailer = struct.pack("<II", crc32(tail, crc), (size + len(tail)) & 0xFFFFFFFF)
    return b"".join((_GZIP_HEADER, stream, _store(tail, final=True), trailer))


def _sum_inflated(stream: bytes, size: int) -> int:
    """Return the checksum of the *size* bytes that *stream* inflates to."""
    text = inflate(stream, size)
    if len(text) != size:
        raise EnvelopeError("a batch inflates to something else than was stored")
    return crc32(text)
