# ruff: noqa: PTH100, PTH101, PTH104, PTH116 - on the path of every transaction, where a plain string costs least
"""
One SQLite file: opened under a lock, one connection per process, set aside when it is damaged.

Everything that SQLite does with the file (a transaction, a checkpoint, opening, closing, recovery) happens while the
``ProcessLock`` is held. So no two connections ever touch it at the same time.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import os
import sqlite3
import stat
import threading
import weakref
from typing import TYPE_CHECKING, TypeVar

from eventspool._backends._sqlite_lock import ProcessLock
from eventspool._backends._sqlite_schema import (
    ADDITIONS,
    APPLICATION_ID,
    CONNECTION_PRAGMAS,
    TABLES,
    VERSION,
)
from eventspool._exceptions import QueueError, QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SQLiteFile"]

log = logging.getLogger("eventspool")

T = TypeVar("T")

_BUSY_TIMEOUT = 10.0
_CHECKED_BYTES = 32 << 20
"""A file up to this size is checked as a whole when it is opened; it takes less than a tenth of a second."""
_RESERVED_BYTES = 16 << 20
"""Free space that new jobs leave on the disk: deliveries need some to be written down."""
_WAL_BYTES = 64 << 20
"""A log beyond this size takes no new jobs until it could be checkpointed."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_OUTAGES = {
    sqlite3.SQLITE_FULL: "the SQLite queue's disk is full",
    sqlite3.SQLITE_IOERR: "the SQLite queue's disk reports an error",
    sqlite3.SQLITE_READONLY: "the SQLite queue's file cannot be written: check its permissions",
    sqlite3.SQLITE_PERM: "the SQLite queue's file cannot be written: check its permissions",
    sqlite3.SQLITE_CANTOPEN: "the SQLite queue's file cannot be opened: check its folder and its permissions",
    sqlite3.SQLITE_BUSY: "the SQLite queue's file is held by another program",
    sqlite3.SQLITE_LOCKED: "the SQLite queue's file is held by another program",
    sqlite3.SQLITE_PROTOCOL: "the SQLite queue's file is held by another program",
    sqlite3.SQLITE_NOMEM: "SQLite ran out of memory",
    sqlite3.SQLITE_CORRUPT: "the SQLite queue's file is damaged and could not be set aside",
    sqlite3.SQLITE_NOTADB: "the SQLite queue's file is damaged and could not be set aside",
}

_files: weakref.WeakSet[SQLiteFile] = weakref.WeakSet()


