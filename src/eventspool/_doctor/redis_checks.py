"""What can be wrong with a Redis server that keeps a queue. Pure: from facts to findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eventspool._backends.redis.commands import DISPENSABLE, name_refused
from eventspool._backends.redis.standing import is_sentinel
from eventspool._config.redis_url import Topology
from eventspool._doctor.finding import Finding, error, note, warning
from eventspool._doctor.topology_checks import check_topology

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["MAX_SKEW", "RedisFacts", "check_redis", "count_replicas"]

OLDEST = (6, 2)
SLOW = 0.02
"""Seconds that a PING takes. A batch costs about five such round trips: at 20 ms, a thread delivers 10 batches a second."""
MAX_SKEW = 5.0
"""Seconds between two clocks. Ages, ``retry_for`` and the times that operators see are wrong by as much."""
NEARLY_FULL = 0.8
FULL = 0.95


@dataclass(frozen=True, slots=True)
class RedisFacts:
    """
    What a server says about itself, and what the connection to it is like.

    Args:
        problem: Why it cannot be used, in our own words; "" where it can.
        code: The code of Redis for that, such as ``NOAUTH``.
        info: What ``INFO`` answers, all default sections.
        settings: What ``CONFIG GET`` answers; ``None`` where this user may not ask.
        refused: Commands that a queue uses and the server refuses, each with the reason: see ``_backends.redis.commands``.
        keys: What the queue's keys begin with.
        round_trip: Median seconds of a ``PING``; ``None`` where none was answered.
        skew: Seconds that the server's clock is ahead of this host's.
        encrypted: The connection is a Unix socket or uses TLS.
        loopback: The connection does not leave this machine.
        authenticated: A password is sent.
        topology: How the options have the server found.
        address: Where the server is.
        services: The names of the masters that it watches, where it is a sentinel.
        max_bytes: Most bytes that a partition of the queue may hold.
        replicas: How many replicas must confirm a commit, for clients with ``durability="replicated"``; 0: there are none.
    """

    problem: str = ""
    code: str = ""
    info: Mapping[str, object] = field(default_factory=dict)
    settings: Mapping[str, str] | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    keys: str = ""
    round_trip: float | None = None
    skew: float = 0.0
    encrypted: bool = True
    loopback: bool = True
    authenticated: bool = False
    topology: Topology = Topology.SERVER
    address: str = ""
    services: tuple[str, ...] = ()
    max_bytes: int = 0
    replicas: int = 0


def check_redis(facts: RedisFacts) -> Iterator[Finding]:
    """Yield what is wrong."""
    if facts.problem:
        yield error("redis.reachable", facts.problem, _REMEDIES.get(facts.code, _REMEDIES[""]))
    yield from _check_link(facts)
    if not is_sentinel(facts.info):
        yield from _check_commands(facts)
    if facts.info:
        yield from _check_version(facts)
        yield from check_topology(
            facts.info,
            facts.settings,
            facts.topology,
            address=facts.address,
            services=facts.services,
            max_bytes=facts.max_bytes,
        )
        yield from _check_replicas(facts)
    if facts.info and not is_sentinel(facts.info):
        yield from _check_persistence(facts)
        yield from _check_eviction(facts)
        yield from _check_memory(facts)
    if facts.round_trip is not None and facts.round_trip > SLOW:
        yield warning(
            "redis.latency",
            f"a PING takes {facts.round_trip * 1000:.0f} ms: the queue waits for several a batch",
            "move the worker nearer to Redis, or see what keeps it busy (SLOWLOG GET, INFO commandstats)",
        )
    if abs(facts.skew) > MAX_SKEW:
        side = "ahead of" if facts.skew > 0 else "behind"
        yield warning(
            "redis.clock",
            f"the server's clock is {abs(facts.skew):.0f} s {side} this host's: ages and retry_for are wrong by that",
            "let both hosts set their clocks by NTP (timedatectl, chronyc tracking)",
        )


def _check_commands(facts: RedisFacts) -> Iterator[Finding]:
    refused = {name: kind for name, kind in facts.refused.items() if name != "wait" or facts.replicas}
    spared = DISPENSABLE.keys() - {"wait"}
    dispensable = {name: kind for name, kind in refused.items() if name in spared}
    needed = {name: kind for name, kind in refused.items() if name not in spared}
    if needed:
        denied = "unknown" not in needed.values()
        yield error(
            "redis.acl" if denied else "redis.commands",
            name_refused(needed, facts.keys),
            "grant what docs/security.md names: ACL SETUSER … ~PREFIX:* and these commands"
            if denied
            else "take rename-command for them out of its configuration, or use a server that offers them",
        )
    if dispensable:
        denied = "unknown" not in dispensable.values()
        costs = dict.fromkeys(DISPENSABLE[name] for name in dispensable)
        yield (warning if denied else note)(
            "redis.acl" if denied and not needed else "redis.commands",
            f"{name_refused(dispensable, facts.keys)}; {', '.join(costs)}",
            "grant it, or leave it so",
        )


_REMEDIES = {
    "": "see that the server runs and that the URL, the network and the firewall lead to it",
    "NOAUTH": "put the password into the URL: redis://USER:PASSWORD@HOST:PORT/DB",
    "WRONGPASS": "correct the user name or the password in the URL; ACL LIST on the server shows its users",
    "NOPERM": "grant what docs/security.md names",
    "LOADING": "wait until it has loaded its data; INFO persistence says how far it is",
    "MISCONF": "see the server's log and its disk; it refuses writes until a save succeeds",
    "OOM": "raise maxmemory, or let workers drain the queue",
    "READONLY": "give the URL of the master",
    "SENTINEL": "correct the sentinels, their password or the name in the URL: SENTINEL MASTERS names what one watches",
    "CLUSTER": "correct the nodes in the URL; CLUSTER NODES on one of them names all",
    "CLUSTERDOWN": "give every slot a node: redis-cli --cluster check, and fix",
    "FAILOVER": "start that server again, or make one of its replicas the master",
    "ERR": "correct the URL: a server answers there, but cannot keep a queue in that way",
}


_NOT_MET = ("", "SENTINEL", "CLUSTER", "FAILOVER")
"""Codes with which no server was spoken to, so that nothing is known of it: not even whether it asks for a password."""


def _check_link(facts: RedisFacts) -> Iterator[Finding]:
    is_met = not facts.problem or facts.code not in _NOT_MET
    if facts.loopback or not is_met:
        return
    if not facts.encrypted:
        yield warning(
            "redis.tls",
            "events travel to another machine unencrypted",
            "use rediss://, or say to yourself that the network between them is private",
        )
    if not facts.authenticated:
        yield error(
            "redis.auth",
            "the server is on the network and asks for no password: all who reach it can read and delete events",
            "set requirepass or an ACL user (docs/security.md) and put it into the URL",
        )


def _check_version(facts: RedisFacts) -> Iterator[Finding]:
    version = str(facts.info.get("redis_version", ""))
    parts = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if parts and parts < OLDEST:
        yield error(
            "redis.version",
            f"Redis {version} is older than any that eventspool is tested with",
            "upgrade to Redis 6.2 or newer, or to Valkey",
        )


def _check_replicas(facts: RedisFacts) -> Iterator[Finding]:
    if not facts.replicas or facts.info.get("role") != "master":
        return
    connected = count_replicas(facts.info)
    has = f"the server has {connected} replica{'' if connected == 1 else 's'}"
    if connected < facts.replicas:
        yield error(
            "redis.replicas",
            f"{has}, and durability='replicated' asks for {facts.replicas}: no event is acknowledged now",
            "start or connect the replicas that are missing (INFO replication), or lower QueueOpts.replicas",
        )
    elif connected == facts.replicas:
        yield warning(
            "redis.replicas",
            f"{has}, and durability='replicated' asks for {facts.replicas}: "
            "while one of them is away no event is acknowledged",
            "run one replica more than QueueOpts.replicas asks for",
        )


def count_replicas(info: Mapping[str, object]) -> int:
    """Return how many replicas are connected and up to date but for what is under way, as ``INFO`` says."""
    found = [value for name, value in info.items() if name[:5] == "slave" and name[5:].isdecimal()]
    return sum(isinstance(value, dict) and value.get("state") == "online" for value in found)


def _check_persistence(facts: RedisFacts) -> Iterator[Finding]:
    info, settings = facts.info, facts.settings
    appending = info.get("aof_enabled") == 1
    if not appending:
        snapshots = None if settings is None else settings.get("save", "")
        if snapshots is None:
            what = "it keeps no append-only file, and whether it takes snapshots could not be asked"
        elif snapshots:
            what = "it keeps no append-only file: a crash loses all events since the last snapshot"
        else:
            what = "it saves nothing to disk: a restart loses the whole queue"
        make = warning if snapshots else error
        yield make("redis.persistence", what, "CONFIG SET appendonly yes, then CONFIG REWRITE")
    elif settings is not None and settings.get("appendfsync") == "no":
        yield warning(
            "redis.appendfsync",
            "it leaves syncing to the operating system (appendfsync no): a power cut loses up to half a minute",
            "CONFIG SET appendfsync everysec (loses about a second) or always (nothing), then CONFIG REWRITE",
        )
    elif settings is None:
        yield note(
            "redis.appendfsync",
            "appendfsync was not checked: this user may not call CONFIG GET",
            "run doctor as a user with +config|get if you want to know",
        )
    for key, name in (
        ("aof_last_write_status", "writing the append-only file"),
        ("aof_last_bgrewrite_status", "rewriting the append-only file"),
        ("rdb_last_bgsave_status", "saving a snapshot"),
    ):
        if info.get(key, "ok") != "ok":
            yield error(
                "redis.saving",
                f"{name} failed the last time",
                "see the server's log and `df` on its disk; it may refuse writes until that works again",
            )


def _check_eviction(facts: RedisFacts) -> Iterator[Finding]:
    policy = str(facts.info.get("maxmemory_policy", "noeviction"))
    action = "CONFIG SET maxmemory-policy noeviction, then CONFIG REWRITE; give a cache a server of its own"
    if policy.startswith("allkeys"):
        yield error(
            "redis.eviction",
            f"it throws keys away when its memory is full (maxmemory-policy {policy}), the queue among them",
            action,
        )
    elif policy.startswith("volatile"):
        yield warning(
            "redis.eviction",
            f"it throws expiring keys away when its memory is full (maxmemory-policy {policy}): "
            "a lease on the queue can vanish, and a second processor start beside the first",
            action,
        )


def _check_memory(facts: RedisFacts) -> Iterator[Finding]:
    used, limit = _number(facts.info.get("used_memory")), _number(facts.info.get("maxmemory"))
    setting = "maxmemory" if limit else "the machine's memory"
    limit = limit or _number(facts.info.get("total_system_memory"))
    if not limit or used < NEARLY_FULL * limit:
        return
    make = error if used >= FULL * limit else warning
    yield make(
        "redis.memory",
        f"it uses {min(used / limit, 9.99):.0%} of {setting}; when that is full, new events are refused",
        "let workers drain the queue, raise maxmemory, or see what else fills it (MEMORY STATS)",
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
