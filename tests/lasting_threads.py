"""The threads of this process that one test can answer for."""

from __future__ import annotations

import threading

_PASSING = {"eventspool-executor", "eventspool-log", "eventspool-start"}
"""These serve all clients of a process, also those of earlier tests: they begin when there is work and end by themselves."""


def lasting_threads() -> set[threading.Thread]:
    """Return the threads that run, but for those that serve the whole process."""
    return {thread for thread in threading.enumerate() if thread.name not in _PASSING}
