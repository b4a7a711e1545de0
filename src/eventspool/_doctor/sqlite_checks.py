"""What can be wrong with a queue's SQLite file. Pure: from facts to findings."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._backends.sqlite.space import low_water
from eventspool._doctor.finding import Finding, error, note, warning
from eventspool._operate.figures import format_count

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SQLiteFacts", "check_sqlite"]

OLDEST = (3, 24, 0)
"""The first version with ``insert … on conflict do update``."""
LOW_DISK_BYTES = 1 << 30
LONG_LOG_BYTES = 64 << 20
"""With a longer write-ahead log the queue takes no new jobs until SQLite could checkpoint it."""
_NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "lustre",
    "gpfs",
    "beegfs",
    "glusterfs",
}
_NETWORK_FUSE = ("fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.ceph", "fuse.gcsfuse", "fuse.rclone")
_VOLATILE = {"tmpfs", "ramfs"}


@dataclass(frozen=True, slots=True)
class SQLiteFacts:
    """
    What the file, its folder and its disk are like.

    Args:
        path: The file, absolute.
        exists: The file is there.
        usable: This user may write the file, or make it where there is none.
        mode: Its permission bits.
        file_system: The kind of file system it is on, such as ``ext4``; "" where that is not known.
        free_bytes: What this user may still write on its disk; ``None`` where that is not known.
        disk_bytes: Size of its disk.
        log_bytes: Size of its write-ahead log.
        readers: Ids of the processes that are in a read transaction; empty where the system does not tell.
        strangers: Names of the files beside it that its owner cannot write, as they belong to another user.
        has_log: The file says that it works with a write-ahead log; ``None`` where it is empty or not readable.
        set_aside: Names of damaged files that were set aside beside it.
        version: SQLite's version.
    """

    path: str
    exists: bool = True
    usable: bool = True
    mode: int = 0o600
    file_system: str = ""
    free_bytes: int | None = None
    disk_bytes: int = 1 << 40
    log_bytes: int = 0
    readers: tuple[int, ...] = ()
    strangers: tuple[str, ...] = ()
    has_log: bool | None = True
    set_aside: tuple[str, ...] = ()
    version: tuple[int, ...] = (3, 40, 0)


def check_sqlite(facts: SQLiteFacts) -> Iterator[Finding]:
    """Yield what is wrong."""
    if not facts.usable:
        yield error(
            "sqlite.permission",
            f"{facts.path} cannot be written by this user",
            "run as the user that owns it, or give its folder and all its files (-wal, -shm, -lock, -next) to that user",
        )
    elif not facts.exists:
        yield note(
            "sqlite.missing",
            f"there is no file {facts.path} yet; the first event will make it",
            "check the path if you expected one (sqlite:////… with four slashes is absolute)",
        )
    if facts.exists:
        yield from _check_file(facts)
    yield from _check_place(facts)
    if facts.version < OLDEST:
        yield error(
            "sqlite.version",
            f"SQLite {'.'.join(map(str, facts.version))} is too old",
            "use a Python that is built with SQLite 3.24 or newer",
        )


def _check_file(facts: SQLiteFacts) -> Iterator[Finding]:
    others = facts.mode & stat.S_IRWXO
    group_reads = facts.mode & stat.S_IRGRP and not facts.mode & stat.S_IWGRP
    if others or group_reads:
        yield warning(
            "sqlite.mode",
            f"{facts.path} had the mode {facts.mode:04o}: other users of this machine could read the events",
            "chmod 600 it and its -wal and -shm (opening the queue does so), and find out what gives it that mode",
        )
    if facts.has_log is False:
        yield warning(
            "sqlite.journal",
            "the file is not in WAL mode: another program has opened and changed it",
            "let nothing but eventspool write to this file; the next client sets the mode right",
        )
    if facts.log_bytes > LONG_LOG_BYTES:
        yield error(
            "sqlite.log",
            f"its write-ahead log has {facts.log_bytes >> 20} MiB: {_who_reads(facts)} keeps it from being checkpointed",
            "find who has the file open (lsof) and end a reader that stays, such as a shell or a backup",
        )
    if facts.strangers:
        yield error(
            "sqlite.owner",
            f"{', '.join(facts.strangers)} belong to another user than {facts.path}, whose owner cannot use the queue so",
            f"as root: chown --reference={facts.path} {facts.path}-*",
        )
    if facts.set_aside:
        yield warning(
            "sqlite.damaged",
            f"{format_count(len(facts.set_aside), 'damaged file')} set aside, whose jobs are not delivered: "
            f"{facts.set_aside[-1]}",
            "try `sqlite3 FILE .recover`, find out what damaged it (disk, copies of an open file), then move it away",
        )


def _who_reads(facts: SQLiteFacts) -> str:
    return f"process {', '.join(map(str, facts.readers))}" if facts.readers else "a reader"


def _check_place(facts: SQLiteFacts) -> Iterator[Finding]:
    kind = facts.file_system
    if kind in _NETWORK or kind.startswith(_NETWORK_FUSE):
        yield error(
            "sqlite.network",
            f"the file is on a network file system ({kind}): locks and the write-ahead log do not work there",
            "put it on a local disk, or use Redis where several machines share the queue",
        )
    if kind in _VOLATILE:
        yield error(
            "sqlite.volatile",
            f"the file is in memory ({kind}): a reboot loses the queue",
            "put it on a disk, such as /var/lib/…",
        )
    if facts.free_bytes is None:
        return
    least = low_water(facts.disk_bytes)
    if facts.free_bytes < least:
        yield error(
            "sqlite.disk",
            f"its disk has {facts.free_bytes / (1 << 20):.1f} MiB left: no new event is taken below {least / (1 << 20):.1f}",
            "free some space, or let a worker drain the queue",
        )
    elif facts.free_bytes < LOW_DISK_BYTES:
        yield warning(
            "sqlite.disk",
            f"its disk has only {facts.free_bytes >> 20} MiB left",
            "free some space before an outage of the data plane fills it",
        )
