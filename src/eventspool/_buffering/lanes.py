"""
How events become batches where the queue keeps the order per user: sorted by partition and lane, and cut into batches of few
lanes. Pure.

A batch belongs to one partition, since a partition is what one server keeps. It touches few lanes where there are events
enough, since two batches that share a lane are not sent at the same time. But a batch costs storage and a server's time
whatever it holds, so a run is not cut into tiny ones.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

from eventspool._buffering.batch import count_fitting
from eventspool._events.owner import owner_of
from eventspool._routing import LANES, Route

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eventspool._routing import Routing

__all__ = ["Cut", "cut_by_lanes", "find_places", "sort_places"]


class Cut(NamedTuple):
    """A batch that is to be made of the next *events* events: where it belongs, and its *lanes*, one bit for each."""

    events: int
    route: Route
    lanes: int


def find_places(events: Sequence[bytes], routing: Routing) -> list[int]:
    """Return the place of each event's user: its partition times ``LANES``, and its lane."""
    known: dict[bytes, int] = {}
    places = []
    for event in events:
        owner = owner_of(event)
        place = known.get(owner)
        if place is None:
            partition, lane = routing.place(owner)
            place = known[owner] = partition * LANES + lane
        places.append(place)
    return places


def sort_places(places: Sequence[int], cuts: Sequence[int] = ()) -> list[int]:
    """
    Return in which order events go that have these *places*: by place, and those of one place as they came.

    Args:
        places: Of each event.
        cuts: Positions that no event crosses: a flush waits for what came before.
    """
    order: list[int] = []
    for start, end in zip((0, *cuts), (*cuts, len(places)), strict=True):
        order += sorted(range(start, end), key=places.__getitem__)
    return order


def cut_by_lanes(
    events: Sequence[bytes], places: Sequence[int], routing: Routing, *, few: int, max_batch_bytes: int
) -> Iterator[Cut]:
    """
    Yield the batches to make of *events*, in order.

    Args:
        events: Sorted by their places.
        places: Of each event, sorted.
        routing: What the places were found by.
        few: Events that are worth a batch. Fewer share one with other lanes of their partition.
        max_batch_bytes: Largest request body that a batch may make.
    """
    start = 0
    while start < len(places):
        partition = places[start] // LANES
        end = bisect_left(places, (partition + 1) * LANES, start)
        route = Route(routing.generation, partition)
        for upto in _group_lanes(places, start, end, few):
            guess = upto - start
            while start < upto:
                count = count_fitting(events[start:upto], max_batch_bytes, guess)
                guess = count - count // 32
                lanes = 0
                for place in set(places[start : start + count]):
                    lanes |= 1 << (place % LANES)
                yield Cut(count, route, lanes)
                start += count


def _group_lanes(places: Sequence[int], start: int, end: int, few: int) -> Iterator[int]:
    """Yield where each group of whole lanes ends, of a partition's events from *start* to *end*."""
    upto = start
    while upto < end:
        upto = bisect_right(places, places[upto], upto, end)
        if upto - start >= few and end - upto >= few:
            yield upto
            start = upto
    yield end