class SQLiteFile:
    """
    Runs steps in transactions.

    Args:
        path: The file. It and its folder are made where they are missing.
        synchronous: Whether a durable step outlives a power cut (``full``) or only the process (``normal``).
    """

    def __init__(self, path: str, synchronous: str) -> None:
        self.path = os.path.abspath(path)
        self.lock = ProcessLock(self.path)
        self._synchronous = synchronous
        self._mutex = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: sqlite3.Connection | None = None
        self._stepping = False
        self._torn = False
        self._suspect = False  # an error of the disk: the log may not hold what it seems to
        self._inode = (0, 0)
        self._level = ""
        _files.add(self)  # before there is a connection: a fork must not come amid the first opening either

    def run(self, step: Callable[[sqlite3.Connection], T], *, durable: bool, growing: bool = False) -> T:
        """
        Return what *step* returns; it sees one transaction, which is rolled back when it raises.

        Args:
            step: Works on the connection. Called again on a new file where the old one is found to be damaged.
            durable: Sync the disk before returning, as ``synchronous`` says. Otherwise a power cut may undo the step.
            growing: The step makes the file grow, so it is refused where space is short.
        """
        if self._torn:
            raise QueueError(
                "this process was forked amid a step on the SQLite queue, past os.fork: it cannot use it"
            )
        if not _gate.is_set():
            _gate.wait(_BUSY_TIMEOUT)
        with self._mutex:
            self.lock.acquire()
            self._stepping = True
            try:
                try:
                    return self._attempt(step, durable=durable, growing=growing)
                except sqlite3.Error as error:
                    if _code(error) not in _DAMAGED:
                        raise
                self._set_aside()
                return self._attempt(step, durable=durable, growing=growing)
            except sqlite3.Error as error:
                raise _translated(error) from None
            except OSError:
                raise QueueUnavailable(
                    "the SQLite queue's files cannot be used: check their folder"
                ) from None
            finally:
                self._stepping = False
                self.lock.release()

    def close(self) -> None:
        """Close the connection. The next step opens it again."""
        with self._mutex:
            self._disconnect()
            self.lock.close()

    def abandon(self) -> None:
        """In a forked child: drop what the parent owns. See the end of this module."""
        self._mutex = threading.Lock()
        if self._connection is not None:
            self._inherited, self._connection = self._connection, None
            self._torn = self._stepping
        self._stepping = False
        self.lock.close()

    def _attempt(self, step: Callable[[sqlite3.Connection], T], *, durable: bool, growing: bool) -> T:
        connection = self._connected()
        if self._suspect:
            self._begin_new_log(connection)
            self._suspect = False
        if growing:
            self._require_space(connection)
        level = self._synchronous if durable else "normal"
        if level != self._level:
            connection.execute(f"pragma synchronous = {level}")
            self._level = level
        connection.execute("begin immediate")
        try:
            result = step(connection)
            connection.execute("commit")
            return result
        except BaseException as problem:
            self._suspect = isinstance(problem, sqlite3.Error) and _code(problem) == sqlite3.SQLITE_IOERR
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("rollback")
            raise

    def _require_space(self, connection: sqlite3.Connection) -> None:
        if hasattr(os, "statvfs"):
            disk = os.statvfs(self.path)
            if disk.f_bavail * disk.f_frsize < _RESERVED_BYTES:
                raise QueueUnavailable(_OUTAGES[sqlite3.SQLITE_FULL])
        with contextlib.suppress(FileNotFoundError):
            if os.stat(f"{self.path}-wal").st_size > _WAL_BYTES:
                self._begin_new_log(connection)

    @staticmethod
    def _begin_new_log(connection: sqlite3.Connection) -> None:
        """
        Move the log into the database and truncate it.

        Also what is right after a failed sync: the kernel may have dropped what the log was to hold, and will not say so a
        second time. A frame that is missing would end the log there after a power cut, whatever was synced behind it.
        """
        [busy, *_] = connection.execute("pragma wal_checkpoint(truncate)").fetchone()
        if busy:
            raise QueueUnavailable("the SQLite queue's log cannot be checkpointed: a reader keeps it")

    # Opening and closing: only while the lock is held.

    def _connected(self) -> sqlite3.Connection:
        """Return the connection, to the file that bears the name now."""
        if self._inherited is not None:
            self._disinherit()
        try:
            there = os.stat(self.path)
        except FileNotFoundError:
            there = None
        if self._connection is not None:
            if there is not None and (there.st_dev, there.st_ino) == self._inode:
                return self._connection
            self._drop()  # somebody set the file aside or deleted it
        if there is None:
            self._create()
        else:
            self._keep_private(there)
        connection = sqlite3.connect(
            self.path,
            timeout=_BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )
        try:
            connection.text_factory = _lenient_text
            self._adopt(connection)
        except BaseException:
            connection.close()
            raise
        there = os.stat(self.path)
        self._inode, self._level = (there.st_dev, there.st_ino), ""
        self._connection = connection
        return connection

    def _adopt(self, connection: sqlite3.Connection) -> None:
        """Make sure that the file is a sound queue of ours, or an empty file that becomes one."""
        [application_id] = connection.execute("pragma application_id").fetchone()
        [version] = connection.execute("pragma user_version").fetchone()
        tables = {name for [name] in connection.execute("select name from sqlite_master")}
        if tables and application_id != APPLICATION_ID:
            raise QueueError(
                "the file is another application's SQLite database: choose another path for the queue"
            )
        if version > VERSION:
            raise QueueError(
                f"the SQLite queue was written by a newer eventspool (layout {version}, this one knows {VERSION}): "
                "upgrade this installation or choose another path"
            )
        if tables and os.stat(self.path).st_size <= _CHECKED_BYTES:
            [verdict] = connection.execute("pragma quick_check(1)").fetchone()
            if verdict != "ok":
                raise _Damaged
        [mode] = connection.execute("pragma journal_mode = wal").fetchone()
        if mode != "wal":
            raise QueueError(
                "the SQLite queue's file system does not support a write-ahead log: choose another path"
            )
        connection.executescript(CONNECTION_PRAGMAS)
        missing = "" if tables else TABLES
        missing += "".join(addition for table, addition in ADDITIONS.items() if table not in tables)
        if missing:
            connection.executescript(f"pragma synchronous = full; begin immediate; {missing} commit;")

    def _create(self) -> None:
        """Make an empty file that only its owner can read; SQLite gives the log the same mode."""
        self._rename_away(("-wal", "-shm"))  # of a file that is gone: not to be replayed into the new one
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))

    def _keep_private(self, there: os.stat_result) -> None:
        """
        Take rights away from others on files that were there before: made by `touch`, a copy, or a restored backup.

        Only a queue that its group may *write* was shared on purpose: the group keeps what it has.
        """
        allowed = 0o660 if there.st_mode & stat.S_IWGRP and there.st_size else 0o600
        for suffix in ("", "-wal", "-shm", "-lock", "-next"):
            with contextlib.suppress(FileNotFoundError, PermissionError):  # not ours to change
                found = stat.S_IMODE(os.stat(self.path + suffix).st_mode)
                if found & ~allowed:
                    os.chmod(self.path + suffix, found & allowed)

    def _set_aside(self) -> None:
        name = self._rename_away(("", "-wal", "-shm"))
        # Closed after it was renamed: SQLite then leaves the log of the new file alone.
        self._drop()
        log.error(
            "the SQLite queue %s is damaged: it was set aside as %s, and a new queue was begun. Jobs that were in it "
            "are not delivered; `sqlite3 FILE .recover` may save some",
            self.path,
            name,
        )

    def _rename_away(self, suffixes: tuple[str, ...]) -> str:
        stamp = f"{self.path}.corrupt-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S.%fZ}"
        for suffix in suffixes:
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.path + suffix, stamp + suffix)
        return stamp

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _disconnect(self) -> None:
        """Close the connection under the lock: the last one to close checkpoints."""
        if self._connection is None:
            return
        try:
            self.lock.acquire()
        except QueueUnavailable:
            log.warning("the SQLite queue is held by another process: it is left open until this one ends")
            return
        try:
            self._drop()
        finally:
            self.lock.release()

    def _disinherit(self) -> None:
        """Close the parent's connection in the child. The parent was not using it when it forked."""
        connection, self._inherited = self._inherited, None
        if connection is not None:
            connection.close()


