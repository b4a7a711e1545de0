"""Look at a queue's SQLite file from outside: nothing is opened by SQLite, so nothing is changed."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from eventspool._doctor.sqlite_checks import SQLiteFacts

if TYPE_CHECKING:
    from eventspool._config import SQLiteOpts

__all__ = ["file_system_of", "look_at_sqlite"]

_HEADER_BYTES = 100
_WAL_FORMAT = b"\x02\x02"
"""Bytes 18 and 19 of a file in WAL mode."""
_MOUNTS = "/proc/self/mountinfo"


def look_at_sqlite(opts: SQLiteOpts) -> SQLiteFacts:
    """Return what is to be seen of the file. Never raises."""
    path = Path(opts.path).absolute()
    place = next(folder for folder in path.parents if folder.exists())
    try:
        found = path.stat()
    except OSError:
        found = None
    has_log: bool | None = None
    log_bytes = 0
    with contextlib.suppress(OSError):
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        has_log = header[18:20] == _WAL_FORMAT if len(header) == _HEADER_BYTES else None
    with contextlib.suppress(OSError):
        log_bytes = Path(f"{path}-wal").stat().st_size
    usable = os.access(place, os.W_OK | os.X_OK) and (found is None or os.access(path, os.R_OK | os.W_OK))
    return SQLiteFacts(
        path=str(path),
        exists=found is not None,
        usable=usable,
        mode=stat.S_IMODE(found.st_mode) if found else 0o600,
        file_system=_file_system(place),
        free_bytes=_free_bytes(place),
        log_bytes=log_bytes,
        has_log=has_log,
        set_aside=_set_aside(path),
        version=sqlite3.sqlite_version_info,
    )


def _set_aside(path: Path) -> tuple[str, ...]:
    try:
        names = sorted(entry.name for entry in path.parent.iterdir())
    except OSError:
        return ()
    return tuple(
        name
        for name in names
        if name.startswith(f"{path.name}.corrupt-") and not name.endswith(("-wal", "-shm"))
    )


def _free_bytes(place: Path) -> int | None:
    if not hasattr(os, "statvfs"):
        return None
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize


def _file_system(place: Path) -> str:
    try:
        return file_system_of(
            str(place.resolve()), Path(_MOUNTS).read_text(encoding="utf-8", errors="replace")
        )
    except OSError:  # no Linux
        return ""


def file_system_of(path: str, mounts: str) -> str:
    """
    Return the kind of file system that *path* is on, "" where it is not to be found.

    Args:
        path: Absolute, without links.
        mounts: The text of Linux's ``/proc/self/mountinfo``.
    """
    best, kind = -1, ""
    for line in mounts.splitlines():
        mount, separator, source = line.partition(" - ")
        fields = mount.split()
        if not separator or len(fields) < 5:
            continue
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:  # of two on one point, the later one is on top
            best, kind = len(point), source.split()[0]
    return kind
