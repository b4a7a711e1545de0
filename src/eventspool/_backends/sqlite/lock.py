# ruff: noqa: PTH103, PTH116, PTH120 - on the path of every transaction, where a plain string costs least
"""
The lock that lets one process at a time work on a SQLite file.

With SQLite's own lock, a waiting writer sleeps and tries again, so that with four busy writers some waited for seconds. And
before SQLite 3.51.3, a checkpoint beside another connection's commit could corrupt the file. Holding this lock around
everything that is done with the file avoids both (docs/decisions/0003-sqlite-layout.md).
"""

from __future__ import annotations

import os
import secrets
import time
from typing import TYPE_CHECKING

from eventspool._backends.sqlite.errors import is_the_systems, outage_of
from eventspool._backends.sqlite.owner import may_make_files, opened, share
from eventspool._exceptions import QueueUnavailable
from eventspool._retry import system_random as random

try:
    import fcntl
except ImportError:  # Windows: SQLite's own lock has to do
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from eventspool._backends.sqlite.owner import OpenFile

__all__ = ["ProcessLock"]

TIMEOUT = 10.0
"""Longest wait for the lock, in seconds."""
_MARK_BYTES = 8
_NOTE_BYTES = 512


class ProcessLock:
    """
    A fair, exclusive lock between processes, on two small files that are never deleted. It makes a missing folder.

    A turnstile makes it fair: the process that is next holds the second lock while it waits for the first. A process that
    lets go and comes back must queue up at the turnstile, so it cannot overtake. A waiting process polls, and does not block
    in ``flock``, so that its wait ends after *timeout* even if the holder was stopped.

    The first file also carries a mark, which is changed whenever there is something new to claim, and a note, which each
    holder of the lock leaves for the next one.

    Args:
        path: The file to protect.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._paths = (f"{path}-lock", f"{path}-next")
        self._files: list[OpenFile] = []
        self.held = False
        """True between the end of ``acquire`` and the beginning of ``release``."""
        self.inode = 0
        """The inode of the lock's file, as of the last ``acquire``. In a copy of the folder it is another one."""

    def acquire(self, timeout: float | None = None) -> None:
        """
        Take the lock. The caller must call ``release`` in every case, for an exception may interrupt this at any line.

        Raises ``QueueUnavailable`` after *timeout* (10) seconds, or if the lock's files cannot be had.
        """
        if fcntl is None:
            return
        deadline = time.monotonic() + (TIMEOUT if timeout is None else timeout)
        while True:
            lock, turnstile = self._opened()
            # At the turnstile all poll at one rate; otherwise the process that has waited longest would come last. The one
            # that is next polls often, for it alone decides how long the file lies idle.
            _poll(turnstile, 0.0006, 0.0006, deadline)
            _poll(lock, 0.00002, 0.005, deadline)
            fcntl.flock(turnstile, fcntl.LOCK_UN)
            if self._is_current(lock):
                self.held = True
                return
            self.close()  # an operator deleted the file: a lock on it would exclude no process

    def release(self) -> None:
        """Let go of all that ``acquire`` has taken, however far it came before it was interrupted."""
        self.held = False
        for file in self._files:
            if not file.closed:
                fcntl.flock(file.fileno(), fcntl.LOCK_UN)

    def ring(self) -> None:
        """Change the mark. Call this only while the lock is held."""
        self._write(secrets.token_bytes(_MARK_BYTES), 0)

    def mark(self) -> bytes:
        """Return the mark. The lock need not be held."""
        return self._read(_MARK_BYTES, 0)

    def note(self) -> bytes:
        """Return the note of the process that held the lock before. Call this only while the lock is held."""
        return self._read(_NOTE_BYTES, _MARK_BYTES)

    def leave_note(self, note: bytes) -> None:
        """Leave a note of at most 512 bytes. Call this only while the lock is held."""
        self._write(note, _MARK_BYTES)

    def close(self) -> None:
        """
        Close the files. That is right in a forked child, too.

        The parent's lock stays, for the parent still has the files open. If the child kept them open, the lock would
        outlive the parent.
        """
        for file in self._files:
            file.close()
        self._files = []

    def _opened(self) -> tuple[int, int]:
        files = self._files
        if len(files) != len(self._paths) or files[0].closed or files[1].closed:
            self.close()
            try:
                os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
                for path in self._paths:
                    self._open(path)
            except OSError as error:
                self.close()
                if not is_the_systems(error):
                    raise
                raise self._refusal(error) from None
        lock, turnstile = self._files
        return lock.fileno(), turnstile.fileno()

    def _open(self, path: str) -> None:
        try:
            database = os.stat(self._path)
        except FileNotFoundError:
            database = None
        if database is not None and not may_make_files(database) and not os.path.exists(path):  # noqa: PTH110
            raise QueueUnavailable(
                "the SQLite queue belongs to another user, and its lock files are missing: made by this user they would"
                " shut that one out. Let its owner open it first"
            )
        self._files.append(opened(path))
        if database is not None:
            share(self._files[-1].fileno(), database)

    def _refusal(self, error: OSError) -> QueueUnavailable:
        if isinstance(error, PermissionError) and all(map(os.path.exists, (self._path, *self._paths))):
            return QueueUnavailable(
                "the SQLite queue's lock files belong to another user than this one: give all its files to the"
                " database's owner (as root: chown --reference=FILE FILE-*)"
            )
        return outage_of(
            error,
            "the SQLite queue's lock file cannot be opened: check its folder's permissions and free space",
        )

    def _is_current(self, fd: int) -> bool:
        try:
            there = os.stat(self._paths[0])
        except OSError as error:
            if not is_the_systems(error):
                raise
            return False
        here = os.fstat(fd)
        self.inode = here.st_ino
        return (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev)

    def _read(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self._files[0].fileno(), size, offset)
        except (IndexError, ValueError):  # the file is not open, or another thread has just closed it
            return b""
        except OSError as error:
            if not is_the_systems(error):
                raise
            return b""

    def _write(self, data: bytes, offset: int) -> None:
        if not self._files:
            return
        try:
            os.pwrite(self._files[0].fileno(), data, offset)
        except OSError as error:  # such as a full disk: other processes then find the job without a ring
            if not is_the_systems(error):
                raise


def _poll(fd: int, pause: float, longest: float, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise QueueUnavailable(
                    "the SQLite queue is held by another process that does not let go"
                ) from None
            time.sleep(pause * random.uniform(1, 2))
            pause = min(pause * 1.1, longest)
        except OSError as error:
            if not is_the_systems(error):
                raise
            raise QueueUnavailable("the SQLite queue's file system does not support locks") from None
        else:
            return
