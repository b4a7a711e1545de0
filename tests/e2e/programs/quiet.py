"""When a child may be forked past Python's hooks."""

from __future__ import annotations

import threading
import time
from pathlib import Path


def await_quiet() -> None:
    """
    Wait until no other thread of this process has run for a while.

    A child that is forked past Python hangs, sooner or later, where another thread waited for the interpreter at that
    moment: its lock remembers waiters that are not there any more, and only Python's own hook makes it forget them.
    """

    def switches() -> dict[str, list[str]]:
        tasks = {task.name: (task / "status") for task in Path("/proc/self/task").iterdir()}
        del tasks[str(threading.get_native_id())]
        return {
            name: [line for line in status.read_text().splitlines() if "ctxt_switches" in line]
            for name, status in tasks.items()
        }

    seen, now = None, switches()
    while seen != now:
        time.sleep(0.15)
        seen, now = now, switches()
