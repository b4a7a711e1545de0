"""
Fills the small disk of FOLDER to the last byte, and delivers what a queue there holds: ``full_disk.py FOLDER HOW GREED``.

HOW is ``open``, ``reopened`` or ``killed``: what became of the process that has stored the jobs. ``greedy`` goes on filling.
It prints what it has found as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path

from eventspool._backends.sqlite.backend import SQLiteBackend
from eventspool._claim import ClaimTerms
from eventspool._config import Ordering, SQLiteOpts
from eventspool._contract.tools import fail, ids_of, new_job
from eventspool._exceptions import QueueUnavailable

folder, how, greed = sys.argv[1:]
other = Path(folder) / "other"
stop = threading.Event()


def make():
    options = {
        "queue_name": "q",
        "prefix": "p",
        "ordering": Ordering.NONE,
        "max_jobs": 10**9,
        "max_bytes": 10**12,
    }
    backend = SQLiteBackend(SQLiteOpts(path=folder + "/queue.db"), **options)
    backend.open()
    return backend


def fill():
    with other.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))


def keep_filling():
    while not stop.wait(0.02):
        fill()


def store(backend):
    for _ in range(6):  # the log must still be shorter than it ever gets
        backend.commit([new_job(filling=os.urandom(3000).hex()) for _ in range(20)])


if how == "killed":
    pid = os.fork()
    if not pid:
        store(make())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
else:
    backend = make()
    store(backend)
if how == "reopened":
    backend.close()
fill()
free = os.statvfs(folder).f_bavail
filler = threading.Thread(target=keep_filling, daemon=True)
if greed == "greedy":
    filler.start()
if how != "open":
    backend = make()
refused = ""
try:
    backend.commit([new_job()])
except QueueUnavailable as error:
    refused = str(error)
delivered = failed = 0
while jobs := backend.claim("t", ClaimTerms(limit=5, visibility_timeout=600)).jobs:
    backend.renew("t", ids_of(jobs), visibility_timeout=600, note="{}")
    backend.settle("t", [fail(jobs[0].id)])
    failed += 1
    delivered += backend.ack(ids_of(jobs[1:]))
stop.set()
if greed == "greedy":
    filler.join()  # or it fills the disk once more after the next line
other.unlink()
accepted = backend.commit([new_job()]).accepted
found = {"free": free, "refused": refused, "delivered": delivered, "failed": failed, "accepted": accepted}
print(json.dumps(found), flush=True)
os._exit(0)
