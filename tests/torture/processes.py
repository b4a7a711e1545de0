"""The processes of a run: started, killed, stopped, told to finish, and started again."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

__all__ = ["HarnessError", "Process", "ProxyProcess", "state_of"]

_TESTS = Path(__file__).parent.parent
_START_SECONDS = 20.0


class HarnessError(Exception):
    """The harness itself cannot go on; nothing is said about what it tests."""


class Process:
    """
    One child, ``python -m torture.MODULE ARGS``.

    Args:
        module: The module of this package.
        args: Its arguments.
        name: Of this very process; a successor gets another one.
        errors: Where its standard error goes.
        talks: It says a first line when it is ready.
    """

    def __init__(self, module: str, *args: str, name: str, errors: Path, talks: bool = False) -> None:
        self.module = module
        self.name = name
        self.killed = False
        self.stopped = False
        self.leaving: float | None = None
        self.began = time.monotonic()
        self._errors = errors
        path = os.pathsep.join(filter(None, (str(_TESTS), os.environ.get("PYTHONPATH"))))
        with errors.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", f"torture.{module}", *args],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if talks else subprocess.DEVNULL,
                stderr=file,
                bufsize=0,
                env={**os.environ, "PYTHONPATH": path},
            )
        if talks:
            self.hear()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """How it ended (negative: by which signal), ``None`` while it runs."""
        return self._process.poll()

    def hear(self) -> bytes:
        """Return the next line that it says. Raises ``HarnessError`` when there is none."""
        pipe = self._process.stdout
        assert pipe is not None
        if not select.select([pipe], [], [], _START_SECONDS)[0] or not (line := pipe.readline()):
            raise HarnessError(f"{self.name} does not answer: {self.last_words()}")
        return line

    def tell(self, line: str) -> None:
        """Write a line to its standard input; a dead process does not mind."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
        except OSError:
            if self.exit_status is None:
                raise

    def ask_to_finish(self) -> None:
        """Tell it to end in good order; since when (monotonic seconds) is kept in ``leaving``."""
        self.leaving = time.monotonic()
        self.tell("finish")

    def signal(self, number: int) -> None:
        """Send a signal; SIGKILL, SIGSTOP and SIGCONT are kept account of."""
        self.killed = self.killed or number == signal.SIGKILL
        self.stopped = number == signal.SIGSTOP or (self.stopped and number != signal.SIGCONT)
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self.end(_START_SECONDS)

    def end(self, timeout: float) -> int | None:
        """Close its standard input and wait. Return its exit status, ``None`` when it would not end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None
        if self._process.stdout is not None:
            self._process.stdout.close()
        return status

    def last_words(self) -> str:
        """Return the end of its standard error."""
        return " / ".join(self._errors.read_text(errors="replace").splitlines()[-4:])


class ProxyProcess(Process):
    """
    A fault proxy in front of a port.

    Args:
        upstream: The port to forward to.
        seed: For its dice.
        name: Its name.
        errors: Where its standard error goes.
    """

    def __init__(self, upstream: int, *, seed: int, name: str, errors: Path) -> None:
        super().__init__("proxy", "0", str(upstream), str(seed), name=name, errors=errors, talks=True)

    def hear(self) -> bytes:
        """Take the port from its first line."""
        line = super().hear()
        self.port = json.loads(line).get("port", getattr(self, "port", 0))
        return line

    def order(self, **order: Any) -> dict[str, Any]:
        """Give an order and return the answer."""
        self.tell(json.dumps(order))
        answer: dict[str, Any] = json.loads(self.hear())
        return answer


def state_of(pid: int) -> str:
    """Return the kernel's letter for the state of *pid*: ``T`` is stopped. "" where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
