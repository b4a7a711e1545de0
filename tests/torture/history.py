"""What happened in a run, read from the files of the ledger and of the data plane while they grow."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Arrival", "History", "Issue", "Tail", "producer_of"]


class Tail:
    """
    Whole lines of a file, as they are appended.

    Args:
        path: The file; it may not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def lines(self) -> list[str]:
        """Return the lines that were finished since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._at)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._at += len(whole) + len(newline)
        return whole.decode().split("\n")


@dataclass(slots=True)
class Issue:
    """An event that a producer was about to track: its digest, and when (monotonic seconds)."""

    digest: str
    moment: float


@dataclass(slots=True)
class Arrival:
    """Every time that one event arrived: when, and which digests it had as an event and as bytes."""

    moments: list[float] = field(default_factory=list)
    digests: set[str] = field(default_factory=set)
    bytes: set[str] = field(default_factory=set)


@dataclass
class History:
    """
    Everything that was said.

    Args:
        issued: By message id, in the order in which the ledger heard of them.
        acked: When each was acknowledged.
        unconfirmed: Ids of calls that returned ``None``.
        refused: Reason by id, for those that ``on_error`` was told of.
        arrivals: What reached the data plane, by id.
        begun: When each process began to run.
        working: Workers that have delivered, and producers that have had an acknowledgement.
        delivered: When each worker said that it had delivered something.
        closings: When a processor said that it had found the data plane alive again.
        spills: How often a client has begun to use the spill file.
        closed: How many events each client that was closed in good order has reported lost, by producer.
        forks: Forked children that came to work.
        deadlocked: Forked children that did not end in time.
        crashed: Forked children that ended otherwise than well, and how.
    """

    issued: dict[str, Issue] = field(default_factory=dict)
    acked: dict[str, float] = field(default_factory=dict)
    unconfirmed: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    arrivals: dict[str, Arrival] = field(default_factory=dict)
    begun: dict[str, float] = field(default_factory=dict)
    working: set[str] = field(default_factory=set)
    delivered: dict[str, list[float]] = field(default_factory=dict)
    closings: list[float] = field(default_factory=list)
    spills: int = 0
    closed: dict[str, int] = field(default_factory=dict)
    forks: int = 0
    deadlocked: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)
    _order: list[str] = field(default_factory=list)
    _moments: list[float] = field(default_factory=list)

    def hear(self, line: str) -> None:
        """Take one line of the ledger."""
        stamp, kind, subject, *rest = line.split(" ")
        moment = float(stamp)
        if kind == "i":
            self.issued[subject] = Issue(rest[0], moment)
            self._order.append(subject)
            self._moments.append(moment)
        elif kind == "a":
            self.acked[subject] = moment
            self.working.add(producer_of(subject))
        elif kind == "n":
            self.unconfirmed.add(subject)
        elif kind == "r":
            self.refused[subject] = rest[0]
        elif kind == "w":
            self.working.add(subject)
            self.delivered.setdefault(subject, []).append(moment)
        elif kind == "b":
            self.begun[subject] = moment
        elif kind == "c":
            self.closings.append(moment)
        elif kind == "s":
            self.spills += 1
        elif kind == "e":
            self.closed[subject] = int(rest[0])
        elif kind == "f":
            self.forks += 1
        elif kind == "d":
            self.deadlocked.append(subject)
        elif kind == "x":
            self.crashed.append(f"{subject} ended with {rest[0]}")
        else:
            raise ValueError(f"the ledger has a line of no known kind: {kind!r}")

    def arrive(self, line: str) -> None:
        """Take one line of the data plane; one that a kill has cut off counts for nothing."""
        words = line.split(" ")
        if len(words) != 4:
            return
        stamp, message_id, digest, raw = words
        arrival = self.arrivals.setdefault(message_id, Arrival())
        arrival.moments.append(float(stamp))
        arrival.digests.add(digest)
        arrival.bytes.add(raw)

    def issued_after(self, moment: float) -> list[str]:
        """Return the ids issued later than *moment*."""
        return self._order[bisect_right(self._moments, moment) :]

    def recovery(self, moment: float, producer: str) -> tuple[float | None, float | None]:
        """Return how long after *moment* the first new event of *producer* was acknowledged, and the first one delivered."""
        new = [i for i in self.issued_after(moment) if producer_of(i) == producer]
        acks = [self.acked[i] for i in new if i in self.acked]
        arrivals = [self.arrivals[i].moments[0] for i in new if i in self.arrivals]
        return (min(acks) - moment if acks else None), (min(arrivals) - moment if arrivals else None)

    def worked(self, moment: float, worker: str) -> float | None:
        """Return how long after *moment* the *worker* has delivered something."""
        moments = self.delivered.get(worker, [])
        after = moments[bisect_right(moments, moment) :]
        return after[0] - moment if after else None


def producer_of(message_id: str) -> str:
    """Return the name of the process that issued *message_id* (``event-NAME.THREAD.N``)."""
    return message_id.partition("-")[2].partition(".")[0]
