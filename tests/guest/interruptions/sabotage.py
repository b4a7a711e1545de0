"""Faults put into ``Client.stats`` on purpose, to see that they are found: their code passes for a module of the package."""

from __future__ import annotations

import os
import textwrap
import threading
from pathlib import Path

import eventspool

__all__ = ["KINDS", "VARIABLE", "install"]

VARIABLE = "INTERRUPTIONS_SABOTAGE"
"""The environment variable that names one."""
KINDS = {
    "keeps a lock": """
        def stats(client):
            lock.acquire()
            counts = genuine(client)
            lock.release()
            return counts
        """,
    "keeps a lock of Python code": """
        def stats(client):
            with condition:
                return genuine(client)
        """,
    "swallows": """
        def stats(client):
            try:
                return genuine(client)
            except Exception:
                return genuine(client)
        """,
    "changes the exception": """
        def stats(client):
            try:
                return genuine(client)
            except OSError:
                raise KeyError("no such file") from None
        """,
    "leaves a thread": """
        def stats(client):
            thread = threading.Thread(target=leave.wait, name="eventspool-sabotage", daemon=True)
            thread.start()
            counts = genuine(client)
            leave.set()
            leave.clear()
            return counts
        """,
}


def install() -> None:
    """Put the one in that is asked for."""
    if not (kind := os.environ.get(VARIABLE)):
        return
    file = str(Path(eventspool.__file__).parent / "_sabotaged.py")
    names = {
        "genuine": eventspool.Client.stats,
        "lock": threading.Lock(),
        "condition": threading.Condition(threading.Lock()),
        "threading": threading,
        "leave": threading.Event(),
    }
    exec(compile(textwrap.dedent(KINDS[kind]), file, "exec"), names)
    eventspool.Client.stats = names["stats"]  # type: ignore[assignment,method-assign]
