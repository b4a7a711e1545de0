"""
Which jobs of a claim must be sent one behind the other. Pure.

In a queue that keeps the order per user, jobs that share a lane may be leased together. They are a chain: a job of it may be
sent only behind those before it, in the same request, and not before it is clear what became of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._job import lanes_of

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from eventspool._claim import ClaimedJob

__all__ = ["chain_up"]


def chain_up(
    jobs: Sequence[ClaimedJob], to_send: Container[str]
) -> tuple[list[list[ClaimedJob]], list[ClaimedJob]]:
    """
    Return the chains of *jobs*, and the jobs that cannot be sent yet.

    Args:
        jobs: Of one claim, in its order: the jobs of a chain follow each other.
        to_send: The ids of those that are to be sent. Another sender has the others already, or they are given up, and it is
            not recorded yet. What comes behind one of these in a lane of its must wait.
    """
    chains: list[list[ClaimedJob]] = []
    behind: list[ClaimedJob] = []
    closed = own = 0  # lanes: of which no more may be sent now, and of the last chain
    for job in jobs:
        lanes = lanes_of(job.id)
        if job.id not in to_send:
            closed |= lanes
        elif lanes & closed:
            closed |= lanes
            behind.append(job)
        elif lanes & own:
            own |= lanes
            chains[-1].append(job)
        else:
            closed |= own
            own = lanes
            chains.append([job])
    return chains, behind
