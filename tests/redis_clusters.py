"""
Real clusters, and servers that sentinels watch, out of the same programs as ``redis_servers``.

A cluster is put together by its own commands, and sentinels are told of each other by their files, so that either is ready
within a few seconds. Ports are taken below those that the system hands out to clients.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry

from eventspool import _redis_server
from eventspool._redis_server import RedisServer
from redis_servers import NEWEST, available_servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SLOTS = 16_384
MASTER = "mymaster"
NODE_TIMEOUT = 1.0
"""Seconds after which the nodes of a cluster take one of them for dead."""
DOWN_AFTER = 2.0
"""
Seconds after which a sentinel takes a server for dead.

A sentinel sends a new master its first PING after a second, and counts from before that. With a second or less it may take a
new master for dead that is well, and fail over once more.
"""
_DEADLINE = 60.0
_PORTS = range(11_000, 22_000)
_BUS = 10_000
"""How far the port of the cluster's bus is above that of the clients, where nothing else is said."""


def poll(is_so: Callable[[], Any], what: str, timeout: float = _DEADLINE) -> Any:
    """Return what *is_so* returns as soon as that is true. Errors of the driver mean that it is not so yet."""
    deadline = time.monotonic() + timeout
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if found := is_so():
                return found
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback on which nothing listens, neither for clients nor for a cluster's bus."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_PORTS)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + _BUS))
            if port not in found:
                found.append(port)
    return found


def make_client(port: int) -> redis.Redis:
    """Return a client that repeats nothing: a server that is away is looked at again by ``poll``."""
    return redis.Redis(port=port, protocol=2, socket_timeout=10.0, retry=Retry(NoBackoff(), 0))


def in_pairs(reply: list[bytes]) -> dict[str, str]:
    """Return what a sentinel says of one server."""
    words = [each.decode() for each in reply]
    return dict(zip(words[::2], words[1::2], strict=True))


class Node:
    """A server of a group, with a plain client to look and to meddle."""

    def __init__(self, binary: Path, port: int, args: tuple[str, ...], aof: str | None = None) -> None:
        self.port = port
        self._is_stopped = False
        self.server = RedisServer(binary, port=port, args=args, aof=aof)
        self.client = make_client(port)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def ask(self, *words: object) -> Any:
        """Return the reply to one command, as text where it is one."""
        reply = self.client.execute_command(*words)
        return reply.decode() if isinstance(reply, bytes) else reply

    def role(self) -> str:
        return str(self.client.info("replication")["role"])

    def kill(self) -> None:
        """End it by SIGKILL. Its files stay."""
        self.server.kill()

    def restart(self) -> None:
        self.server.start()

    def stop_working(self) -> None:
        """Let it keep its connections and answer nothing."""
        assert self.server.pid
        os.kill(self.server.pid, signal.SIGSTOP)
        self._is_stopped = True

    def work_again(self) -> None:
        assert self.server.pid
        os.kill(self.server.pid, signal.SIGCONT)
        self._is_stopped = False

    def is_alive(self) -> bool:
        """Say whether it runs and answers."""
        return self.server.pid is not None and not self._is_stopped


