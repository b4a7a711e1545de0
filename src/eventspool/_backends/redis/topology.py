"""
Sources of clients: which server has a key now, and one client for each server.

``discovery`` says how a server is found that others know.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol

from eventspool._backends.redis.client import ClientMaker
from eventspool._backends.redis.clusters import ClusterSource
from eventspool._backends.redis.discovery import Clients
from eventspool._backends.redis.errors import find_place
from eventspool._backends.redis.sentinels import SentinelSource
from eventspool._backends.redis.settings import ask_info
from eventspool._config.redis_url import Topology
from eventspool._guest.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._config import RedisOpts

__all__ = ["ClientSource", "ClusterSource", "OneServer", "SentinelSource", "open_source"]

_log = Log("eventspool.queue")


class ClientSource(Protocol):
    """
    Where the clients of one or several queues come from. Safe between threads.

    One source may be shared by the connections of several queues, which then share one client (a pool of connections) for
    each server. Whoever made it closes it.
    """

    def client_for(self, key: str) -> Any:
        """
        Return a client of the server that has *key* now. Asks which one that is, where that is not known.

        Raises:
            Undiscovered: It cannot be found now.
            redis.RedisError: Asking failed.
        """

    def masters(self) -> list[Any]:
        """
        Return a client of each server that has keys of its own: of all masters of a cluster, else of the only one.

        Raises:
            Undiscovered: They cannot be found now.
            redis.RedisError: Asking failed.
        """

    def refresh(self, failed: Any = None, *, moved: bool = False) -> None:
        """
        Forget which server has which key, as a call has shown that this may not hold any more. Asks nothing itself.

        Args:
            failed: The client on which the call failed. Its server is asked as the last one where the others are.
            moved: The server said that it is a node of a cluster, and that another node has the key.
        """

    def close(self) -> None:
        """Close all clients. The next call makes new ones."""

    def abandon(self) -> None:
        """In a forked child: forget the parent's clients without closing them."""


def open_source(opts: RedisOpts) -> ClientSource:
    """
    Return the source of clients for *opts*. Opens no connection.

    Raises:
        ConfigError: redis-py is missing, or an option cannot work. The message repeats no value.
    """
    maker = ClientMaker(opts)
    kinds: dict[Topology, Callable[[ClientMaker], ClientSource]] = {
        Topology.SENTINEL: SentinelSource,
        Topology.CLUSTER: ClusterSource,
        Topology.SERVER: OneServer,
    }
    return kinds[maker.topology](maker)


class OneServer:
    """
    The server that the options name; once it has said that it is a node of a cluster, the nodes of that.

    Args:
        maker: Makes the client.
    """

    def __init__(self, maker: ClientMaker) -> None:
        self._maker = maker
        self._clients = Clients(maker)
        self._cluster: ClusterSource | None = None
        self._lock = threading.Lock()

    def client_for(self, key: str) -> Any:
        """Return the client of the server, or of the node that has *key*."""
        if (cluster := self._cluster) is not None:
            return cluster.client_for(key)
        with self._lock:
            return self._clients.get(None)

    def masters(self) -> list[Any]:
        """Return the client of the server, or those of all masters where it is a node of a cluster."""
        if self._cluster is None:
            client = self.client_for("")
            if not ask_info(client, "cluster").get("cluster_enabled"):
                return [client]
            self.refresh(client, moved=True)
        assert self._cluster is not None  # noqa: S101 - it was made above
        return self._cluster.masters()

    def refresh(self, failed: Any = None, *, moved: bool = False) -> None:
        """Take the server for a node of a cluster where it *moved*."""
        if (cluster := self._cluster) is not None:
            cluster.refresh(failed)
        elif moved:
            with self._lock:
                if self._cluster is not None:
                    return
                self._cluster = ClusterSource(self._maker)
            place = find_place(failed).address
            _log.warning(
                "The Redis server at %s is a node of a cluster, and the other nodes are used, too: write redis+cluster:// "
                "into the URL, so that the queue is also found while that node is away",
                place,
            )

    def close(self) -> None:
        """Close the client, or those of all nodes."""
        if (cluster := self._cluster) is not None:
            cluster.close()
        with self._lock:
            self._clients.close()

    def abandon(self) -> None:
        """In a forked child: forget the parent's client."""
        self._lock = threading.Lock()
        self._clients.abandon()
        if self._cluster is not None:
            self._cluster.abandon()
