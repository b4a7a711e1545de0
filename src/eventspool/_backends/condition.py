"""How the store of a queue is, as a look finds that changes nothing: whether it takes writes, and what its clock says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FULL", "PERMISSION", "READ_ONLY", "REFUSED", "REPLICAS", "SAVING", "Condition", "find_worst"]

FULL = "full"
READ_ONLY = "read_only"
REPLICAS = "replicas"
SAVING = "saving"
PERMISSION = "permission"
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Condition:
    """
    How the store of a queue is now.

    Args:
        refuses: Why it takes no new jobs, as a word: ``full``, ``read_only``, ``replicas`` (too few of them follow it),
            ``saving`` (it cannot save to its disk), ``permission``, ``refused`` (for a cause that is not known here); "" where
            it takes them.
        because: The same in one sentence, which names the server or file; "" where it takes them.
        drains: What it holds can be claimed and settled. A store that is full mostly drains.
        is_used: A job was stored in this queue at some time. A name that was never used may be a misspelt one.
        others: The queues that the same server or file has, as an operator would name them. Only where this one is not used.
        clock_ahead: Seconds by which the store's clock is ahead of this process's; ``None`` where both go by one clock.
        clocks: By how many seconds the clocks of producers' machines are ahead of the store's, by host; of those alone where
            it matters.
    """

    refuses: str = ""
    because: str = ""
    drains: bool = True
    is_used: bool = True
    others: tuple[str, ...] = ()
    clock_ahead: float | None = None
    clocks: Mapping[str, float] = field(default_factory=dict)


def find_worst(found: list[Condition]) -> Condition:
    """Return the condition of a queue whose partitions have the conditions *found*, at least one; the first is the root's."""
    root = found[0]
    worst = min(found, key=lambda each: (each.drains, not each.refuses))
    return Condition(
        worst.refuses,
        worst.because,
        worst.drains,
        any(each.is_used for each in found),
        root.others,
        root.clock_ahead,
        root.clocks,
    )