class Cluster:
    """A cluster of masters, each with its replicas."""

    def __init__(self, nodes: list[Node], masters: int, strangers: int = 0) -> None:
        self.nodes = nodes
        self._strangers = strangers
        self._masters = masters
        self._ids = {node.port: str(node.ask("CLUSTER", "MYID")) for node in nodes}

    @property
    def url(self) -> str:
        """What leads to it, by any of its nodes."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def join(self) -> None:
        """Put the nodes together: the slots in equal parts, and the replicas in turn."""
        masters = self.nodes[: self._masters]
        replicas = self.nodes[self._masters : len(self.nodes) - self._strangers]
        for place, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        for place, node in enumerate(masters):
            first, last = (SLOTS * each // self._masters for each in (place, place + 1))
            node.ask("CLUSTER", "ADDSLOTS", *range(first, last))
        for place, node in enumerate(self.nodes):
            for other in self.nodes[place + 1 :]:
                node.ask("CLUSTER", "MEET", "127.0.0.1", other.port)
        for place, node in enumerate(replicas):
            master = self._ids[masters[place % self._masters].port]
            poll(
                lambda node=node, master=master: node.ask("CLUSTER", "REPLICATE", master),
                "a replica has a master",
            )
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Wait until every node that runs takes the cluster for whole, and every replica is up to date."""
        for node in [each for each in self.nodes if each.is_alive()]:
            poll(lambda node=node: self._is_content(node), f"node {node.port} is content")

    def _is_content(self, node: Node) -> bool:
        if "cluster_state:ok" not in node.ask("CLUSTER", "INFO"):
            return False
        flags = {
            line.split()[1].split("@")[0]: line.split()[2]
            for line in node.ask("CLUSTER", "NODES").splitlines()
        }
        alive = {f"127.0.0.1:{each.port}" for each in self.nodes if each.is_alive()}
        if any("fail" in flags.get(each, "fail") or "handshake" in flags[each] for each in alive):
            return False
        info = node.client.info("replication")
        return bool(info["role"] == "master" or info["master_link_status"] == "up")

    def owner(self, key: str) -> Node:
        """Return the node that has the slot of *key*, as the nodes that run see it."""
        return poll(lambda: self._find_owner(key_slot(key.encode())), f"a master has {key}")

    def _find_owner(self, slot: int) -> Node | None:
        for node in self.nodes:
            if node.is_alive() and node.role() == "master":
                for first, last, server, *_ in node.client.execute_command("CLUSTER", "SLOTS"):
                    if first <= slot <= last and int(server[1]) == node.port:
                        return node
        return None

    def replicas_of(self, node: Node) -> list[Node]:
        """Return the replicas of *node* that run."""
        return [
            each
            for each in self.nodes
            if each.is_alive()
            and (info := each.client.info("replication"))["role"] == "slave"
            and info["master_port"] == node.port
        ]

    def restart(self, node: Node) -> None:
        """Start a server that was killed."""
        node.restart()

    def crash(self, key: str) -> Node:
        """Kill the node that has *key* by SIGKILL, and return it once another one has taken its place."""
        node = self.owner(key)
        node.kill()
        poll(lambda: self._find_owner(key_slot(key.encode())) is not None, "a replica was promoted")
        return node

    def fail_over(self, key: str) -> Node:
        """Have a replica take over *key* in good order; return the node that had it."""
        node = self.owner(key)
        [replica, *_] = poll(lambda: self.replicas_of(node), f"{node.port} has a replica")
        replica.ask("CLUSTER", "FAILOVER")
        poll(lambda: self.owner(key) is replica, "the replica has taken over")
        return node

    def move_slot(self, key: str, target: Node | None = None) -> Node:
        """Move the slot of *key* with all its keys to another master, live; return that one."""
        slot, source = key_slot(key.encode()), self.owner(key)
        masters = [each for each in self.nodes if each.is_alive() and each.role() == "master"]
        target = target or random.choice([each for each in masters if each is not source])
        ids = [self._ids[each.port] for each in (source, target)]
        try:
            source.ask("CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", ids[1])
        except redis.ResponseError:  # older than Valkey 9
            self._move_by_keys(slot, source, target, *ids)
        poll(lambda: self._find_owner(slot) is target, "the slot has moved", 60.0)
        return target

    def _move_by_keys(self, slot: int, source: Node, target: Node, source_id: str, target_id: str) -> None:
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 10_000, "KEYS", *keys)
        for node in (target, source, *(each for each in self.nodes if each.is_alive())):
            with contextlib.suppress(redis.RedisError):  # a replica takes it from its master
                node.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)

    def close(self) -> None:
        for node in self.nodes:
            node.client.close()


