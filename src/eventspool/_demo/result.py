"""What the demo is given, what it tells while it runs, and what it returns: plain frozen data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from eventspool._exceptions import EventSpoolError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["DemoError", "DemoOptions", "DemoResult", "Incident", "Narrator", "Progress"]


class DemoError(EventSpoolError):
    """The demo could not be carried out. The message says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """
    What to play.

    Args:
        queue: URL of the queue to use; ``None``: an embedded SQLite file in *folder*.
        redis: Start a private Redis or Valkey server for the queue.
        kills: How often the process is killed (SIGKILL).
        sample: Use the published 1-in-10 sample even where the whole file is there.
        seed: What the faults and the instants of the kills are drawn from.
        folder: Where the queue's file and the child's log are kept; ``None``: a temporary folder, removed at the end.
        stall_timeout: Seconds without any progress after which the demo is given up.
    """

    queue: str | None = None
    redis: bool = False
    kills: int = 5
    sample: bool = False
    seed: int = 1997
    folder: Path | None = None
    stall_timeout: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """
    How far the demo is: told several times a second.

    Args:
        total: Purchases in the input.
        stored: Purchases that were acknowledged as stored in the queue.
        delivered: Purchases that the data plane has received.
        queued: Events in the queue now, as the queue itself counts them.
        duplicates: Events received again.
        kills: Kills so far.
        kills_planned: How many kills there will be.
        weather: What the data plane does at present.
        is_down: The child process is dead at this instant.
        elapsed: Seconds since the start.
    """

    total: int
    stored: int = 0
    delivered: int = 0
    queued: int = 0
    duplicates: int = 0
    kills: int = 0
    kills_planned: int = 0
    weather: str = ""
    is_down: bool = False
    elapsed: float = 0.0


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happened: ``start``, ``kill``, ``restart``, ``weather`` or ``end``, *elapsed* seconds into the demo."""

    kind: str
    text: str
    elapsed: float


class Narrator(Protocol):
    """What shows the demo to its user. The conductor's thread calls it."""

    def progress(self, progress: Progress) -> None:
        """Show how far the demo is."""

    def incident(self, incident: Incident) -> None:
        """Show something that happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """
    The account, which a process has kept that was never killed.

    Args:
        source: The input's title.
        queue: The name of the kind of store: ``sqlite`` or ``redis``.
        seed: The seed.
        total: Purchases in the input.
        accepted: Purchases that were acknowledged as stored.
        delivered: Purchases that the data plane has received at least once.
        lost: Purchases that were acknowledged and never received.
        duplicates: Events received again, by messageId.
        changed: Duplicates with other bytes than the first time.
        failed: Events in the failed queue at the end.
        kills_planned: How often the process was to be killed.
        kills: How often it was.
        requests: Requests to the data plane.
        statuses: Requests by the status of their answer; ``none`` got no answer.
        faults: How many requests each kind of fault hit.
        elapsed: Seconds from the first start to the last delivery.
        events_per_second: ``delivered / elapsed``.
    """

    source: str
    queue: str
    seed: int
    total: int
    accepted: int
    delivered: int
    lost: int
    duplicates: int
    changed: int
    failed: int
    kills_planned: int
    kills: int
    requests: int
    statuses: Mapping[str, int] = field(default_factory=dict)
    faults: Mapping[str, int] = field(default_factory=dict)
    elapsed: float
    events_per_second: float

    @property
    def ok(self) -> bool:
        """Every purchase was accepted and arrived unchanged, and every planned kill took place."""
        return (
            self.accepted == self.total == self.delivered
            and not self.lost
            and not self.changed
            and not self.failed
            and self.kills == self.kills_planned
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the account as a plain dictionary, the verdict included."""
        return {"ok": self.ok, **asdict(self)}
