"""One partition, as a process of the queue knows it: its backend, and whether it can be reached."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from eventspool._backends.protocol import Backend
from eventspool._exceptions import QueueUnavailable, Unconfirmed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from eventspool._backends.partitioned.ring import Part
    from eventspool._config import Ordering
    from eventspool._job import JobState, Settlement

__all__ = ["Closable", "Member", "PartitionBackend"]

_PAUSE: Final = 0.5
"""Least seconds for which a partition that could not be reached is left alone."""
_LONGEST_PAUSE: Final = 15.0
_PATIENCE: Final = 4
"""
How many times as long as its failure took, at most. A server that does not answer would else take most of this process's time.

After the first failure it is once, after the second twice: a failover is over in seconds, and the calls wait for it.
"""
_LATE: Final = 100_000
"""Endings that are kept for a partition that is away; those beyond are forgotten, and their jobs sent again."""


class Closable(Protocol):
    """What several partitions share."""

    def close(self) -> None:
        """Release it. It comes back with the next use."""

    def abandon(self) -> None:
        """In a forked child: forget what the parent owns, without closing it."""


class PartitionBackend(Backend, Protocol):
    """What a store must do so that its queues can be the partitions of another one."""

    is_sealed: bool
    """The last claim found that it takes no new jobs."""

    @property
    def node(self) -> str:
        """The address of the server that has it, "" where that is not known."""

    def stop_waiting(self) -> None:
        """Give up the connection of ``wait``: this processor looks elsewhere now."""

    def look_anew(self) -> None:
        """Have the next call ask which server has it: another partition has met trouble with the one that had it."""

    def read_ring(self) -> str:
        """Return how the queue is divided, "" where that was never written down."""

    def read_standing(self, token: str) -> tuple[str, int, int]:
        """Return the same, how many live processors' tokens sort before *token*, and how many live ones there are."""

    def write_ring(self, expected: str, ring: str, *, is_first: bool = False) -> str:
        """Write *ring* where *expected* is written, with *is_first* in a queue that was never used. Return what is there."""

    def seal(self) -> None:
        """Take no new jobs from now on. May be repeated."""

    def retire(self, *, delete: bool = False) -> tuple[int, ...] | None:
        """Return the totals of a sealed partition that is empty, ``None`` for any other; with *delete*, delete it."""

    def spend(self, rate: float, sizes: Sequence[int]) -> tuple[int, float]:
        """
        Pay for jobs, of so many events each, by *rate*.

        Return how many of them go, and the seconds until another one may: 0.0 where all go.
        """

    def find_ordering(self) -> Ordering:
        """Return what it keeps: the order per user while any process wants that, else what this one or its producers want."""

    def drop(self) -> None:
        """Delete all of it."""

    def list_others(self) -> tuple[str, ...]:
        """Return the other queues of the server, as an operator would name them."""

    def stood_at(self, state: JobState, job_id: str) -> float | None:
        """Return the time by which the list of *state* has a job, ``None`` where it does not list the job."""


class Member:
    """
    One partition.

    What ended while it was away is told to it later. Its jobs were delivered, or not, whatever it can be told: the processor
    goes on with the other partitions meanwhile. A process that ends before leaves it to the leases, which run out.

    Args:
        part: Its name.
        backend: Where its jobs are.
    """

    def __init__(self, part: Part, backend: PartitionBackend) -> None:
        self.part = part
        self.backend = backend
        self.away_until = 0.0
        """Until when it is left alone, by the monotonic clock."""
        self.unconfirmed_until = 0.0
        """Until when nothing is committed there, by the same clock: its replicas do not confirm anything."""
        self.is_away = False
        """The last call could not reach it."""
        self._failures = 0  # in a row
        self.is_drained = False
        """It is sealed, and had no unfinished job after that."""
        self.may_hold_unheard = False
        """A claim was not answered: jobs may be leased to us that we do not know of."""
        self._late_acks: deque[str] = deque(maxlen=_LATE)
        self._late_endings: deque[tuple[str, Settlement]] = deque(maxlen=_LATE)

    def is_left_alone(self, now: float) -> bool:
        """Say whether it could not be reached a moment ago."""
        return now < self.away_until

    def takes_commits(self, now: float) -> bool:
        """
        Say whether it could be reached, and its replicas confirmed what was committed.

        Each commit would else wait for the replicas, and with it what the same call commits to other partitions.
        """
        return now >= max(self.away_until, self.unconfirmed_until)

    def ask(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call *method* of its backend, and note whether that could be reached."""
        began = time.monotonic()
        try:
            reply = method(*args, **kwargs)
        except Unconfirmed:
            # The server itself works, and its jobs are to be delivered: that is no outage.
            self._note_answer()
            now = time.monotonic()
            self.unconfirmed_until = now + min(max(_PAUSE, now - began), _LONGEST_PAUSE)
            raise
        except QueueUnavailable:
            now = time.monotonic()
            self.is_away = True
            self._failures += 1
            patience = min(self._failures, _PATIENCE)
            self.away_until = now + min(max(_PAUSE, patience * (now - began)), _LONGEST_PAUSE)
            raise
        self._note_answer()
        return reply

    def share_trouble(self, other: Member) -> None:
        """Leave this one alone for as long as *other*, which is on the same server."""
        self.away_until = max(self.away_until, other.away_until)
        self.unconfirmed_until = max(self.unconfirmed_until, other.unconfirmed_until)
        self.backend.look_anew()

    def _note_answer(self) -> None:
        self.is_away, self.away_until, self._failures = False, 0.0, 0

    def ack_later(self, ids: Sequence[str]) -> None:
        """Keep *ids* to be acknowledged when it is back."""
        self._late_acks.extend(ids)

    def settle_later(self, token: str, settlements: Sequence[Settlement]) -> None:
        """Keep *settlements* of *token* until it is back."""
        self._late_endings.extend((token, each) for each in settlements)

    def catch_up(self) -> None:
        """Tell it what ended while it was away. Raises ``QueueUnavailable``; then all of that is kept."""
        if ids := list(self._late_acks):
            self.ask(self.backend.ack, ids)
            for _ in ids:
                self._late_acks.popleft()
        while endings := list(self._late_endings)[:1000]:
            token = endings[0][0]
            group = [each for owner, each in endings if owner == token]
            self.ask(self.backend.settle, token, group)
            for ending in endings:
                self._late_endings.remove(ending)
            self._late_endings.extendleft(pair for pair in reversed(endings) if pair[0] != token)
