# ruff: noqa: PTH101, PTH116 - plain strings, as everywhere in this backend
"""
The owner of the files beside a SQLite queue: they belong to the database's owner and group, and have its mode.

Otherwise, when root or another user of the same group looks at the queue, files would stay there that the service cannot
open.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "SUFFIXES",
    "OpenFile",
    "keep_private",
    "may_make_files",
    "opened",
    "private_mode",
    "share",
    "strangers",
]

SUFFIXES = ("-wal", "-shm", "-lock", "-next", "-spare")
"""What the names of the files beside the database end in."""


def private_mode(database: os.stat_result) -> int:
    """
    Return the mode for a queue's files.

    Only a queue that its group may *write* was shared on purpose, and its group keeps that right.
    """
    return 0o660 if database.st_mode & stat.S_IWGRP and database.st_size else 0o600


def may_make_files(database: os.stat_result) -> bool:
    """Say whether the database's owner could use a file that this process makes beside it."""
    if not hasattr(os, "geteuid") or os.geteuid() in (0, database.st_uid):
        return True
    groups = (*os.getgroups(), os.getegid())
    return bool(database.st_mode & stat.S_IWGRP) and database.st_gid in groups


class OpenFile(io.FileIO):
    """A file that is closed, without a warning, with the last reference to it: an exception may cut its owner off anywhere."""

    __del__ = io.FileIO.close


def opened(path: str) -> OpenFile:
    """Open a file beside the database, or make it."""
    return OpenFile(path, "r+", opener=_make)


def _make(path: str, _flags: int) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def share(fd: int, database: os.stat_result) -> None:
    """Give the open file to the owner and group of *database*, as far as this process may."""
    if not hasattr(os, "fchown"):
        return
    here = os.fstat(fd)
    owner = database.st_uid if os.geteuid() == 0 else -1
    with contextlib.suppress(PermissionError):
        if here.st_gid != database.st_gid or owner not in (-1, here.st_uid):
            os.fchown(fd, owner, database.st_gid)
    with contextlib.suppress(PermissionError):
        if stat.S_IMODE(here.st_mode) != private_mode(database):
            os.fchmod(fd, private_mode(database))


def keep_private(path: str, database: os.stat_result) -> None:
    """
    Take rights away from other users on files that were there before: made by `touch`, a copy, or a restored backup.

    This touches only files of this process's user: another user's service may need the rights that its files have.
    """
    allowed = private_mode(database)
    for name in (path, *(path + suffix for suffix in SUFFIXES)):
        with contextlib.suppress(FileNotFoundError, PermissionError):  # not ours to change
            found = os.stat(name)
            mode = stat.S_IMODE(found.st_mode)
            if mode & ~allowed and _is_own(found) and found.st_uid == database.st_uid:
                os.chmod(name, mode & allowed)


def strangers(path: str, database: os.stat_result) -> Iterable[str]:
    """Yield the files beside the database that belong to another user, so that the database's owner cannot write them."""
    for suffix in SUFFIXES:
        try:
            found = os.stat(path + suffix)
        except OSError:
            continue
        shared = found.st_gid == database.st_gid and found.st_mode & stat.S_IWGRP
        if found.st_uid != database.st_uid and not shared and not found.st_mode & stat.S_IWOTH:
            yield path + suffix


def _is_own(found: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
