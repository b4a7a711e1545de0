"""The counts of ``Client.stats()``."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any

__all__ = ["ClientStats", "Tally", "find_imbalances"]


@dataclass(frozen=True, slots=True)
class ClientStats:
    """
    What became of this client's events in this process.

    Every accepted event is in one place: ``accepted == buffered + persisted + delivered + failed + lost``. Every event call
    is counted once: calls ``== accepted + sum(refused.values()) + discarded + dropped``, but for those that raise
    (``strict=True``).

    Args:
        accepted: Events taken to be delivered. Their calls returned a message id, but for the *unconfirmed* ones.
        refused: Refused ones, by reason: ``invalid``, ``unencodable``, ``too_large``, ``buffer_full``, ``closed``,
            ``no_queue``, ``starting``, ``before_send``.
        dropped: Left out by ``before_send``, which returned ``None``.
        buffered: Held by this process's memory alone.
        persisted: In the queue or in the spill file, not settled yet.
        spilled: Those of *persisted* that are in the spill file and not yet in the queue.
        unfollowed: Those of *persisted* whose end this process will not learn: more than 50,000 stored batches wait for other
            processes, and no callback waits for these.
        delivered: Taken by the data plane, from this process or from another one.
        failed: Given up; in the failed queue, where there is one.
        failed_reasons: Those, by reason (see ``DeliveryError``).
        lost: Gone, and never delivered for all that is known.
        lost_reasons: Those, by reason. When the client closed: ``undelivered``, there being no queue to keep them, or
            ``unstored``, the queue not having taken them yet. At any time: ``emptied``, an operator having emptied or deleted
            the queue that held them, or ``purged``, an operator having purged them or erased them by user id.
        discarded: Taken and forgotten, because of ``enable=False`` or for ``eventspool.testing``.
        unconfirmed: With ``durability="persisted"`` or ``"replicated"``: calls that returned ``None`` because storing took too
            long. The event is still on its way and may arrive.
        sent: Batches that this process's processor delivered, those of other producers included.
        retried: Attempts of this process's processor that ended in a retry.
        in_flight: Batches that this process's processor holds now.
        paused: The data plane is down or refuses the write key; only probes are sent.
        pause_reason: Why, as in ``ProcessorInfo``; "" while it is not paused.
    """

    accepted: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    buffered: int = 0
    persisted: int = 0
    spilled: int = 0
    unfollowed: int = 0
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
    pause_reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the same figures as a plain dictionary."""
        return asdict(self)


def find_imbalances(stats: ClientStats, *, calls: int | None = None) -> list[str]:
    """
    Return, one sentence each, where *stats* do not add up; nothing when every event is in exactly one place.

    Args:
        stats: Of one client.
        calls: How many event calls it has had that did not raise, where the caller has counted them.
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
    counted = {
        "accepted": stats.accepted,
        "discarded": stats.discarded,
        "dropped": stats.dropped,
        **stats.refused,
    }
    if calls is not None and calls != sum(counted.values()):
        wrong.append(f"there were {calls} calls, but counted are {counted}")
    return wrong


class Tally:
    """Counts by name. Each step is one call of C: whatever interrupts it, also by adding, an addition is made or not made."""

    def __init__(self) -> None:
        self._counters: dict[str, count[int]] = {}

    def add(self, name: str) -> None:
        """Count one more."""
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters.setdefault(name, count())
        next(counter)

    def counts(self) -> dict[str, int]:
        """Return what was counted."""
        return {
            name: int(repr(counter)[len("count(") : -1]) for name, counter in list(self._counters.items())
        }
