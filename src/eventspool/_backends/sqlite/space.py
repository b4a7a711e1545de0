# ruff: noqa: PTH104, PTH116 - plain strings, as everywhere in this backend
"""
Room on the disk for what a delivery writes. It is taken while there is some, so that a full disk stops no delivery.

SQLite writes a claim and an acknowledgement into the log, and from there over the pages that they change. So the log is
made as long as it gets before it begins anew, and the database as long as all its pages are. When the log is deleted, as
by the last process to close, its room is kept in a spare file, which becomes the next log.
"""

from __future__ import annotations

import contextlib
import os

from eventspool._backends.sqlite.errors import is_the_systems
from eventspool._backends.sqlite.owner import opened, share

__all__ = [
    "Descriptor",
    "keep_spare",
    "lengthened",
    "log_reserve",
    "low_water",
    "room_on",
    "shrink_log",
    "size_of_disk",
    "take_spare",
]

_LOW_WATER = 16 << 20
_LOG_RESERVE = 4608 << 10
"""The log's size at 1,000 pages, when SQLite begins it anew, and a tenth more for the last step before that."""
_SPARE_SURPLUS = 512 << 10
"""By how much the spare file is longer than the log: room for the log's index and for the database's end."""


def room_on(path: str) -> tuple[int, int] | None:
    """Return the bytes that are free for us on the disk, and its size. None if the system does not tell."""
    if not hasattr(os, "statvfs"):
        return None
    disk = os.statvfs(path)
    return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize


def size_of_disk(path: str) -> int:
    """Return how many bytes the disk has; 0 if the system does not tell."""
    room = room_on(path)
    return 0 if room is None else room[1]


def low_water(total: int) -> int:
    """Return how much room new jobs leave free on a disk of *total* bytes, for other programs and what is not reserved."""
    return min(_LOW_WATER, total // 8)


def log_reserve(total: int) -> int:
    """Return how long the log is made on a disk of *total* bytes."""
    return min(_LOG_RESERVE, total // 8)


def lengthened(fd: int, size: int) -> bool:
    """Make the open file at least *size* bytes long, with room on the disk for each. False if there is no room."""
    try:
        here = os.fstat(fd).st_size
        if here < size and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, here, size - here)
    except OSError as error:
        if not is_the_systems(error):
            raise
        return False
    return True


class Descriptor:
    """
    The descriptor under which SQLite has a database open in this process. If it cannot be found, no room is reserved.

    A descriptor of our own would not do: when a process closes any descriptor of a file, it loses all its locks on that
    file, including SQLite's. Another process would then take itself for the last one, and delete the log.

    Args:
        database: What the file's status is.
    """

    def __init__(self, database: os.stat_result) -> None:
        self._file = (database.st_dev, database.st_ino)
        self._fd = next((fd for fd in _descriptors() if self._size(fd) is not None and _is_writable(fd)), -1)

    def header(self, size: int) -> bytes:
        """Return the first *size* bytes of the database; nothing if the descriptor was not found."""
        return b"" if self._size(self._fd) is None else os.pread(self._fd, size, 0)

    def reaches(self, size: int) -> bool:
        """Say whether the database has *size* bytes. True, too, if that is not known."""
        here = self._size(self._fd)
        return here is None or here >= size

    def lengthened(self, size: int) -> bool:
        """Make the database *size* bytes long, if the descriptor was found. False if there is no room for it."""
        return self._size(self._fd) is None or lengthened(self._fd, size)

    def _size(self, fd: int) -> int | None:
        """Return the file's size; None if *fd* is not, or is no longer, a descriptor of it."""
        try:
            here = os.fstat(fd)
        except OSError as error:
            if not is_the_systems(error):
                raise
            return None
        return here.st_size if (here.st_dev, here.st_ino) == self._file else None


def _descriptors() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/dev/fd") if name.isdecimal()]  # noqa: PTH208
    except OSError as error:
        if not is_the_systems(error):
            raise
        return []


def _is_writable(fd: int) -> bool:
    import fcntl

    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR


def keep_spare(path: str, database: os.stat_result) -> None:
    """Keep room for the next log in a spare file, if there is room and this process may write the file."""
    try:
        reserve = log_reserve(size_of_disk(path))
        with opened(f"{path}-spare") as file:
            share(file.fileno(), database)
            if not lengthened(file.fileno(), reserve + _SPARE_SURPLUS):
                lengthened(file.fileno(), reserve // 2)
    except OSError as error:
        if not is_the_systems(error):
            raise


def take_spare(path: str) -> None:
    """
    Make the spare file the log: SQLite takes zeros for an empty log. The surplus is then free for the index.

    Without a spare file, or if this process may not write it, SQLite makes a log as usual.
    """
    spare = f"{path}-spare"
    try:
        size = os.stat(spare).st_size
        os.truncate(spare, max(size - _SPARE_SURPLUS, 0))
        os.rename(spare, f"{path}-wal")
    except OSError as error:
        if not is_the_systems(error):
            raise


def shrink_log(path: str) -> bool:
    """Cut a part off an empty log, so that its index finds room. False if there is nothing to cut."""
    log = f"{path}-wal"
    with contextlib.suppress(FileNotFoundError):
        size = os.stat(log).st_size
        with opened(log) as file:
            if size and not any(file.read(32)):
                os.truncate(log, max(size - _SPARE_SURPLUS, 0))
                return True
    return False
