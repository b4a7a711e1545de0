"""The processes that keep a SQLite log from being begun anew. Linux names them, and the files are not touched."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["reader_pids", "readers_of"]

_LOCKS = Path("/proc/locks")
_FIRST, _LAST = 123, 127
"""The bytes of the log's index that a connection locks for as long as its read transaction lasts."""


def readers_of(path: str) -> list[int]:
    """
    Return the ids of the other processes that read the database in a transaction now, as far as the system tells.

    Opening the log's index and asking for its locks would not do: closing it again would drop the locks that SQLite has on it.
    """
    try:
        inode = Path(f"{path}-shm").stat().st_ino
        return reader_pids(_LOCKS.read_text(encoding="ascii", errors="replace"), inode, os.getpid())
    except OSError:
        return []


def reader_pids(locks: str, inode: int, own: int) -> list[int]:
    """Return the processes, except *own*, that the text of ``/proc/locks`` names as readers of the log's index *inode*."""
    found = set()
    for line in locks.splitlines():
        fields = line.split()
        if len(fields) < 8 or fields[1] not in ("POSIX", "OFDLCK") or not fields[4].isdecimal():
            continue
        [*_, there] = fields[5].split(":")
        first, last = fields[6], fields[7]
        begins = first.isdecimal() and int(first) <= _LAST
        ends = last == "EOF" or (last.isdecimal() and int(last) >= _FIRST)
        if there == str(inode) and begins and ends:
            found.add(int(fields[4]))
    return sorted(found - {0, own})
