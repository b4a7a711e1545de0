"""Where benchmarks run: a folder, a sink, a Redis-protocol server, the interpreters, and how a candidate is run in them."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import redis

from benchmarks.errors import BenchmarkError
from benchmarks.sink import Sink
from eventspool._redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ["BenchmarkError", "Place", "free_port"]

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parent
_TAIL = 3000
"""Characters of a failed candidate's error output that are shown."""


class Place:
    """
    What every scenario needs, as a context manager. It leaves nothing behind.

    Candidates run one at a time, so they share the sink and the server.
    """

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._numbers = itertools.count()
        self.folder: Path
        """A temporary folder, private to this run."""
        self.sink: Sink
        """The data plane. Runs from begin to end; ``reset`` it before a measurement."""
        self.redis: RedisServer
        """A private server on TCP and a Unix socket, with an append-only file that is fsynced every second."""
        self.python = Path(sys.executable)
        """The interpreter that has eventspool with all its extras."""
        peers = _ROOT / ".venv-bench-peers/bin/python"
        self.peers_python = peers if peers.exists() else None
        """The interpreter of the peers' environment, where there is one."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            folder = tempfile.TemporaryDirectory(prefix="eventspool-bench-", ignore_cleanup_errors=True)
            self.folder = Path(stack.enter_context(folder))
            self.sink = stack.enter_context(Sink(self.folder))
            self.redis = stack.enter_context(RedisServer(port=free_port(), aof="everysec"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def queue_url(self, kind: Literal["memory", "sqlite", "redis"]) -> str | None:
        """
        Return the URL of an empty queue, or ``None`` for memory.

        For SQLite that is a file of its own each time. For Redis everything in the server is deleted, so that each run meets
        the same server: take one URL for all queues that exist at a time.
        """
        if kind == "memory":
            return None
        if kind == "sqlite":
            return f"sqlite:///{self.folder}/queue-{next(self._numbers)}.db"
        self._empty_redis()
        return self.redis.url

    def run(
        self,
        script: str,
        *args: str,
        python: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 600.0,
    ) -> dict[str, Any]:
        """
        Run a candidate as a process of its own and return the JSON object on the last line that it prints.

        Args:
            script: A file in ``benchmarks/candidates``.
            args: Its arguments.
            python: The interpreter; eventspool's unless said otherwise.
            env: Environment variables besides the present ones.
            timeout: Seconds after which it is killed, together with the processes that it started.

        Raises:
            BenchmarkError: It failed, took too long or printed no result. Ends with what it said on stderr.
        """
        command = [str(python or self.python), str(_HERE / "candidates" / script), *args]
        environment = {**os.environ, "PYTHONPATH": str(_ROOT), "PYTHONHASHSEED": "0", **(env or {})}
        with (
            tempfile.TemporaryFile("w+", dir=self.folder, errors="replace") as errors,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                cwd=self.folder,
                start_new_session=True,  # a group of its own, to be ended as one
            ) as process,
        ):
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                output = None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            errors.seek(0)
            said = errors.read()[-_TAIL:]
        name = " ".join([script, *args])
        if output is None:
            raise BenchmarkError(f"{name}: not done after {timeout:g} s\n{said}")
        if process.returncode:
            raise BenchmarkError(f"{name}: ended with status {process.returncode}\n{said}")
        try:
            result: dict[str, Any] = json.loads(output.splitlines()[-1])
        except (IndexError, ValueError):
            raise BenchmarkError(f"{name}: printed no result\n{said}") from None
        return result

    def _empty_redis(self) -> None:
        """Delete all data and the append-only file's history, so that no rewrite of it falls into a measurement."""
        with redis.Redis.from_url(self.redis.url) as server:
            server.flushall()
            server.bgrewriteaof()
            deadline = time.monotonic() + 30
            while (info := server.info("persistence"))["aof_rewrite_in_progress"] or info[
                "aof_rewrite_scheduled"
            ]:
                if time.monotonic() > deadline:
                    raise BenchmarkError("the Redis server does not finish rewriting its append-only file")
                time.sleep(0.01)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
