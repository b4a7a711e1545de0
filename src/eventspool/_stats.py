"""The counts of ``Client.stats()``."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ClientStats", "Tally", "find_imbalances"]

_FOLD_AT = 1000


@dataclass(frozen=True, slots=True)
class ClientStats:
    """
    What became of this client's events in this process.

    Every accepted event is in one place: ``accepted == buffered + persisted + delivered + failed + lost``. Every event call
    is counted once: calls ``== accepted + sum(refused.values()) + discarded``, but for those that raise (``strict=True``).

    Args:
        accepted: Events taken to be delivered. Their calls returned a message id, but for the *unconfirmed* ones.
        refused: Refused ones, by reason: ``invalid``, ``unencodable``, ``too_large``, ``buffer_full``, ``closed``,
            ``no_queue``, ``starting``.
        buffered: Held by this process's memory alone.
        persisted: In the queue or in the spill file, not settled yet.
        spilled: Those of *persisted* that are in the spill file and not yet in the queue.
        delivered: Taken by the data plane, from whichever process.
        failed: Given up; in the failed queue, where there is one.
        failed_reasons: Those, by reason (see ``DeliveryError``).
        lost: Gone, and never delivered for all that is known.
        lost_reasons: Those, by reason. When the client closed: ``undelivered``, there being no queue to keep them, or
            ``unstored``, the queue not having taken them yet. At any time: ``emptied``, somebody having emptied or deleted
            the queue that held them, or ``purged``, an operator having purged them or erased them by user id.
        discarded: Taken and forgotten, because of ``enable=False`` or for ``eventspool.testing``.
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
    failed_reasons: Mapping[str, int] = field(default_factory=dict)
    lost: int = 0
    lost_reasons: Mapping[str, int] = field(default_factory=dict)
    discarded: int = 0
    unconfirmed: int = 0
    sent: int = 0
    retried: int = 0
    in_flight: int = 0
    paused: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the same figures as a plain dictionary."""
        return asdict(self)


def find_imbalances(stats: ClientStats, *, calls: int | None = None) -> list[str]:
    """
    Return, one sentence each, where *stats* do not add up; nothing when every event is in exactly one place.

    Args:
        stats: Of one client.
        calls: How many event calls it has had that did not raise, where somebody has counted them.
    """
    places = {name: getattr(stats, name) for name in ("buffered", "persisted", "delivered", "failed", "lost")}
    wrong = [f"{name} is {count}" for name, count in places.items() if count < 0]
    if stats.accepted != sum(places.values()):
        wrong.append(f"{stats.accepted} were accepted, but there are {places}")
    for name in ("failed", "lost"):
        reasons = getattr(stats, f"{name}_reasons")
        if sum(reasons.values()) != places[name]:
            wrong.append(f"{places[name]} are {name}, but the reasons are {dict(reasons)}")
    if not 0 <= stats.spilled <= stats.persisted:
        wrong.append(f"{stats.spilled} are in the spill file, but {stats.persisted} are stored")
    if stats.unconfirmed > stats.accepted:
        wrong.append(f"{stats.unconfirmed} are unconfirmed, but {stats.accepted} were accepted")
    counted = {"accepted": stats.accepted, "discarded": stats.discarded, **stats.refused}
    if calls is not None and calls != sum(counted.values()):
        wrong.append(f"there were {calls} calls, but counted are {counted}")
    return wrong


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
