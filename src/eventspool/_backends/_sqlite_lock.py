# ruff: noqa: PTH103, PTH116, PTH120 - on the path of every transaction, where a plain string costs least
"""
The lock that lets one process at a time work on a SQLite file.

SQLite's own lock makes a waiting writer sleep and hope: with four busy writers some waited for seconds. And before
3.51.3, a checkpoint beside another connection's commit could corrupt the file. Holding this lock around everything
that is done with the file settles both (docs/decisions/0003-sqlite-layout.md).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time

from eventspool._exceptions import QueueUnavailable
from eventspool._retry import system_random as random

try:
    import fcntl
except ImportError:  # Windows: SQLite's own lock has to do
    fcntl = None  # type: ignore[assignment]

__all__ = ["ProcessLock"]

TIMEOUT = 10.0
"""Longest wait for the lock, in seconds."""
_MARK_BYTES = 8


class ProcessLock:
    """
    A fair, exclusive lock between processes, on two small files that are never deleted. Makes a missing folder.

    Fair by a turnstile: whoever is next holds the second lock while it waits for the first. A process that lets go
    and comes back must queue up at the turnstile, so it cannot overtake. Waiting is polling, and not a blocking
    ``flock``, so that it ends after *timeout* even when the holder was stopped.

    The first file also carries a mark that is changed whenever there is something new to claim.

    Args:
        path: The file to protect.
    """

    def __init__(self, path: str) -> None:
        self._paths = (f"{path}-lock", f"{path}-next")
        self._fds: tuple[int, int] | None = None

    def acquire(self, timeout: float | None = None) -> None:
        """Take the lock. Raises ``QueueUnavailable`` after *timeout* (10) seconds or without its files."""
        if fcntl is None:
            return
        deadline = time.monotonic() + (TIMEOUT if timeout is None else timeout)
        while True:
            lock, turnstile = self._open()
            # The others poll at one rate, or who had waited longest would come last. Whoever is next polls often,
            # for it alone decides how long the file lies idle.
            _poll(turnstile, 0.0006, 0.0006, deadline)
            try:
                _poll(lock, 0.00002, 0.005, deadline)
            finally:
                fcntl.flock(turnstile, fcntl.LOCK_UN)
            if self._is_current(lock):
                return
            self.close()  # somebody deleted the file: a lock on it would exclude nobody

    def release(self) -> None:
        """Let go."""
        if self._fds is not None:
            fcntl.flock(self._fds[0], fcntl.LOCK_UN)

    def ring(self) -> None:
        """Change the mark. Only while the lock is held."""
        if self._fds is not None:
            with contextlib.suppress(OSError):  # a full disk: others find the job at their next poll
                os.pwrite(self._fds[0], secrets.token_bytes(_MARK_BYTES), 0)

    def mark(self) -> bytes:
        """Return the mark, for anyone at any time."""
        if self._fds is None:
            return b""
        try:
            return os.pread(self._fds[0], _MARK_BYTES, 0)
        except OSError:
            return b""

    def close(self) -> None:
        """
        Close the files. Right in a forked child too.

        The parent's lock stays, for the parent still has it open. Kept open in the child, the files would instead
        keep a lock alive beyond the parent's death.
        """
        fds, self._fds = self._fds, None
        for fd in fds or ():
            with contextlib.suppress(OSError):
                os.close(fd)

    def _open(self) -> tuple[int, int]:
        if self._fds is None:
            fds: list[int] = []
            try:
                os.makedirs(os.path.dirname(self._paths[0]), mode=0o700, exist_ok=True)
                fds.append(_open_file(self._paths[0]))
                fds.append(_open_file(self._paths[1]))
            except OSError:
                for fd in fds:
                    os.close(fd)
                raise QueueUnavailable(
                    "the SQLite queue's lock file cannot be opened: check its folder's permissions and free space"
                ) from None
            self._fds = (fds[0], fds[1])
        return self._fds

    def _is_current(self, fd: int) -> bool:
        try:
            there = os.stat(self._paths[0])
        except OSError:
            return False
        here = os.fstat(fd)
        return (there.st_ino, there.st_dev) == (here.st_ino, here.st_dev)


def _open_file(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


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
        except OSError:
            raise QueueUnavailable("the SQLite queue's file system does not support locks") from None
        else:
            return
