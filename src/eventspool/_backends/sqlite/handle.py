# ruff: noqa: PTH110, PTH116 - on the path of every transaction, where a plain string costs least
"""
One connection to a SQLite file, with the log that belongs to it and the room that both need.

Everything here happens while the ``ProcessLock`` is held, and an exception may interrupt it at any line. So a connection
counts only once ``_good_for`` names the files that it is for; any other is dropped. What the other attributes say is asked
of SQLite and of the system wherever that is cheap.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING

from eventspool._backends.sqlite import space
from eventspool._backends.sqlite.aside import put_log_aside, rename_away
from eventspool._backends.sqlite.errors import code_of, outage
from eventspool._backends.sqlite.owner import OpenFile, keep_private
from eventspool._backends.sqlite.pair import (
    HEADER_BYTES,
    Fit,
    Pair,
    headers_in,
    judge,
    pack,
    salts_of,
    signed,
)
from eventspool._backends.sqlite.readers import readers_of
from eventspool._backends.sqlite.schema import adopt
from eventspool._exceptions import QueueUnavailable
from eventspool._guest.log import Log

if TYPE_CHECKING:
    from eventspool._backends.sqlite.lock import ProcessLock

__all__ = ["Handle"]

log = Log("eventspool")

_LONG_LOG_BYTES = 64 << 20
"""Into a log beyond this size no new jobs go, until it could be begun anew."""
_TAIL_BYTES = 256 << 10
"""Room at the database's end for the pages that a delivery may add, such as those of an index."""
_GROWTH_BYTES = 1 << 20
"""How far the database is made longer at a time."""
_FIRST_PAUSE, _LAST_PAUSE = 0.1, 2.0
"""Seconds between two tries to begin a log anew while a reader still needs it."""


