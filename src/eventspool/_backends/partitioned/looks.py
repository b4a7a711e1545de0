"""
Into which partitions a processor looks for jobs, and when. Pure: the time comes in as an argument.

No processor owns a partition. Each has some as its *homes*, into which it looks within a second. Into the others it looks less
often, so that a partition whose processor has died is not left alone, and a fleet that idles costs its servers little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Sequence

__all__ = ["Looks", "find_homes"]

HOME_POLL: Final = 1.0
"""Seconds within which a processor looks into each of its homes again."""
POLL: Final = 5.0
"""Seconds within which a processor looks into the other partitions again."""
_SHARE: Final = 8
"""Processors that look into a partition, which is no home of theirs, within ``POLL``."""

_P = TypeVar("_P", bound="Hashable")


def find_homes(parts: Sequence[_P], before: int, live: int) -> tuple[_P, ...]:
    """
    Return the homes of a processor.

    Partition i is a home of the i-th live processor in the order of their tokens, counted round. Where there are more
    processors than partitions, each has one home, and each partition is the home of several.

    Args:
        parts: The partitions.
        before: How many live processors' tokens sort before its own.
        live: How many live processors there are.
    """
    if not parts:
        return ()
    live = max(live, 1)
    before = min(before, live - 1)
    if live >= len(parts):
        return (parts[before % len(parts)],)
    return tuple(part for number, part in enumerate(parts) if number % live == before)


@dataclass(slots=True)
class _Look:
    due: float = 0.0
    had_jobs: bool = False


class Looks(Generic[_P]):
    """
    When one process looks into which partition next. Only one thread at a time may use it.

    Args:
        offset: Where in the list of partitions it begins, so that not all processes begin at the first one.
    """

    def __init__(self, offset: int) -> None:
        self._looks: dict[_P, _Look] = {}
        self._parts: tuple[_P, ...] = ()
        self._homes: tuple[_P, ...] = ()
        self._turn = offset
        self._live = 1

    @property
    def homes(self) -> tuple[_P, ...]:
        """The homes; the processor is woken by jobs in the first of them."""
        return self._homes

    def arrange(self, parts: Sequence[_P], homes: Sequence[_P], live: int) -> None:
        """Note which partitions there are, which of them are homes, and how many processors live."""
        self._parts, self._homes, self._live = tuple(parts), tuple(homes), max(live, 1)
        self._looks = {part: self._looks.get(part) or _Look() for part in self._parts}

    def hasten(self, part: _P) -> None:
        """Note that there may be a job in *part*."""
        if (look := self._looks.get(part)) is not None:
            look.due, look.had_jobs = 0.0, True

    def due(self, now: float) -> list[_P]:
        """
        Return the partitions that are due, in the order in which a claim looks into them until it has enough.

        First come those in which there were jobs last, and the homes before the others.
        """
        found = [part for part in self._rotated() if self._looks[part].due <= now]
        return sorted(found, key=lambda part: (not self._looks[part].had_jobs, part not in self._homes))

    def rest(self, looked: Collection[_P]) -> list[_P]:
        """
        Return into which further partitions a claim looks that has found nothing in those it *looked* into.

        They are this processor's share of all looks: together the processors look into each partition several times within
        ``POLL``.
        """
        left = [part for part in self._rotated() if part not in looked]
        left.sort(key=lambda part: (part not in self._homes, self._looks[part].due))
        return left[: math.ceil(_SHARE * len(self._parts) / self._live)]

    def note(self, part: _P, now: float, *, found: bool, more: bool, wait: float | None) -> None:
        """
        Note what a look into *part* has brought.

        Args:
            part: The partition.
            now: When that was.
            found: There were jobs.
            more: There may be more of them.
            wait: Seconds until a job of it comes due; ``None`` where time alone brings none, or that is not known.
        """
        look = self._looks.get(part)
        if look is None:
            return
        if found:
            self._turn = self._parts.index(part)  # the next claim begins where the last one had work
        look.had_jobs = found
        look.due = now if more else now + min(self._poll(part), math.inf if wait is None else wait)

    def note_away(self, part: _P, until: float) -> None:
        """Note that *part* could not be reached, and is to be left alone *until* then."""
        if (look := self._looks.get(part)) is not None:
            look.due, look.had_jobs = until, False

    def next_due(self, now: float) -> float:
        """Return the seconds until the next partition is due; infinity where there is none."""
        return min((max(look.due - now, 0.0) for look in self._looks.values()), default=math.inf)

    def _poll(self, part: _P) -> float:
        if part not in self._homes:
            return POLL * max(1.0, self._live / _SHARE)
        return POLL if part == self._homes[0] else HOME_POLL

    def _rotated(self) -> list[_P]:
        at = self._turn % len(self._parts) if self._parts else 0
        return [*self._parts[at:], *self._parts[:at]]
