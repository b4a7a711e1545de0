"""What has become of jobs that were retried: some first, and the rest only where these were delivered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._backends import Backend

__all__ = ["Fates", "find_fates"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """So many *jobs* have failed again for this *reason*; one of them with this *error*."""

    reason: str
    jobs: int
    error: str


@dataclass(frozen=True, slots=True)
class Fates:
    """
    What has become of some jobs.

    Args:
        delivered: How many were delivered.
        unfinished: How many wait, wait for their next attempt, or are being sent.
        refused: Those that have failed again, or were purged or moved, by reason.
    """

    delivered: int = 0
    unfinished: int = 0
    refused: tuple[Refusal, ...] = field(default=())

    @property
    def are_all_delivered(self) -> bool:
        """Nothing is left to wait for, and nothing was refused."""
        return not self.unfinished and not self.refused


def find_fates(backend: Backend, ids: Sequence[str]) -> Fates:
    """Return what has become of the jobs *ids*, none of which was failed when they were retried."""
    found = backend.lookup(ids)
    failures = [failure for failure in found.values() if failure is not None]
    refused = []
    for reason in dict.fromkeys(failure.reason for failure in failures):
        of_it = [failure for failure in failures if failure.reason == reason]
        refused.append(Refusal(reason, len(of_it), of_it[0].error))
    return Fates(len(set(ids)) - len(found), len(found) - len(failures), tuple(refused))
