"""The counts of ``Client.stats()``."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ClientStats"]


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