class Handle:
    """
    The connection of one process.

    Args:
        path: The file.
        lock: The caller holds it around every call. It carries the note about which log belongs to which file.
    """

    def __init__(self, path: str, lock: ProcessLock) -> None:
        self.path = path
        self.connection: sqlite3.Connection | None = None
        self.log_is_sound = True
        """False after a sync that failed, or may have failed: the log may not hold what it seems to."""
        self._lock = lock
        self._good_for: tuple[int, int, int] | None = None
        self._log: OpenFile | None = None
        self._descriptor: space.Descriptor | None = None
        self._noted = b""
        self._page_bytes = 4096
        self._level = ""
        self._pause = 0.0
        self._next_try = 0.0

    def opened(self) -> sqlite3.Connection:
        """Return the connection, to the file that bears the name now and to its own log."""
        database = self._stat()
        if self.connection is not None and self._is_current(database):
            return self.connection
        self.drop()
        while True:
            database = self._stat()
            if database is None:
                database = self._create()
            else:
                keep_private(self.path, database)
            self._connect(database)
            files = self._files(database)
            if files == self._files(self._stat() or database):
                fit = self._fit(files)
                if fit is Fit.FITS:
                    break
                put_log_aside(self.path, database, overwritten=fit is Fit.OVERWRITTEN)
            self.drop()
        if database.st_size and self._log is None:
            space.take_spare(self.path)
        return self._adopted(database)

    def drop(self) -> None:
        """Close the connection."""
        self._good_for = None
        self._level = ""
        self._descriptor = None
        if self.connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self.connection.close()
            self.connection = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def close(self) -> None:
        """Close the connection. The last one to close leaves a database without a log, and the log's room as a spare file."""
        self.drop()
        database = self._stat()
        if database is not None and not os.path.exists(f"{self.path}-wal"):
            self._lock.leave_note(b"\0" * 4)
            space.keep_spare(self.path, database)

    def abandon(self) -> None:
        """In a forked child: close what is open besides the connection, which the caller closes later."""
        if self._log is not None:
            self._log.close()

    def commit(self, connection: sqlite3.Connection) -> None:
        """Commit. Until SQLite says how that went, the log counts as unsound."""
        sound, self.log_is_sound = self.log_is_sound, False
        try:
            connection.execute("commit")
        except sqlite3.Error as error:
            self.log_is_sound = sound and code_of(error) != sqlite3.SQLITE_IOERR
            raise
        self.log_is_sound = sound

    def end_transaction(self) -> None:
        """Leave no transaction open, and no connection whose opening was interrupted."""
        if self.connection is None:
            return
        if self._good_for is not None:
            if not self.connection.in_transaction:
                return
            with contextlib.suppress(sqlite3.Error):
                self.connection.execute("rollback")
                self.connection.execute("pragma secure_delete = off").fetchone()
                return
        self.drop()

    def set_aside(self) -> None:
        """Put a damaged file out of the way, with its log."""
        name = rename_away(self.path, ("", "-wal", "-shm"), "corrupt")
        # Closed only after the renaming: otherwise SQLite would delete the log of the new file.
        self.drop()
        log.error(
            "the SQLite queue %s is damaged: it was set aside as %s, and a new queue was begun. Jobs that were in it "
            "are not delivered; `sqlite3 FILE .recover` may save some",
            self.path,
            name,
        )

    # The log.

    def set_level(self, connection: sqlite3.Connection, level: str) -> None:
        """Have commits synced as *level* says. While that changes, the level counts as unknown."""
        if level != self._level:
            self._level = ""
            connection.execute(f"pragma synchronous = {level}")
            self._level = level

    def begin_sound_log(self, connection: sqlite3.Connection, *, durable: bool) -> None:
        """
        Move the log into the database and truncate it.

        After a failed sync this is needed: the kernel may have dropped what the log was to hold, and does not say so a
        second time. After a power cut, the log would end at the missing frame, whatever was synced behind it.
        """
        if self._begin_new_log(connection, "truncate"):
            self.log_is_sound = True
            self._reserve_log(space.size_of_disk(self.path))
        elif durable:
            raise self._kept_by_readers()

    def make_room(self) -> None:
        """Let a step go on that found the disk full: begin the log anew, or cut it for the sake of its index."""
        if self.connection is None:
            space.shrink_log(self.path)
        else:
            self._checkpointed(self.connection, "restart")

    def require_room(self, connection: sqlite3.Connection) -> None:
        """Refuse new jobs if the disk is full, or if the log is too long because a reader needs it."""
        room = space.room_on(self.path)
        if room is not None and (room[0] < space.low_water(room[1]) or not self._reserve_log(room[1])):
            raise outage(sqlite3.SQLITE_FULL)
        too_long = self._log is not None and os.fstat(self._log.fileno()).st_size > _LONG_LOG_BYTES
        if too_long and not self._begin_new_log(connection, "restart"):
            raise self._kept_by_readers()

    def _begin_new_log(self, connection: sqlite3.Connection, how: str) -> bool:
        """Try to begin the log anew, but not at every step: as long as a reader stays, each try is in vain."""
        now = time.monotonic()
        if now < self._next_try:
            return False
        done = self._checkpointed(connection, how)
        self._pause = 0.0 if done else min(max(self._pause * 2, _FIRST_PAUSE), _LAST_PAUSE)
        self._next_try = now + self._pause
        return done

    @staticmethod
    def _checkpointed(connection: sqlite3.Connection, how: str) -> bool:
        """Move the log into the database, as far as no reader needs it, without waiting. Say whether all of it was moved."""
        [busy, *_] = connection.execute(f"pragma wal_checkpoint({how})").fetchone()
        return not busy

    def _kept_by_readers(self) -> QueueUnavailable:
        pids = ", ".join(map(str, readers_of(self.path)))
        who = f"process {pids} keeps" if pids else "another program keeps"
        return QueueUnavailable(
            f"the SQLite queue's log is full, as {who} a read transaction open: end that one (lsof FILE)"
        )

    # Room.

    def _reserve_log(self, total: int) -> bool:
        return self._log is None or space.lengthened(self._log.fileno(), space.log_reserve(total))

    def reserve_pages(self, connection: sqlite3.Connection, *, growing: bool) -> int:
        """
        Before a commit: take the room that its pages need once they leave the log; otherwise they could never leave it.

        Returns the size that the database has by then.
        """
        [pages] = connection.execute("pragma page_count").fetchone()
        size, database = int(pages) * self._page_bytes, self._descriptor
        if (
            database is None
            or database.reaches(size + _TAIL_BYTES)
            or database.lengthened(size + _GROWTH_BYTES)
        ):
            return size
        if not database.lengthened(size + _TAIL_BYTES if growing else size):
            raise outage(sqlite3.SQLITE_FULL)
        return size

    def keep_up(self, size: int) -> None:
        """After a commit: take again the room that a checkpoint has cut off, and note which log belongs to which file."""
        database = self._descriptor
        if database is not None and not database.reaches(size + _TAIL_BYTES):
            _ = database.lengthened(size + _GROWTH_BYTES) or database.lengthened(size + _TAIL_BYTES)
        if self._good_for is not None:
            content = self._observed(self._good_for)
            if not self._noted.startswith(content):
                self._noted = b""
                self._lock.leave_note(signed(content))

    # Which log belongs to which file.

    def _stat(self) -> os.stat_result | None:
        try:
            return os.stat(self.path)
        except FileNotFoundError:
            return None

    def _files(self, database: os.stat_result) -> tuple[int, int, int]:
        try:
            there = os.stat(f"{self.path}-wal").st_ino
        except FileNotFoundError:
            there = 0
        return database.st_dev, database.st_ino, there

    def _is_current(self, database: os.stat_result | None) -> bool:
        if database is None or self._good_for is None or self._files(database) != self._good_for:
            return False  # another process or an operator set the file aside, replaced or deleted it
        fit = self._fit(self._good_for)
        if fit is not Fit.FITS:
            put_log_aside(self.path, database, overwritten=fit is Fit.OVERWRITTEN)
        return fit is Fit.FITS

    def _observed(self, files: tuple[int, int, int]) -> bytes:
        """Return what the note about log and file would say now."""
        salts = b"" if self._log is None else salts_of(self._log.fileno())
        header = b"" if self._descriptor is None else self._descriptor.header(HEADER_BYTES)
        return pack(self._lock.inode, files[1], files[2], salts, header)

    def _fit(self, files: tuple[int, int, int]) -> Fit:
        content, log = self._observed(files), self._log
        self._noted = note = self._lock.note()
        if note.startswith(content):  # as nearly always
            return Fit.FITS
        now, noted = Pair.unpack(signed(content)), Pair.unpack(note)
        return judge(now, noted, lambda: iter(()) if log is None else headers_in(log.fileno()))

    # Opening.

    def _connect(self, database: os.stat_result) -> None:
        """Open the file, and the log if there is one. SQLite reads neither of them before the first statement."""
        self.connection = sqlite3.connect(
            self.path,
            timeout=0.0,  # no call waits inside SQLite: a checkpoint must not wait for a reader at all
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        self.connection.text_factory = _lenient_text
        self._descriptor = space.Descriptor(database)
        self._open_log()

    def _open_log(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._log = OpenFile(f"{self.path}-wal", "r+")

    def _adopted(self, database: os.stat_result) -> sqlite3.Connection:
        connection = self.connection
        assert connection is not None  # noqa: S101 - for the type checker
        adopt(connection, self.path)
        [self._page_bytes] = connection.execute("pragma page_size").fetchone()
        if self._log is None:
            self._open_log()
        self._reserve_log(space.size_of_disk(self.path))
        self._good_for = self._files(database)
        self.keep_up(self.reserve_pages(connection, growing=False))
        return connection

    def _create(self) -> os.stat_result:
        """Make an empty file that only its owner can read; SQLite gives the log the same mode."""
        # Those of a file that is gone: SQLite would replay that log into the new file.
        rename_away(self.path, ("-wal", "-shm"), "corrupt")
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return os.stat(self.path)


def _lenient_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
