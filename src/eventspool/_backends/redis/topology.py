"""
Sources of clients: which server has a key now, and one client for each server.

What is found is kept until a call shows that it no longer holds: the caller says so by ``refresh``, and the next call looks
anew. So nothing is asked while all is well, and a call that has failed does not take longer for it. The servers are asked
one after another, for at most a second each, the one that has just failed as the last one.

redis-py is asked to send the questions, and no more. Its ``Sentinel`` and ``RedisCluster`` put each reason why a server does not
answer into one error, and repeat commands of which only their caller knows whether they may be repeated.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

from eventspool._backends.redis.client import ClientMaker
from eventspool._backends.redis.codec import decode_text
from eventspool._backends.redis.errors import Undiscovered, error_code, find_place, is_drivers
from eventspool._backends.redis.ways import name_way
from eventspool._config.redis_url import Topology, join_address
from eventspool._guest.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eventspool._config import RedisOpts
    from eventspool._config.redis_url import Address

__all__ = ["ClientSource", "ClusterSource", "OneServer", "SentinelSource", "find_slot", "open_source"]

_log = Log("eventspool.queue")
_SLOTS: Final = 16_384
_abandoned: list[object] = []  # a forked child must not run the destructors of its parent's connections


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
    kinds = {Topology.SENTINEL: SentinelSource, Topology.CLUSTER: ClusterSource, Topology.SERVER: OneServer}
    return kinds[maker.topology](maker)


class _Clients:
    """One client for each server that is in use."""

    def __init__(self, maker: ClientMaker) -> None:
        self._maker = maker
        self._by_address: dict[Address | None, Any] = {}

    def get(self, address: Address | None) -> Any:
        client = self._by_address.get(address)
        if client is None:
            client = self._by_address[address] = self._maker.make(address)
        return client

    def keep_only(self, addresses: Sequence[Address]) -> None:
        """Forget the clients of servers that are no longer used, and close what nobody uses of them."""
        for address in [each for each in self._by_address if each not in addresses]:
            client = self._by_address.pop(address)
            with contextlib.suppress(Exception):
                client.connection_pool.disconnect(inuse_connections=False)

    def find_address(self, client: Any) -> Address | None:
        return next((address for address, each in self._by_address.items() if each is client), None)

    def close(self) -> None:
        clients, self._by_address = self._by_address, {}
        for client in clients.values():
            client.close()

    def abandon(self) -> None:
        _abandoned.append(self._by_address)
        self._by_address = {}


class OneServer:
    """
    The server that the options name; once it has said that it is a node of a cluster, the nodes of that.

    Args:
        maker: Makes the client.
    """

    def __init__(self, maker: ClientMaker) -> None:
        self._maker = maker
        self._clients = _Clients(maker)
        self._cluster: ClusterSource | None = None
        self._lock = threading.Lock()

    def client_for(self, key: str) -> Any:
        """Return the client of the server, or of the node that has *key*."""
        if (cluster := self._cluster) is not None:
            return cluster.client_for(key)
        with self._lock:
            return self._clients.get(None)

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
                "The Redis server at %s is a node of a cluster, and the other nodes are used, too: write redis+cluster:// into "
                "the URL, so that the queue is also found while that node is away",
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


class _Discovering:
    """What is common to sources that ask other servers where a key is."""

    def __init__(self, maker: ClientMaker) -> None:
        self._maker = maker
        self._clients = _Clients(maker)
        self._lock = threading.Lock()
        self._is_stale = True
        self._failed: Address | None = None
        self._looked = 0
        self._trouble: Undiscovered | None = None

    def client_for(self, key: str) -> Any:
        """Return the client of the server that has *key*."""
        looked = self._looked
        with self._lock:
            if self._is_stale:
                if looked != self._looked and self._trouble is not None:
                    # Another thread has looked in vain while this one waited for it. Were each of them to look by itself, the
                    # last one would wait for as many seconds as there are threads.
                    raise Undiscovered(self._trouble.clause, self._trouble.code)
                self._look(key)
            return self._clients.get(self._find(key))

    def _look(self, key: str) -> None:
        self._trouble = None
        try:
            self._discover(key)
        except Undiscovered as trouble:
            self._trouble = trouble.with_traceback(None)
            raise
        finally:
            self._looked += 1
        self._is_stale = False

    def refresh(self, failed: Any = None, *, moved: bool = False) -> None:  # noqa: ARG002 - both say that the map is old
        """Look anew in the next call."""
        with self._lock:
            self._is_stale = True
            self._failed = None if moved or failed is None else self._clients.find_address(failed)

    def close(self) -> None:
        """Close all clients."""
        with self._lock:
            self._is_stale = True
            self._clients.close()

    def abandon(self) -> None:
        """In a forked child: forget the parent's clients."""
        self._lock = threading.Lock()
        self._clients.abandon()

    def _discover(self, key: str) -> None:
        """Ask where the servers are, and require that the one that has *key* answers if it had failed."""
        raise NotImplementedError

    def _find(self, key: str) -> Address | None:
        """Return where *key* is, by what is known."""
        raise NotImplementedError

    def _require_answer(self, address: Address | None) -> None:
        """Raise where the server at *address*, which has failed before, still does not answer."""
        if address is not None and address == self._failed:
            scout = self._maker.make_scout(address)
            try:
                scout.ping()
            except Exception as error:
                # Whatever it answers is for the call itself to meet; here it counts whether it answers.
                if not error_code(error) and is_drivers(error):
                    raise Undiscovered(
                        f"the server at {join_address(address)} has it and does not answer, and no other one has taken its "
                        "place yet",
                        "FAILOVER",
                    ) from None
            finally:
                _close(scout)
        self._failed = None


