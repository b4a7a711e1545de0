"""
How long an operator waits for a command to start: ``commands.py REPEATS QUEUE_URL``. Prints milliseconds by name, as JSON.

- ``status`` and ``packages`` are whole processes: ``eventspool queue status``, and an interpreter that only imports the
  packages that it needs.
- ``eventspool`` and ``library`` are imports, timed within a fresh interpreter: that of ``eventspool``, and that of the
  standard library's modules that it loads.

All take turns. The first turn warms files and bytecode and does not count.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

_LOADED = """
import sys
before = set(sys.modules)
import eventspool
names = [name for name in sys.modules if name not in before and name.split(".")[0] in sys.stdlib_module_names]
print(", ".join(names))
"""
_TIMED = """
import time
begin = time.perf_counter()
import {names}
print((time.perf_counter() - begin) * 1000)
"""


def run(*command: str) -> tuple[float, str]:
    """Run *command*. Return the milliseconds that it took, and what it printed."""
    begin = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60)
    return (time.perf_counter() - begin) * 1000, done.stdout


def time_import(names: str) -> float:
    """Return the milliseconds that importing *names* takes a fresh interpreter."""
    return float(run(sys.executable, "-c", _TIMED.format(names=names))[1])


def main(repeats: int, url: str) -> None:
    """Measure and print."""
    command = str(Path(sys.executable).with_name("eventspool"))
    _, library = run(sys.executable, "-c", _LOADED)
    ways = {
        "status": lambda: run(command, "queue", "status", "--queue", url)[0],
        "packages": lambda: run(sys.executable, "-c", "import click, rich, redis")[0],
        "eventspool": lambda: time_import("eventspool"),
        "library": lambda: time_import(library.strip()),
    }
    turns = [{name: way() for name, way in ways.items()} for _ in range(repeats + 1)][1:]
    print(json.dumps({name: median(turn[name] for turn in turns) for name in ways}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
