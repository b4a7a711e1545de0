"""The Redis server of a run: every acknowledged write is on the disk, and every kind of trouble can be had."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from typing import Any

import redis

from eventspool._redis_server import RedisServer
from torture.processes import HarnessError, state_of

__all__ = ["PRODUCER_PASSWORD", "PRODUCER_USER", "RedisProcess", "free_port"]

PRODUCER_USER, PRODUCER_PASSWORD = "producer", "right"
_ADMIN, _ADMIN_PASSWORD = "admin", "admin"
_ALL = ("allkeys", "allchannels", "allcommands")
_ARGS = (
    *("--user", _ADMIN, "on", f">{_ADMIN_PASSWORD}", *_ALL),
    *("--user", PRODUCER_USER, "on", f">{PRODUCER_PASSWORD}", *_ALL),
)
_FILLERS = 6_000
_SLOW_LOADING = ("--key-load-delay", "250", "--loading-process-events-interval-bytes", "1024")
_PATIENCE = 20.0


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisProcess:
    """A server with its append-only file synced always, and an administrator's connection past all proxies."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server = RedisServer(port=self.port, aof="always", args=_ARGS)
        self._server.start()
        self.admin: Any = redis.Redis(
            unix_socket_path=str(self._server.socket_path),
            username=_ADMIN,
            password=_ADMIN_PASSWORD,
            socket_timeout=5.0,
        )
        pipeline = self.admin.pipeline(transaction=False)
        for number in range(_FILLERS):  # what a slow start has to load
            pipeline.set(f"filler:{number}", number)
        pipeline.execute()

    @property
    def pid(self) -> int:
        """The server's process."""
        pid = self._server.pid
        assert pid is not None
        return pid

    @property
    def can_be_slow(self) -> bool:
        """Whether this server has what it takes to load slowly; Redis before 7 has not."""
        return all(self.admin.config_get(name.removeprefix("--")) for name in _SLOW_LOADING[::2])

    def errors(self, *codes: str) -> int:
        """Return how often the server has answered with an error of one of *codes* since it started."""
        stats = self.admin.info("errorstats")
        total = 0
        for name, value in stats.items():
            if name.removeprefix("errorstat_") in codes:
                total += value["count"] if isinstance(value, dict) else int(re.search(r"\d+", str(value))[0])
        return total

    def configure(self, **settings: object) -> None:
        """``CONFIG SET``, underscores for dashes."""
        for name, value in settings.items():
            self.admin.config_set(name.replace("_", "-"), value)

    def allow(self, *rules: str) -> None:
        """Change the producers' ACL user and disconnect it, so that it has to log in again."""
        self.admin.execute_command("ACL", "SETUSER", PRODUCER_USER, *rules)
        self.disconnect("USER", PRODUCER_USER)

    def disconnect(self, *which: str) -> int:
        """End the connections of all clients but the administrator's. Return how many."""
        return int(
            self.admin.execute_command("CLIENT", "KILL", *(which or ("TYPE", "normal")), "SKIPME", "yes")
        )

    def kill(self) -> None:
        """SIGKILL."""
        self._server.kill()

    def shut_down(self) -> None:
        """SIGTERM, and wait."""
        pid = self.pid
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE
        while state_of(pid) not in ("", "Z"):
            if time.monotonic() > deadline:
                raise HarnessError("the Redis server does not shut down")
            time.sleep(0.005)
        self._server.kill()  # there is nobody: only to note it

    def start(self, *, slowly: bool = False) -> None:
        """Start on the same files. *slowly*: be LOADING for a second or two."""
        self._server._args = (*_ARGS, *_SLOW_LOADING) if slowly else _ARGS
        self._server.start()

    def hurry(self) -> None:
        """End the slowness of a slow start: after minutes of writes the file would take minutes."""
        with contextlib.suppress(redis.RedisError):  # loaded already, and busy with whoever waited
            self.configure(key_load_delay=0)

    def await_loaded(self) -> None:
        """Wait until the server serves."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(redis.RedisError):
                if not self.admin.info("persistence")["loading"]:  # a PING would be counted as an error given
                    return
            if time.monotonic() > deadline:
                raise HarnessError("the Redis server does not come back")
            time.sleep(0.02)

    def answers(self, seconds: float = 0.2) -> bool:
        """Whether a fresh connection gets any answer in so many *seconds*."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), seconds) as link,
        ):
            link.sendall(b"PING\r\n")
            return bool(link.recv(16))
        return False

    def stop(self) -> None:
        """End the server and delete its files."""
        self.admin.close()
        self._server.stop()
