"""What the ledger notes of a job: where its events are, how it ends, and what took its place. Values, and no decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from eventspool._settling.account import Account, LedgerCounts
    from eventspool._settling.waiter import Seen, Waiter
    from eventspool._settling.watched import Rearranged, Watchers

__all__ = ["Audit", "End", "OpenJob", "Remade"]


class Audit(NamedTuple):
    """The ledger's counts, and events that are counted job by job, all as of one moment: the two must agree."""

    counts: LedgerCounts
    batched: int
    open: int
    stored: int
    spilled: int


class OpenJob(NamedTuple):
    """A job that is not settled, and the number of its first event."""

    first: int
    events: int
    since: float
    epoch: str = ""

    @property
    def numbers(self) -> range:
        """The numbers of its events."""
        return range(self.first, self.first + self.events)


@dataclass(slots=True)
class End:
    """How a job ends: worked out in whole before anything is changed."""

    job_id: str
    job: OpenJob
    account: Account
    seen: list[tuple[Waiter, Seen]]
    is_stored: bool | None
    """What the durable calls that wait for it are told; ``None``: nothing yet."""
    calls: Iterator[Callable[[], object]] | None = None
    """Gives each once: put again by a step that is repeated, it gives nothing more."""


@dataclass(frozen=True, slots=True)
class Remade:
    """Which jobs take the place of others that hold the same events: worked out in whole before anything is changed."""

    old: frozenset[str]
    new: Mapping[str, OpenJob]
    unstored: dict[str, OpenJob]
    watched: Rearranged

    @classmethod
    def of_parts(
        cls,
        job_id: str,
        job: OpenJob,
        parts: Sequence[tuple[str, int, str]],
        unstored: dict[str, OpenJob],
        watchers: Watchers,
        order: Sequence[int],
    ) -> Remade:
        """Return that *parts* (id, events and epoch of each) take the place of a stored *job* (see ``Ledger.note_parted``)."""
        new, first = {}, job.first
        for part, events, epoch in parts:
            new[part] = OpenJob(first, events, job.since, epoch)
            first += events
        sizes = [(part, events) for part, events, _ in parts]
        return cls(frozenset([job_id]), new, unstored, watchers.rearrange([job_id], sizes, job.first, order))
