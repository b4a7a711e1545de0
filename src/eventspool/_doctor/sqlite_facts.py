"""Looks at a queue's SQLite file from outside: SQLite opens nothing, so that nothing is changed."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from eventspool._backends.sqlite.owner import strangers
from eventspool._backends.sqlite.readers import readers_of
from eventspool._backends.sqlite.space import room_on
from eventspool._config import SQLiteOpts
from eventspool._doctor.sqlite_checks import SQLiteFacts, check_sqlite

if TYPE_CHECKING:
    from eventspool._config import QueueOpts
    from eventspool._doctor.finding import Finding

__all__ = ["examine_sqlite", "file_system_of", "look_at_sqlite"]

_HEADER_BYTES = 100
_WAL_FORMAT = b"\x02\x02"
"""Bytes 18 and 19 of a file in WAL mode."""
_MOUNTS = "/proc/self/mountinfo"


def examine_sqlite(queue: QueueOpts) -> tuple[list[Finding], bool]:
    """Return what is wrong with the file of *queue*, and whether the queue itself can be asked."""
    target = queue.target
    assert isinstance(target, SQLiteOpts)  # noqa: S101 - this kind of store has no other
    facts = look_at_sqlite(target)
    return list(check_sqlite(facts)), facts.exists and facts.usable  # to open a missing file would make it


def look_at_sqlite(opts: SQLiteOpts) -> SQLiteFacts:
    """Return what can be seen of the file. Never raises."""
    path = Path(opts.path).resolve()
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
    room = room_on(str(place))
    return SQLiteFacts(
        path=str(path),
        exists=found is not None,
        usable=usable,
        mode=stat.S_IMODE(found.st_mode) if found else 0o600,
        file_system=_file_system(place),
        free_bytes=None if room is None else room[0],
        disk_bytes=0 if room is None else room[1],
        log_bytes=log_bytes,
        readers=tuple(readers_of(str(path))),
        strangers=tuple(Path(name).name for name in strangers(str(path), found)) if found else (),
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


def _file_system(place: Path) -> str:
    try:
        return file_system_of(
            str(place.resolve()), Path(_MOUNTS).read_text(encoding="utf-8", errors="replace")
        )
    except OSError:  # this is not Linux
        return ""


def file_system_of(path: str, mounts: str) -> str:
    """
    Return the kind of file system that *path* is on, "" where *mounts* does not tell.

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
        if inside and len(point) >= best:  # where two are mounted on one point, the later one is used
            best, kind = len(point), source.split()[0]
    return kind
