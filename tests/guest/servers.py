"""Servers as processes of their own, on a Unix socket each, and requests to them."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["PATIENCE", "UnixConnection", "answers", "running", "stop", "workers_of"]

PATIENCE = 60.0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@contextlib.contextmanager
def running(
    module: str, *args: str, env: dict[str, str], log: Path, folder: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``python -m MODULE ARGS`` for as long as the block lasts; afterwards it has ended, by itself or killed."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *args], env=env, stderr=file, stdout=file, cwd=folder
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def answers(path: Path) -> bool:
    """Say whether a server takes connections at *path*."""
    try:
        with contextlib.closing(UnixConnection(path)) as connection:
            connection.connect()
    except OSError:
        return False
    return True


def stop(process: subprocess.Popen[bytes], log: Path) -> int:
    """Ask for a graceful stop. Return the exit status."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        pytest.fail(f"it does not stop: {log.read_text()}")


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Return the processes of a server that serve requests: its children, without what ``multiprocessing`` adds."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    found = []
    for child in map(int, children):
        with contextlib.suppress(OSError):
            if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found
