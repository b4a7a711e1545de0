"""The conductor's handle on the child process: start it, hear from it, kill it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["ChildProcess"]

_FINISH_SECONDS = 8.0


class ChildProcess:
    """
    The child process, from its start to its end.

    It runs in a session of its own, so that Ctrl-C in the terminal reaches the conductor alone. It ends itself when its
    standard input ends, so that no process is left behind even when the conductor is killed.

    Args:
        orders: What the child is to do: the first line that it reads.
        log: The file that its standard error goes to.
    """

    def __init__(self, orders: Mapping[str, Any], log: Path) -> None:
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "eventspool._demo.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env=_environment(),
            )
        assert self._process.stdin is not None  # noqa: S101 - pipes were asked for
        assert self._process.stdout is not None  # noqa: S101
        self._input: IO[bytes] = self._process.stdin
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()
        self._say(json.dumps(orders))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def hear(self, timeout: float) -> dict[str, Any] | None:
        """Return its next message, or ``None`` after *timeout* seconds or where the child has ended."""
        try:
            return self._messages.get(timeout=timeout) if timeout > 0 else self._messages.get_nowait()
        except queue.Empty:
            return None

    @property
    def exit_status(self) -> int | None:
        """Its exit status, negative for a signal; ``None`` while it runs."""
        return self._process.poll()

    def kill(self) -> bool:
        """Kill it with SIGKILL. Return whether it was this that ended it."""
        self._process.kill()
        status = self._process.wait()
        self._end()
        return status == -signal.SIGKILL

    def finish(self) -> int:
        """Ask it to end in good order, and kill it where it does not. Return its exit status."""
        self._say("finish")
        try:
            status = self._process.wait(_FINISH_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._end()
        return status

    def _say(self, line: str) -> None:
        with contextlib.suppress(OSError):  # the child is dead already, as its exit status tells
            self._input.write(line.encode() + b"\n")
            self._input.flush()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                with contextlib.suppress(ValueError):  # the kill has cut the line off
                    self._messages.put(json.loads(line))
        self._messages.put(None)

    def _end(self) -> None:
        self._reader.join()
        with contextlib.suppress(OSError):
            self._input.close()


def _environment() -> dict[str, str]:
    """Return the environment of this process, with its import path, and without options that the demo's client would take."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("EVENTSPOOL_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
