"""A master with replicas, one address that leads to whichever of them is the master, and a failover that loses what a replica lacks."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import redis

from e2e.harness import eventually
from eventspool._redis_server import RedisServer
from redis_servers import available_servers

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Gateway", "Replicated", "replicated"]


class Gateway:
    """
    A port that passes on to another one of this machine.

    While it is *held*, nothing passes; what came meanwhile is dropped when the gateway leads elsewhere, and passes late otherwise.

    Args:
        target: That port.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._open = threading.Event()
        self._open.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Let nothing pass from now on."""
        self._open.clear()

    def let_go(self) -> None:
        """Let all of it pass again."""
        self._open.set()

    def lead_to(self, target: int) -> None:
        """Cut every connection, and lead new ones to the port *target*."""
        self._target = target
        self.cut()

    def cut(self) -> None:
        """Cut every connection, with what is held back."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _close(pair)

    def close(self) -> None:
        """Stop."""
        self._listener.close()
        self.cut()
        self._open.set()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            self._pairs.append((near, far))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=pair, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._open.wait()
                target.sendall(data)
        _close((source, target))


def _close(pair: tuple[socket.socket, socket.socket]) -> None:
    for each in pair:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


class Replicated:
    """
    A master and its replicas, each behind a gateway of its own, and the gateway that clients use.

    Args:
        name: Which server.
        count: How many replicas.
    """

    def __init__(self, name: str, count: int = 1) -> None:
        self.master = _start(name)
        self.address = Gateway(_port(self.master))
        self.links = [Gateway(_port(self.master)) for _ in range(count)]
        self.replicas = [_start(name, link) for link in self.links]

    @property
    def url(self) -> str:
        """Where clients find the master."""
        return f"redis://127.0.0.1:{self.address.port}/0?socket_timeout=3"

    def await_link(self) -> None:
        """Wait until every replica has all that the master has."""
        with redis.Redis.from_url(self.master.url) as client:
            client.set("here", "1")
            eventually(
                lambda: client.execute_command("WAIT", len(self.replicas), 1000) == len(self.replicas),
                "all replicas",
            )

    def fail_over(self) -> None:
        """Kill the master, and put the first replica in its place as it is: what is on the way to it is lost."""
        self.master.kill()
        for link in self.links:
            link.cut()
        with redis.Redis.from_url(self.replicas[0].url) as client:
            client.execute_command("REPLICAOF", "NO", "ONE")
        self.address.lead_to(_port(self.replicas[0]))

    def close(self) -> None:
        """Stop all of it."""
        for gateway in (self.address, *self.links):
            gateway.close()
        for server in (self.master, *self.replicas):
            server.stop()


@contextlib.contextmanager
def replicated(name: str, count: int = 1) -> Iterator[Replicated]:
    """Run a master of the kind *name* with *count* replicas, which have all that it has."""
    group = Replicated(name, count)
    try:
        group.await_link()
        yield group
    finally:
        group.close()


def _start(name: str, link: Gateway | None = None) -> RedisServer:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    args = ("--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1")
    if link is not None:
        args += ("--replicaof", "127.0.0.1", str(link.port))
    return RedisServer(available_servers()[name], port=port, args=args).start()


def _port(server: RedisServer) -> int:
    return server._port
