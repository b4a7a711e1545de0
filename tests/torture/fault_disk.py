"""The disk under SQLite: full, limited, broken, locked."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from typing import TYPE_CHECKING

from torture.faults import fault
from torture.processes import HarnessError

if TYPE_CHECKING:
    import random

    from torture.faults import Course
    from torture.world import World

_SQLITE = ("sqlite",)
_KEPT_FREE_BYTES = (0, 0, 4 << 20)
"""With 4 MiB left only new jobs are refused; with nothing left, nothing can be written down any more."""
_FILE_LIMITS_BYTES = (0, 8_192)
_OUTAGE = (1.8, 3.2)
"""Longer than a producer's call may take, so that the calls say that it hit."""
_FILLING_TRIES = 20
_ATTACH_SECONDS = 5.0
_LEAST_SECONDS = 0.4
"""What is free in the file, and was begun before a lock, takes some more calls."""
_CALLS = "pwrite64,fdatasync,fsync,ftruncate"


def _stalled(world: World, since: float) -> int:
    """Return the evidence that nothing could be stored *since* then: later calls that gave up, or that none got through."""
    world.poll()
    history = world.history
    gave_up = sum(i in history.unconfirmed for i in history.issued_after(since))
    later = history.issued_after(since + _LEAST_SECONDS)
    return gave_up or (0 if any(i in history.acked for i in later) else len(later))


@fault("disk-full", "disk", _OUTAGE, backends=_SQLITE, possible=lambda world: world.has_own_disk)
def disk_full(world: World, dice: random.Random) -> Course:
    """Somebody else fills the disk."""
    filler = world.disk / "filler"
    kept = dice.choice(_KEPT_FREE_BYTES)
    with filler.open("wb") as file:
        for _ in range(_FILLING_TRIES):  # the queue may take some of it at the same moment
            space = os.statvfs(world.disk)
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, max(space.f_bavail * space.f_frsize - kept, 4096))
                break
    since = time.monotonic()
    yield
    hits = _stalled(world, since)
    filler.unlink()
    return hits


@fault("file-limit", "disk", _OUTAGE, backends=_SQLITE)
def file_limit(world: World, dice: random.Random) -> Course:
    """A limit on the size of files: EFBIG."""
    world.limit_files(dice.choice(_FILE_LIMITS_BYTES))
    since = time.monotonic()
    yield
    hits = _stalled(world, since)
    world.limit_files(None)
    return hits


@fault("disk-error", "process", (0.8, 2.0), backends=_SQLITE, possible=lambda _: bool(shutil.which("strace")))
def disk_error(world: World, dice: random.Random) -> Course:
    """One process's writes and syncs fail now and then with EIO."""
    chosen = dice.choice(world.actors())
    log = world.folder / f"strace-{chosen.name}"
    when = f"{dice.randint(1, 4)}+{dice.randint(2, 5)}"
    tracer = subprocess.Popen(
        [
            *("strace", "-f", "-qq", "-p", str(chosen.pid), "-o", str(log)),
            *("-e", f"trace={_CALLS}", "-e", f"inject={_CALLS}:error=EIO:when={when}"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield
    tracer.send_signal(signal.SIGINT)  # it lets go of the process
    try:
        tracer.wait(_ATTACH_SECONDS)
    except subprocess.TimeoutExpired:
        tracer.kill()
        tracer.wait()
        raise HarnessError("strace does not let go") from None
    return log.read_text(errors="replace").count("(INJECTED)") if log.exists() else 0


@fault("file-locked", "disk", _OUTAGE, backends=_SQLITE)
def file_locked(world: World, dice: random.Random) -> Course:
    """Another program holds the database's write lock."""
    connection = sqlite3.connect(world.database, timeout=5.0, isolation_level=None)
    connection.execute("pragma wal_autocheckpoint = 0")
    connection.execute("begin immediate")
    since = time.monotonic()
    yield
    hits = _stalled(world, since)
    connection.execute("rollback")
    connection.close()
    return hits
