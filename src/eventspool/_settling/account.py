"""How many events are settled, and how: one value, so that no exception leaves a part of a change behind."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eventspool._exceptions import DeliveryError

__all__ = ["Account", "LedgerCounts"]


class LedgerCounts(NamedTuple):
    """Events delivered, given up, lost, stored and not settled; of the stored ones those in the spill file."""

    delivered: int
    failed: int
    lost: int
    stored: int
    spilled: int
    failed_reasons: Mapping[str, int]
    lost_reasons: Mapping[str, int]
    unfollowed: int = 0


class Account(NamedTuple):
    """Events that are settled."""

    delivered: int = 0
    failed: int = 0
    lost: int = 0
    failed_reasons: Mapping[str, int] = MappingProxyType({})
    lost_reasons: Mapping[str, int] = MappingProxyType({})
    unfollowed: int = 0

    @property
    def events(self) -> int:
        return self.delivered + self.failed + self.lost + self.unfollowed

    def add(self, events: int, ends: Mapping[int, DeliveryError], lost_as: str) -> Account:
        """Return this with a job of *events* events more, some of which met an error."""
        failed, lost = Counter(self.failed_reasons), Counter(self.lost_reasons)
        lost_now = 0
        for error in ends.values():
            if error.reason in ("lost", "purged"):
                lost[lost_as if error.reason == "lost" else "purged"] += 1
                lost_now += 1
            else:
                failed[error.reason] += 1
        return self._replace(
            delivered=self.delivered + events - len(ends),
            failed=self.failed + len(ends) - lost_now,
            lost=self.lost + lost_now,
            failed_reasons=failed if ends else self.failed_reasons,
            lost_reasons=lost if ends else self.lost_reasons,
        )