class SentinelSource(_Discovering):
    """
    The master that the sentinels name.

    Args:
        maker: Makes the clients, and knows the sentinels.
    """

    def __init__(self, maker: ClientMaker) -> None:
        super().__init__(maker)
        self._sentinels = list(maker.addresses)
        self._master: Address | None = None

    def _find(self, key: str) -> Address | None:  # noqa: ARG002 - one server has every key
        return self._master

    def _discover(self, key: str) -> None:  # noqa: ARG002 - one server has every key
        name = self._maker.service
        reasons: list[str] = []
        for sentinel in list(self._sentinels):
            scout = self._maker.make_scout(sentinel, of_sentinel=True)
            try:
                state = _in_pairs(scout.execute_command("SENTINEL", "MASTER", name))
                address, flags = (state["ip"], int(state["port"])), state["flags"].split(",")
            except Exception as error:
                if not (is_drivers(error) or isinstance(error, KeyError | ValueError)):
                    raise
                reasons.append(f"the one at {join_address(sentinel)} {_name_reason(error, scout, name)}")
                continue
            finally:
                _close(scout)
            if {"s_down", "o_down"} & set(flags):
                reasons.append(f"by the one at {join_address(sentinel)} the master {join_address(address)} is down")
                continue
            self._sentinels.remove(sentinel)
            self._sentinels.insert(0, sentinel)  # the next question goes to one that answers
            self._require_answer(address)
            self._master = address
            self._clients.keep_only([address])
            return
        raise Undiscovered(f"no sentinel names a master {name!r} that is up: {'; '.join(reasons)}", "SENTINEL")


