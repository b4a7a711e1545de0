"""The counts of ``Client.stats()``."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ClientStats", "Tally"]

_FOLD_AT = 1000


@dataclass(frozen=True, slots=True)
class ClientStats:
    """
    What became of this client's events in this process. ``accepted == buffered + persisted + delivered +
    failed + lost``.

    Args:
        accepted: Event calls that returned a message id.
        refused: Refused ones, by reason.
        buffered: Held by this process's memory alone.
        persisted: In the queue or in the spill file, not settled yet.
        spilled: Those of *persisted* that are in the spill file and not yet in the queue.
        delivered: Taken by the data plane, from whichever process.
        failed: Given up; in the failed queue, where there is one.
        lost: Neither stored nor delivered when the client closed.
        unconfirmed: With ``durability="persisted"``: calls that returned ``None`` because storing took too
            long. The event is still on its way and may arrive.
        sent: Batches that this process's processor delivered, whoever produced them.
        retried: Attempts of this process's processor that ended in a retry.
        in_flight: Batches that this process's processor holds now.
        paused: The data plane is down or refuses the write key; only probes are sent.
    """

    accepted: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    buffered: int = 0
    persisted: int = 0
    spilled: int = 0
    delivered: int = 0
    failed: int = 0
    lost: int = 0
    unconfirmed: int = 0
    sent: int = 0
    retried: int = 0
    in_flight: int = 0
    paused: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the same figures as a plain dictionary."""
        return asdict(self)


class Tally:
    """Counts by name. Never waits and misses nothing, also where a signal handler that adds interrupts one who adds."""

    def __init__(self) -> None:
        self._added: deque[str] = deque()  # its append is atomic; adding one to a number is not
        self._counts: Counter[str] = Counter()
        self._lock = threading.RLock()
        self._folding = False

    def add(self, name: str) -> None:
        """Count one more."""
        self._added.append(name)
        if len(self._added) >= _FOLD_AT and self._lock.acquire(blocking=False):
            try:
                self._fold()
            finally:
                self._lock.release()

    def counts(self) -> dict[str, int]:
        """Return what was counted."""
        with self._lock:
            self._fold()
            return dict(self._counts)

    def _fold(self) -> None:
        if self._folding:  # by this very thread, which a signal handler has interrupted
            return
        self._folding = True
        try:
            for _ in range(len(self._added)):
                self._counts[self._added.popleft()] += 1
        finally:
            self._folding = False
