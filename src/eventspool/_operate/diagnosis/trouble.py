"""What can be wrong with a queue and its way out: for each a word for programs, and what an operator does about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["KINDS", "Kind", "Severity", "Trouble", "find_obstacle", "trouble"]


class Severity(enum.StrEnum):
    """How bad it is."""

    ERROR = "error"
    """Events are not delivered, or can be lost or read by others, as things are now."""
    WARNING = "warning"
    """Events flow, but will not for long, or not after the next restart."""
    NOTE = "note"
    """Something could not be checked. The operator need not act."""


@dataclass(frozen=True, slots=True)
class Kind:
    """
    One kind of trouble.

    Args:
        label: A few words for a line of a terminal.
        title: One short sentence.
        remedy: What to do about it, in one sentence.
        is_obstacle: A worker cannot deliver anything meanwhile, so it is not ready. Restarting it would mend nothing.
    """

    label: str
    title: str
    remedy: str
    is_obstacle: bool = False


_ROOM = "let workers drain it, give the store more room (maxmemory, or the disk), or see what else fills it"
_ON_ITS_OWN = "delivery goes on by itself when it works again; every event is kept"

KINDS: Mapping[str, Kind] = {
    "queue.unreachable": Kind(
        "queue not reachable",
        "The queue cannot be reached",
        "see that the server runs, and that the URL, the network and the firewall lead to it",
        is_obstacle=True,
    ),
    "queue.refused": Kind(
        "refused by the queue's server",
        "The queue's server refuses this user",
        "put the user name and password of the server into the queue's URL, and grant what docs/security.md names",
        is_obstacle=True,
    ),
    "queue.read_only": Kind(
        "read-only",
        "The queue is read-only",
        "give the URL of the master, or one that finds it after a failover (redis+sentinel://, redis+cluster://); "
        "a file belongs to the user that runs the workers",
        is_obstacle=True,
    ),
    "queue.replicas": Kind(
        "writes refused: too few replicas",
        "The queue's server has too few replicas, and refuses writes",
        "start the replicas that are missing, or lower min-replicas-to-write",
        is_obstacle=True,
    ),
    "queue.saving": Kind(
        "writes refused: it cannot save",
        "The queue's server cannot save to its disk, and refuses writes",
        "see the server's log and `df` on its disk: it takes writes again once a save has succeeded",
        is_obstacle=True,
    ),
    "queue.partitions": Kind(
        "partitions away",
        "Some partitions cannot be reached",
        "see that the server runs that has them; their events wait, and the others go on",
    ),
    "queue.full": Kind(
        "full: takes no new events", "The queue takes no new events: its store is full", _ROOM
    ),
    "queue.bounds": Kind(
        "full: takes no new events",
        "The queue takes no new events: it is as large as its producers let it be",
        "add workers, purge what failed, or raise max_jobs and max_bytes of the producers",
    ),
    "queue.paused": Kind(
        "paused", "Delivery is paused", "`eventspool queue resume`, once the reason is gone"
    ),
    "encryption.wrong_key": Kind(
        "wrong encryption key",
        "No key that the workers have opens the events",
        "give the workers the key that the producers have (EVENTSPOOL_ENCRYPTION_KEY; after a rotation the old one behind a "
        "comma), then `eventspool queue retry --reason encrypted`",
        is_obstacle=True,
    ),
    "plane.key": Kind(
        "write key refused",
        "The data plane refuses the write key",
        "set EVENTSPOOL_WRITE_KEY to the source's key and restart the workers; nothing is lost meanwhile",
        is_obstacle=True,
    ),
    "plane.dns": Kind(
        "data plane not found (DNS)",
        "The data plane's name cannot be found (DNS)",
        "correct --data-plane-url, or mend the name server of the workers",
        is_obstacle=True,
    ),
    "plane.tls_failed": Kind(
        "data plane not trusted (TLS)",
        "No trusted connection to the data plane can be made (TLS)",
        "have its certificate renewed, or name the authority that has signed it (--ca-file), and see that this host's clock "
        "is right",
        is_obstacle=True,
    ),
    "plane.proxy": Kind(
        "proxy fails",
        "The proxy does not lead to the data plane",
        "see the proxy, and correct --proxy or its user and password",
        is_obstacle=True,
    ),
    "plane.timeout": Kind(
        "data plane too slow",
        "The data plane does not answer in time",
        f"see its status page, and whether a firewall drops packets; {_ON_ITS_OWN}",
        is_obstacle=True,
    ),
    "plane.reachable": Kind(
        "data plane not reachable",
        "The data plane cannot be reached",
        f"see that it runs, and that --data-plane-url, the network and the firewall lead to it; {_ON_ITS_OWN}",
        is_obstacle=True,
    ),
    "plane.unavailable": Kind(
        "data plane down",
        "The data plane takes no events",
        f"see its status page or log; {_ON_ITS_OWN}",
        is_obstacle=True,
    ),
    "plane.throttled": Kind(
        "asked to slow down",
        "The data plane asks for fewer requests",
        "nothing need be done, and more workers do not help: lower --concurrency or set --max-events-per-second, or ask for a "
        "higher limit",
    ),
    "queue.processors": Kind(
        "no worker delivers",
        "No processor is running",
        "start one: `eventspool worker`, or a client that processes",
    ),
    "queue.missing": Kind(
        "no such queue",
        "There is no queue of this name here",
        "correct --queue-name, --prefix or the database in the URL; nothing need be done where its first event is still to "
        "come",
    ),
    "clock.apart": Kind(
        "clocks apart",
        "Clocks are apart",
        "let those hosts set their clocks by NTP (timedatectl, chronyc tracking)",
    ),
    "queue.unreadable": Kind(
        "unreadable jobs failed",
        "Some jobs could not be read",
        "see `eventspool queue failed`",
    ),
    "queue.failed": Kind(
        "jobs failed",
        "Jobs have failed for good",
        "`eventspool queue failed` says why; then `eventspool queue retry`, or `export --purge`",
    ),
    "queue.age": Kind(
        "behind",
        "Delivery is behind",
        "see `eventspool queue status --watch`: more workers where the data plane keeps up, patience where it does not",
    ),
}
"""Every kind, by its code, the gravest first. Tools, metrics and alerts name a trouble by its code."""

_ORDER = list(Severity)
_RANK = {code: rank for rank, code in enumerate(KINDS)}


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    One thing that is wrong.

    Args:
        code: Which kind, as a word for programs: ``queue.read_only``.
        severity: How bad it is.
        cause: What is the case, in one sentence. Holds no event, write key or password.
        remedy: What to do, in one sentence.
        is_obstacle: A worker that has it delivers nothing, and is not ready.
    """

    code: str
    severity: Severity
    cause: str
    remedy: str
    is_obstacle: bool = False

    @property
    def label(self) -> str:
        """A few words for a line of a terminal."""
        return KINDS[self.code].label

    @property
    def title(self) -> str:
        """One short sentence."""
        return KINDS[self.code].title

    @property
    def rank(self) -> tuple[int, int]:
        """What troubles are sorted by: the gravest first."""
        return _ORDER.index(self.severity), _RANK[self.code]

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "cause": self.cause,
            "remedy": self.remedy,
            "is_obstacle": self.is_obstacle,
        }


def trouble(
    code: str,
    cause: str,
    severity: Severity = Severity.ERROR,
    *,
    remedy: str = "",
    is_obstacle: bool | None = None,
) -> Trouble:
    """Return a trouble of the kind *code*; what is not given is as of its kind."""
    kind = KINDS[code]
    return Trouble(
        code,
        severity,
        cause or kind.title,
        remedy or kind.remedy,
        kind.is_obstacle if is_obstacle is None else is_obstacle,
    )


def find_obstacle(troubles: Iterable[Trouble]) -> Trouble | None:
    """Return the gravest of *troubles* with which a worker is not ready, ``None`` where it can deliver."""
    return next((each for each in troubles if each.is_obstacle), None)
