"""
How a queue is divided into partitions, as its first partition has it written down. Pure.

A **division** is a number of partitions that take new jobs, and its generation counts the divisions. Division 0 is the queue
as it was before it was ever divided: one partition, with the keys of a queue without partitions. It is called the *root*, and
the ring is written down there. When a queue is divided anew, three steps lead from one division to the next, and each may
be repeated by any process that finds it half done:

1. The new division is *announced*: written into the ring with a mark.
2. The partitions of the older divisions are *sealed*: they hand out what they hold, and take nothing new.
3. The division is *published*: its mark goes. Where order is kept, only now a job is made for it, because only now no
   producer can put another one behind an older division's jobs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from eventspool._routing import Routing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ROOT", "SLOTS", "Division", "Part", "Ring", "choose_tag", "count_partitions", "read_ring"]

SLOTS: Final = 16_384
"""Hash slots of a Redis Cluster."""
_TOTALS: Final = 5
_TEXT: Final = re.compile(r"(\d+\.\d+(?:,\d+\.\d+)*)(\?)?(?:;(\d+(?:\.\d+){4}))?")
_PART: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """
    Names one partition.

    Args:
        generation: Of its division.
        of: How many partitions that division has.
        number: Which of them it is, counted from 0.
    """

    generation: int
    of: int
    number: int

    def __str__(self) -> str:
        return f"{self.generation}.{self.of}.{self.number}"

    @classmethod
    def read(cls, text: str) -> Part | None:
        """Return the partition that *text* names, ``None`` where it names none."""
        found = _PART.fullmatch(text)
        return cls(*map(int, found.groups())) if found else None


ROOT: Final = Part(0, 1, 0)


@dataclass(frozen=True, slots=True, order=True)
class Division:
    """A *generation* with so many *partitions*."""

    generation: int
    partitions: int

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its partitions, in order."""
        return tuple(Part(self.generation, self.partitions, number) for number in range(self.partitions))


@dataclass(frozen=True, slots=True)
class Ring:
    """
    The divisions of a queue that may hold jobs, the oldest first.

    Args:
        divisions: At least one.
        is_announced: The last one is announced, and not published yet.
        totals: Events accepted, delivered, failed, purged and moved by partitions that are gone.
    """

    divisions: tuple[Division, ...] = (Division(0, 1),)
    is_announced: bool = False
    totals: tuple[int, ...] = (0,) * _TOTALS

    def __str__(self) -> str:
        text = ",".join(f"{each.generation}.{each.partitions}" for each in self.divisions)
        text += "?" if self.is_announced else ""
        return f"{text};{'.'.join(map(str, self.totals))}" if any(self.totals) else text

    @property
    def newest(self) -> Division:
        """The last one, published or not: where the queue keeps no order, it takes the new jobs."""
        return self.divisions[-1]

    @property
    def present(self) -> Division:
        """The last one that is published: jobs whose order matters are made for it."""
        return self.divisions[-2] if self.is_announced else self.divisions[-1]

    @property
    def old(self) -> tuple[Division, ...]:
        """Those that take no new jobs, or will take none."""
        return self.divisions[:-1]

    @property
    def routing(self) -> Routing:
        """How jobs are to be made for it, where the queue keeps the order per user."""
        return Routing(self.present.generation, self.present.partitions)

    @property
    def is_divided(self) -> bool:
        """The queue is more than its root."""
        return self.divisions != (Division(0, 1),)

    def announce(self, partitions: int) -> Ring:
        """Return the ring with a further division of so many *partitions*, announced."""
        return replace(
            self,
            divisions=(*self.divisions, Division(self.newest.generation + 1, partitions)),
            is_announced=True,
        )

    def publish(self) -> Ring:
        """Return the ring with its last division published."""
        return replace(self, is_announced=False)

    def forget(self, division: Division, totals: Sequence[int]) -> Ring:
        """Return the ring without an old *division*, of whose partitions *totals* are the sums."""
        return replace(
            self,
            divisions=tuple(each for each in self.divisions if each != division),
            totals=tuple(a + b for a, b in zip(self.totals, totals, strict=True)),
        )

    def merge(self, other: Ring) -> Ring:
        """
        Return a ring with the divisions of both.

        A server that was emptied knows less than a process that knew the queue before. Partitions of both may hold jobs.
        """
        found = tuple(sorted({*self.divisions, *other.divisions}))
        newest = max(self, other, key=lambda each: each.newest)
        # Two divisions of one generation are both old then: which of them took the new jobs cannot be told.
        rivals = len({each.generation for each in found}) < len(found)
        merged = Ring(found, newest.is_announced, max(self.totals, other.totals))
        return merged.publish().announce(found[-1].partitions) if rivals else merged


def read_ring(text: str) -> Ring:
    """Return the ring that *text* describes; that of an undivided queue where it is "" or damaged."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return Ring()
    pairs = (each.split(".") for each in found[1].split(","))
    divisions = tuple(Division(int(generation), int(partitions)) for generation, partitions in pairs)
    totals = tuple(map(int, found[3].split("."))) if found[3] else (0,) * _TOTALS
    return Ring(divisions, bool(found[2]) and len(divisions) > 1, totals)


def count_partitions(text: str, wanted: int, *, is_used: bool) -> int:
    """
    Return over how many partitions new jobs of a queue are spread.

    Args:
        text: Its ring, as it is written down, or "".
        wanted: How many it gets where it was never used.
        is_used: It was.
    """
    ring = read_ring(text)
    return ring.newest.partitions if ring.is_divided or is_used else wanted


def choose_tag(queue_name: str, part: Part, slot_of: Callable[[str], int]) -> str:
    """
    Return the hash tag of a partition's keys.

    In a cluster each node has a range of the slots. So partition i of N gets a tag whose slot lies in the i-th of N ranges: a
    suffix is tried after another until that is so, which all processes do alike.
    """
    if part == ROOT:
        return f"{queue_name}:0"
    attempt = 0
    while True:
        tag = f"{queue_name}:{part}" + (f".{attempt}" if attempt else "")
        if slot_of(tag) * part.of // SLOTS == part.number:
            return tag
        attempt += 1