@contextmanager
def running_cluster(
    name: str = NEWEST[0],
    *,
    masters: int = 3,
    replicas: int = 1,
    strangers: int = 0,
    node_timeout: float = NODE_TIMEOUT,
    args: tuple[str, ...] = (),
) -> Iterator[Cluster]:
    """
    Run a cluster of the server *name* for as long as the block lasts.

    Args:
        name: The server.
        masters: How many masters.
        replicas: How many replicas each master has.
        strangers: How many masters without any slot there are besides.
        node_timeout: Seconds after which a node is taken for dead.
        args: More arguments of each server, such as ``("--cluster-require-full-coverage", "no")``.
    """
    options = (
        *("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"),
        *("--cluster-node-timeout", str(round(node_timeout * 1000))),
        *("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"),
        *args,
    )
    with ExitStack() as stack:
        nodes = []
        for port in free_ports(masters * (1 + replicas) + strangers):
            node = Node(available_servers()[name], port, options)
            stack.enter_context(node.server)
            nodes.append(node)
        cluster = Cluster(nodes, masters, strangers)
        stack.callback(cluster.close)
        cluster.join()
        yield cluster


class Sentinel:
    """One sentinel."""

    def __init__(self, binary: Path, port: int, lines: list[str]) -> None:
        self.port = port
        self._binary = binary
        self._folder = tempfile.TemporaryDirectory(prefix="es-")
        self._file = Path(self._folder.name) / "sentinel.conf"
        self._file.write_text(
            "\n".join((f"port {port}", "bind 127.0.0.1", f"dir {self._folder.name}", *lines, ""))
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.client = make_client(port)

    def start(self) -> None:
        program = [sys.executable, "-I", "-S", _redis_server.__file__, str(os.getpid())]
        command = [*program, str(self._binary), str(self._file), "--sentinel"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        poll(self._answers, "the sentinel answers")

    def _answers(self) -> bool:
        with contextlib.suppress(redis.AuthenticationError):
            self.client.ping()
        return True

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def close(self) -> None:
        self.kill()
        self.client.close()
        self._folder.cleanup()


class Watched:
    """A master and its replicas, and the sentinels that watch them."""

    def __init__(self, nodes: list[Node], sentinels: list[Sentinel], login: str = "") -> None:
        self.nodes = nodes
        self.sentinels = sentinels
        self._login = login

    @property
    def url(self) -> str:
        """What leads to the master."""
        places = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://{self._login}{places}/{MASTER}"

    def master(self) -> Node:
        """Return the master that the sentinels name."""
        return poll(self._find_master, "the sentinels name a master")

    def _find_master(self) -> Node | None:
        for sentinel in self.sentinels:
            with contextlib.suppress(redis.RedisError):
                _, port = sentinel.client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
                [node] = [each for each in self.nodes if each.port == int(port)]
                if node.is_alive() and node.role() == "master":
                    return node
        return None

    def wait_until_whole(self) -> None:
        """Wait until every server that runs is the master or an up-to-date replica of it, and all sentinels know that."""
        master = self.master()
        for node in [each for each in self.nodes if each.is_alive() and each is not master]:
            poll(lambda node=node: self._is_in_step(node, master), f"{node.port} is in step")
        alive = sum(each.is_alive() for each in self.nodes)
        for sentinel in self.sentinels:
            poll(
                lambda sentinel=sentinel: self._is_content(sentinel, master, alive),
                "a sentinel sees them all",
            )

    @staticmethod
    def _names(sentinel: Sentinel, master: Node) -> bool:
        _, port = sentinel.client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return int(port) == master.port

    @staticmethod
    def _is_in_step(node: Node, master: Node) -> bool:
        info = node.client.info("replication")
        return bool(
            info["role"] == "slave"
            and info["master_port"] == master.port
            and info["master_link_status"] == "up"
        )

    @staticmethod
    def _is_content(sentinel: Sentinel, master: Node, alive: int) -> bool:
        # redis-py 6.4 cannot read the replies to these by its own methods.
        state = in_pairs(sentinel.client.execute_command("SENTINEL", "MASTER", MASTER))
        if int(state["port"]) != master.port or "down" in state["flags"]:
            return False
        replicas = map(in_pairs, sentinel.client.execute_command("SENTINEL", "REPLICAS", MASTER))
        up = [
            each for each in replicas if "down" not in each["flags"]
        ]  # of their links it hears once in ten seconds
        return (
            int(state["num-other-sentinels"]) == 2
            and len(up) == alive - 1
            and "failover" not in state["flags"]
        )

    def restart(self, node: Node) -> None:
        """Start a server that was killed, as a replica. The sentinels would make it one, too, after ten seconds and more."""
        master = self.master()
        for sentinel in self.sentinels:
            # One that has not heard of the failover would name this server, which is empty, as the master.
            poll(
                lambda sentinel=sentinel: self._names(sentinel, master), "every sentinel knows the new master"
            )
        node.restart()
        poll(lambda: node.ask("REPLICAOF", "127.0.0.1", master.port), "the server is a replica")

    def crash(self) -> Node:
        """Kill the master by SIGKILL, and return it once another one has taken its place."""
        node = self.master()
        node.kill()
        poll(self._find_master, "a replica was promoted")
        return node

    def fail_over(self, key: str = "") -> Node:
        """Have the sentinels make another server the master; return the one that was it."""
        node = self.master()
        poll(
            lambda: self.sentinels[0].client.execute_command("SENTINEL", "FAILOVER", MASTER),
            "the sentinels can fail over",
        )
        poll(lambda: self.master() is not node, "a replica was promoted")
        return node

    def close(self) -> None:
        for node in self.nodes:
            node.client.close()


@contextmanager
def running_sentinels(
    name: str = NEWEST[0],
    *,
    replicas: int = 2,
    down_after: float = DOWN_AFTER,
    args: tuple[str, ...] = (),
    sentinel_lines: tuple[str, ...] = (),
    login: str = "",
    wait: bool = True,
) -> Iterator[Watched]:
    """
    Run a master with *replicas*, and three sentinels that watch them, for as long as the block lasts.

    Args:
        name: The server.
        replicas: How many replicas.
        down_after: Seconds after which a server is taken for dead.
        args: More arguments of each server.
        sentinel_lines: More lines of each sentinel's file.
        login: What stands before the addresses in the URL, such as ``"user:password@"``.
        wait: Begin once all of them know each other. Sentinels that want a password cannot be asked.
    """
    binary = available_servers()[name]
    ports = free_ports(1 + replicas + 3)
    first, others, watching = ports[0], ports[1 : 1 + replicas], ports[1 + replicas :]
    options = ("--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", *args)
    ids = {port: f"{port:040x}" for port in watching}
    with ExitStack() as stack:
        nodes = []
        for port in (first, *others):
            role = () if port == first else ("--replicaof", "127.0.0.1", str(first))
            node = Node(binary, port, (*options, *role))
            stack.enter_context(node.server)
            nodes.append(node)
        sentinels = []
        for port in watching:
            lines = [
                f"sentinel myid {ids[port]}",
                f"sentinel monitor {MASTER} 127.0.0.1 {first} 2",
                f"sentinel down-after-milliseconds {MASTER} {round(down_after * 1000)}",
                f"sentinel failover-timeout {MASTER} {round(down_after * 2000)}",
                *(f"sentinel known-replica {MASTER} 127.0.0.1 {each}" for each in others),
                *(
                    f"sentinel known-sentinel {MASTER} 127.0.0.1 {each} {ids[each]}"
                    for each in watching
                    if each != port
                ),
                *sentinel_lines,
            ]
            sentinel = Sentinel(binary, port, lines)
            stack.callback(sentinel.close)
            sentinel.start()
            sentinels.append(sentinel)
        watched = Watched(nodes, sentinels, login)
        stack.callback(watched.close)
        if wait:
            watched.wait_until_whole()
        yield watched
