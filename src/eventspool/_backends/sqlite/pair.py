"""
Which log belongs to which SQLite file. Pure, except that it reads the log.

SQLite plays any log into any database that has the matching name. If an operator moves or copies a backup over a queue's
file, SQLite would play the log of the old file into it, and the backup would be lost.
"""

from __future__ import annotations

import enum
import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["HEADER_BYTES", "Fit", "Pair", "headers_in", "judge", "pack", "salts_of", "signed"]

HEADER_BYTES = 100
_LOG_HEADER = struct.Struct(">8sI4s8s")
_LOG_HEADER_BYTES = 32
_FRAME = struct.Struct(">I4s8s")
_FRAME_BYTES = 24
_NOTE = struct.Struct("<QQQ8s100s")


class Fit(enum.Enum):
    """How a log and a database belong together."""

    FITS = "fits"
    REPLACED = "replaced"
    """Another file was given the database's name."""
    OVERWRITTEN = "overwritten"
    """Another file's content was written into the database."""


@dataclass(frozen=True, slots=True)
class Pair:
    """
    A database and its log, as a process saw them that held the lock.

    Args:
        lock: Number of the lock file's inode. In a copy of the folder, the note speaks of other files than those there.
        database: Number of the database's inode.
        log: Number of the log's inode; 0 if there is no log.
        salts: The value that marks the log's frames. It changes each time that the log begins anew.
        header: The first 100 bytes of the database; empty where they cannot be read.
    """

    lock: int
    database: int
    log: int
    salts: bytes
    header: bytes

    def pack(self) -> bytes:
        """Return the note to leave."""
        return signed(pack(self.lock, self.database, self.log, self.salts, self.header))

    @classmethod
    def unpack(cls, note: bytes) -> Pair | None:
        """Return what *note* says; None if it is not a note."""
        content = note[: _NOTE.size]
        if len(content) < _NOTE.size or note[: _NOTE.size + 4] != signed(content):
            return None
        return cls(*_NOTE.unpack(content))


def pack(lock: int, database: int, log: int, salts: bytes, header: bytes) -> bytes:
    """Return the content of a note. While nothing has changed, comparing it is cheaper than making a ``Pair``."""
    return _NOTE.pack(lock, database, log, salts, header)


def signed(content: bytes) -> bytes:
    """Return the note with its checksum, for a file system may give back only a part of a note."""
    return content + zlib.crc32(content).to_bytes(4, "little")


def judge(now: Pair | None, noted: Pair | None, headers: Callable[[], Iterator[bytes]]) -> Fit:
    """
    Say whether the log that is there belongs to the database that is there.

    In doubt the answer is yes: the log may hold acknowledged jobs.

    Args:
        now: What is there.
        noted: What was there when the lock was last released; None if that is not known.
        headers: Returns the database headers that the log holds. SQLite may have copied one into the database meanwhile.
    """
    if now is None or noted is None or not now.log or (noted.lock, noted.log) != (now.lock, now.log):
        return Fit.FITS
    if noted.database != now.database:
        return Fit.REPLACED
    if now.header == noted.header or not now.header or not any(noted.header) or now.salts != noted.salts:
        return Fit.FITS
    return Fit.FITS if now.header in headers() else Fit.OVERWRITTEN


def salts_of(log: int) -> bytes:
    """Return the salts of the open log; zeros if it is empty."""
    return os.pread(log, 8, 16).ljust(8, b"\0")


def headers_in(log: int) -> Iterator[bytes]:
    """Yield the database headers that the open log holds."""
    start = os.pread(log, _LOG_HEADER_BYTES, 0)
    if len(start) < _LOG_HEADER_BYTES:
        return
    _, page_bytes, _, salts = _LOG_HEADER.unpack(start[: _LOG_HEADER.size])
    offset = _LOG_HEADER_BYTES
    while len(frame := os.pread(log, _FRAME.size, offset)) == _FRAME.size:
        page, _, marked = _FRAME.unpack(frame)
        if marked != salts:  # a frame from before the log began anew
            return
        if page == 1:
            yield os.pread(log, HEADER_BYTES, offset + _FRAME_BYTES)
        offset += _FRAME_BYTES + page_bytes
