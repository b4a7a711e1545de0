"""
How a test forks a child past Python's hooks, and when a server may.

The interpreter's lock remembers the threads that wait for it, and only Python's own hook makes a child forget those of its
parent. So a child that is forked past Python hangs, sooner or later, where another thread ran or waited at that moment.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from pathlib import Path

_REST = 0.15
"""Seconds for which no other thread may have run before a fork."""
_AFTERMATH = 0.03
"""Seconds after a fork within which a thread that was about to run has been counted."""


def _count_switches() -> dict[str, list[str]]:
    """Return how often the kernel has switched to and from each thread of this process but the one that asks."""
    switches = {}
    for task in Path("/proc/self/task").iterdir():
        if task.name != str(threading.get_native_id()):
            with contextlib.suppress(OSError):  # a thread that has ended meanwhile
                lines = (task / "status").read_text().splitlines()
                switches[task.name] = [line for line in lines if "ctxt_switches" in line]
    return switches


def await_quiet() -> dict[str, list[str]]:
    """Wait until no other thread of this process has run for a while. Return how often each had been switched."""
    seen, now = None, _count_switches()
    while seen != now:
        time.sleep(_REST)
        seen, now = now, _count_switches()
    return now


def fork_past_python() -> int:
    """
    Fork as a server does that is written in C, without Python's hooks, and return as ``os.fork`` does.

    A child is let go only once its parent has seen that no other thread ran around the fork. One that came amid a thread's
    turn is killed before it has done anything, and the next one is forked.
    """
    if not Path("/proc/self/task").is_dir():
        return ctypes.PyDLL(None).fork()
    fork = ctypes.PyDLL(None).fork  # found beforehand, so that little comes between the look and the fork
    while True:
        verdict, gate = os.pipe()
        before = await_quiet()
        pid = fork()
        if not pid:
            os.close(gate)
            if not os.read(verdict, 1):
                os._exit(1)  # the parent has died
            os.close(verdict)
            return 0
        os.close(verdict)
        time.sleep(_AFTERMATH)
        is_clean = before == _count_switches()
        if is_clean:
            os.write(gate, b"1")
        else:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(gate)
        if is_clean:
            return pid