class _Damaged(sqlite3.DatabaseError):
    """The check found the file unsound."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without the extension


def _translated(error: sqlite3.Error) -> QueueError:
    code = _code(error)
    if code in _OUTAGES:
        return QueueUnavailable(_OUTAGES[code])
    return QueueError(f"the SQLite queue cannot be used: SQLite reports error {code}")


def _lenient_text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


# SQLite notes in memory which locks its process holds on a file. A child that inherits a connection inherits the note
# without the locks: it would go on with a log that the parent, closing "last", has deleted. So no connection is open
# while Python forks; each side opens its own when it next needs one. Where a server forks past Python (uWSGI), the
# child closes the inherited connection first. That is harmless while no step is under way: it fails to become the
# last one as long as the parent lives, and it clears the note.


_forking = threading.RLock()
"""Held by the thread that forks: another one would let go of the files that this one has paused."""
_paused: list[SQLiteFile] = []
_gate = threading.Event()
"""Closed while this process forks: a file that is first used after its turn in ``_before_fork`` has to wait."""
_gate.set()


def _before_fork() -> None:
    _forking.acquire()
    _gate.clear()
    for file in list(_files):
        if file._mutex.acquire(timeout=_BUSY_TIMEOUT):  # noqa: SLF001
            _paused.append(file)
            file._disconnect()  # noqa: SLF001


def _after_fork() -> None:
    while _paused:
        _paused.pop()._mutex.release()  # noqa: SLF001
    _gate.set()
    _forking.release()


def _in_child() -> None:
    global _gate, _forking  # noqa: PLW0603 - the parent's may be locked inside
    _forking = threading.RLock()
    _gate = threading.Event()
    _gate.set()
    _paused.clear()
    for file in list(_files):
        file.abandon()


# At import, which is long before the first connection: a hook that is added while a fork begins is not called for it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