class ClusterSource(_Discovering):
    """
    The node of a cluster that has a key's slot.

    Args:
        maker: Makes the clients, and knows some nodes; without one, the server that it makes clients for is a node.
    """

    def __init__(self, maker: ClientMaker) -> None:
        super().__init__(maker)
        self._seeds: tuple[Address | None, ...] = maker.addresses or (None,)
        self._nodes: list[Address] = []
        self._ranges: list[tuple[int, int, Address]] = []

    def _find(self, key: str) -> Address | None:
        slot = find_slot(key)
        for first, last, address in self._ranges:
            if first <= slot <= last:
                return address
        self._is_stale = True
        raise Undiscovered(f"no node of the cluster has its slot ({slot}): see CLUSTER SHARDS", "CLUSTERDOWN")

    def _discover(self, key: str) -> None:
        reasons: list[str] = []
        for node in self._in_order():
            scout = self._maker.make_scout(node)
            try:
                # An address that a node does not know is the one by which it was reached itself.
                here = _address_of(scout)
                ranges, nodes = _read_slots(scout.execute_command("CLUSTER", "SLOTS"), here)
            except Exception as error:
                if not is_drivers(error):
                    raise
                reasons.append(f"the node at {find_place(scout).address} {_name_reason(error, scout)}")
                continue
            finally:
                _close(scout)
            self._ranges, self._nodes = ranges, nodes
            self._clients.keep_only(nodes)
            self._require_answer(self._find(key))
            return
        raise Undiscovered(f"no node of the cluster says where it is: {'; '.join(reasons)}", "CLUSTER")

    def _in_order(self) -> Iterator[Address | None]:
        """Yield the nodes to ask: those that are known, then those that the options name; what has failed as the last one."""
        known = list(dict.fromkeys((*self._nodes, *self._seeds)))
        yield from (each for each in known if each is None or each != self._failed)
        if self._failed in known and self._failed is not None:
            yield self._failed


def find_slot(key: str) -> int:
    """Return the slot of *key*: of what stands in its first braces, where there is something."""
    from redis.crc import key_slot

    return int(key_slot(key.encode("utf-8", "surrogateescape"), _SLOTS))


def _read_slots(reply: Any, here: Address) -> tuple[list[tuple[int, int, Address]], list[Address]]:
    """Return the ranges of slots with their masters, and all nodes, by the reply to ``CLUSTER SLOTS`` of the node *here*."""
    ranges = []
    nodes: dict[Address, None] = {}
    for first, last, *servers in reply:
        found = [_read_node(each, here) for each in servers]
        ranges.append((int(first), int(last), found[0]))
        nodes.update(dict.fromkeys(found))
    return ranges, list(nodes)


def _read_node(told: Sequence[Any], here: Address) -> Address:
    host = decode_text(told[0]) if told[0] else ""
    return (here[0] if host in ("", "?") else host, int(told[1]))


def _in_pairs(reply: Any) -> dict[str, str]:
    """Return what a sentinel says of a master; redis-py makes a mapping of it where it knows the command."""
    if isinstance(reply, dict):
        return {decode_text(name): decode_text(value) for name, value in reply.items()}
    words = [decode_text(each) for each in reply]
    return dict(zip(words[::2], words[1::2], strict=True))


def _address_of(client: Any) -> Address:
    settings = client.connection_pool.connection_kwargs
    return (str(settings.get("host", "127.0.0.1")), int(settings.get("port", 6379)))


def _name_reason(error: Exception, client: Any, service: str = "") -> str:
    """Return why a server did not say where the queue is, as the end of a sentence about it."""
    code = error_code(error)
    place = find_place(client)
    if not code:
        return name_way(error, place.secure, place.address)
    text = str(error.args[0] if error.args else "")
    if "No such master" in text:
        return f"knows no master {service!r}"
    if "cluster support disabled" in text:
        return "is no node of a cluster"
    if service and "unknown command" in text:
        return "is no sentinel"
    return _ANSWERS.get(code, f"refuses to say it ({code})")


_ANSWERS: Final = {
    "NOAUTH": "REQUIRES A PASSWORD of its own",
    "WRONGPASS": "REFUSES THE USER NAME OR PASSWORD",
    "NOPERM": "LACKS A PERMISSION for this user to ask (cluster|slots, or sentinel|master)",
    "LOADING": "is still loading its data",
}


def _close(client: Any) -> None:
    with contextlib.suppress(Exception):
        client.close()
