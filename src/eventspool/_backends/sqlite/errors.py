"""What SQLite and the system report, as errors whose words say what to do."""

from __future__ import annotations

import errno
import os
import sqlite3

from eventspool._exceptions import QueueError, QueueUnavailable

__all__ = ["DAMAGED", "Damaged", "code_of", "is_the_systems", "outage", "outage_of", "translated"]

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_OUTAGES = {
    sqlite3.SQLITE_FULL: "the SQLite queue's disk is full",
    sqlite3.SQLITE_IOERR: "the SQLite queue's disk reports an error",
    sqlite3.SQLITE_READONLY: "the SQLite queue's file cannot be written: check its permissions",
    sqlite3.SQLITE_PERM: "the SQLite queue's file cannot be written: check its permissions",
    sqlite3.SQLITE_CANTOPEN: "the SQLite queue's file cannot be opened: check its folder and its permissions",
    sqlite3.SQLITE_BUSY: "the SQLite queue's file is held by another program",
    sqlite3.SQLITE_LOCKED: "the SQLite queue's file is held by another program",
    sqlite3.SQLITE_PROTOCOL: "the SQLite queue's file is held by another program",
    sqlite3.SQLITE_CORRUPT: "the SQLite queue's file is damaged and could not be set aside",
    sqlite3.SQLITE_NOTADB: "the SQLite queue's file is damaged and could not be set aside",
}
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEEDED = 4
"""Descriptors that SQLite may want at once: for the database, its log, the log's index, and their folder."""
_NO_DESCRIPTORS = "this process has no file descriptor left for the SQLite queue: raise its limit (ulimit -n)"
_SYSTEM_NO_DESCRIPTORS = "this machine has no file descriptor left for the SQLite queue: raise fs.file-max"


class Damaged(sqlite3.DatabaseError):
    """The check found the file unsound."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def code_of(error: sqlite3.Error) -> int:
    """Return SQLite's code, without its extension. It is "full" also when the index of the log finds no room."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return sqlite3.SQLITE_FULL if code == sqlite3.SQLITE_IOERR_SHMSIZE else code & 0xFF


def translated(error: sqlite3.Error) -> QueueError:
    """Return what to raise for *error*. SQLite does not tell when descriptors ran out, so this asks the system."""
    code = code_of(error)
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
        problem = _lack_of_descriptors()
        if problem is not None:
            return outage_of(problem, "")
    if code in _OUTAGES:
        return QueueUnavailable(_OUTAGES[code])
    return QueueError(f"the SQLite queue cannot be used: SQLite reports error {code}")


def _lack_of_descriptors() -> OSError | None:
    """Return the system's error if it has not even the few descriptors left that SQLite needs to open a file."""
    probes: list[int] = []
    try:
        while len(probes) < _NEEDED:
            probes.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as problem:
        return problem if problem.errno in (errno.EMFILE, errno.ENFILE) else None
    finally:
        for probe in probes:
            os.close(probe)
    return None


def outage(code: int) -> QueueUnavailable:
    """Return what to raise in a case for which SQLite reports *code*."""
    return QueueUnavailable(_OUTAGES[code])


def is_the_systems(error: OSError) -> bool:
    """Say whether the system raised *error*. Otherwise the host did, such as the ``TimeoutError`` of its time limit."""
    return error.errno is not None


def outage_of(error: OSError, otherwise: str) -> QueueUnavailable:
    """Return what to raise for *error*, with the words *otherwise* if its number says no more."""
    if error.errno == errno.EMFILE:
        return QueueUnavailable(_NO_DESCRIPTORS)
    if error.errno == errno.ENFILE:
        return QueueUnavailable(_SYSTEM_NO_DESCRIPTORS)
    if error.errno in _DISK_FULL:
        return QueueUnavailable(_OUTAGES[sqlite3.SQLITE_FULL])
    return QueueUnavailable(otherwise)
