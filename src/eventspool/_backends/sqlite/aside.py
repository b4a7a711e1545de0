# ruff: noqa: PTH105, PTH116, PTH123 - on the path of opening a file, with plain strings as everywhere in this backend
"""
Files that are put aside: a damaged queue, and the log of a file that another program has replaced.

Nothing is deleted: an operator may still save jobs out of what is put aside.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import time

from eventspool._backends.sqlite.owner import share
from eventspool._exceptions import QueueUnavailable
from eventspool._guest.log import Log

__all__ = ["put_log_aside", "rename_away"]

log = Log("eventspool")

_QUIET = 0.3
"""Seconds for which no program must have written to a file that took the place of ours."""
_QUIET_TIMEOUT = 10.0


def put_log_aside(path: str, database: os.stat_result, *, overwritten: bool) -> None:
    """
    Part the log from a file that it does not belong to, without a change to either.

    Args:
        path: The file.
        database: What the file's status is.
        overwritten: Another program wrote over our file, so it still has the old inode. It is given one of its own first.
            That tells every process which has the old one open, and SQLite as well, which would otherwise move the old
            log into the file when it closes it.
    """
    _await_quiet(path)
    if overwritten:
        copy = f"{path}-restored"
        with open(path, "rb") as source, open(copy, "wb") as target:
            share(target.fileno(), database)
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        os.replace(copy, path)
    name = rename_away(path, ("-wal", "-shm"), "replaced")
    log.warning(
        "the SQLite queue %s was replaced by another file, which is used as it is: the log of the old one was set"
        " aside as %s-wal. Jobs that were in that alone are not delivered",
        path,
        name,
    )


def rename_away(path: str, suffixes: tuple[str, ...], why: str) -> str:
    """Rename the files of *path* with these *suffixes*, as far as they exist. Return the new name of *path*."""
    stamp = f"{path}.{why}-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S.%fZ}"
    for suffix in suffixes:
        with contextlib.suppress(FileNotFoundError):
            os.rename(path + suffix, stamp + suffix)  # noqa: PTH104
    return stamp


def _await_quiet(path: str) -> None:
    """Wait until the program that puts another file in the place of ours is done."""
    deadline = time.monotonic() + _QUIET_TIMEOUT
    before = None
    while before != (before := _state(path)):
        if time.monotonic() >= deadline:
            raise QueueUnavailable("another program is writing over the SQLite queue's file")
        time.sleep(_QUIET)


def _state(path: str) -> object:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
