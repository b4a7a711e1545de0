"""
The demo's input: what 23,570 customers bought at CDNOW from January 1997 to June 1998.

The data set is Fader and Hardie's. The whole file lies in the repository's ``data`` folder, and the published 1-in-10 sample
in this package. Every line becomes one ``Order Completed`` event, which has the same id in every demo.
"""

from __future__ import annotations

import lzma
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Order", "Source", "find_source"]

_SAMPLE = Path(__file__).parent / "data" / "CDNOW_sample.txt.xz"
_WHOLE = Path(__file__).parents[3] / "data" / "CDNOW_master.txt.xz"


class Order(NamedTuple):
    """One purchase, as the arguments of ``Client.track``."""

    message_id: str
    user_id: str
    properties: dict[str, Any]
    timestamp: datetime


@dataclass(frozen=True, slots=True)
class Source:
    """
    A file of purchases.

    Args:
        path: The file, xz-compressed text.
        title: Its name, as the demo shows it.
        sample: It is the sample, whose lines hold a second customer number, the sample's own.
    """

    path: Path
    title: str
    sample: bool

    def order_ids(self) -> list[str]:
        """Return the message id of every purchase, in the order of the file."""
        return [self._order_id(number) for number, _ in enumerate(self._lines(), start=1)]

    def orders(self, offset: int = 0) -> Iterator[Order]:
        """Yield the purchases behind the first *offset*."""
        days: dict[str, datetime] = {}
        for number, line in enumerate(self._lines(), start=1):
            if number <= offset:
                continue
            fields = line.split()
            if self.sample:
                del fields[1]
            customer, day, quantity, dollars = fields
            moment = days.get(day)
            if moment is None:
                moment = days[day] = datetime(int(day[:4]), int(day[4:6]), int(day[6:]), tzinfo=UTC)
            order_id, total = self._order_id(number), Decimal(dollars)
            yield Order(
                order_id,
                customer,
                {
                    "order_id": order_id,
                    "quantity": int(quantity),
                    "revenue": total,
                    "total": total,
                    "currency": "USD",
                },
                moment,
            )

    def _order_id(self, number: int) -> str:
        return f"cdnow-{'sample-' if self.sample else ''}{number:05d}"

    def _lines(self) -> list[str]:
        lines = lzma.decompress(self.path.read_bytes()).decode("ascii").splitlines()
        return [line for line in lines if line and "customer_id" not in line]


def find_source(*, sample: bool = False) -> Source:
    """Return the whole file in a checkout of the repository; elsewhere, or with *sample*, the packaged sample."""
    if not sample and _WHOLE.is_file():
        return Source(_WHOLE, "CDNOW, all purchases", sample=False)
    return Source(_SAMPLE, "CDNOW, the 1-in-10 sample", sample=True)
