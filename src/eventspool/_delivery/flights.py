"""What one dispatcher has handed out, and has not heard of yet. Plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._delivery.parcel import Parcel

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from eventspool._claim import ClaimedJob

__all__ = ["Flight", "Flights"]


@dataclass(frozen=True, slots=True)
class Flight:
    """
    A job under our lease that was handed to a sender.

    Args:
        job: The job.
        number: Of its parcel.
        probe: The breaker waits for what becomes of it.
    """

    job: ClaimedJob
    number: int
    probe: bool


class Flights:
    """The jobs that are in flight, by id. One thread's own, but for ``in`` and ``len``, which any thread may ask."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        self._left: dict[int, int] = {}  # by the number of a parcel, how many of its jobs are in flight
        self._number = 0

    def __len__(self) -> int:
        return len(self._flights)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._flights

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._flights))

    def __getitem__(self, job_id: str) -> Flight:
        return self._flights[job_id]

    @property
    def parcels(self) -> int:
        """Parcels that are under way, at least in part."""
        return len(self._left)

    @property
    def has_probe(self) -> bool:
        """The breaker waits for one of them."""
        return any(flight.probe for flight in self._flights.values())

    def add(self, parcel: Parcel) -> None:
        """Note that *parcel* is handed to a sender."""
        self._number += 1
        self._left[self._number] = len(parcel.jobs)
        self._flights.update((job.id, Flight(job, self._number, parcel.probe)) for job in parcel.jobs)

    def land(self, *job_ids: str) -> None:
        """Note that jobs are in flight no more. Bears repeating."""
        for job_id in job_ids:
            flight = self._flights.get(job_id)
            if flight is None:
                continue
            left = self._left.get(flight.number, 0) - 1
            if left > 0:
                self._left[flight.number] = left
            else:
                self._left.pop(flight.number, None)
            del self._flights[job_id]

    def missing(self, known: Container[str]) -> list[Parcel]:
        """
        Return again, parcel by parcel, the jobs that are in flight and not *known* to be with a sender.

        A turn was cut off, perhaps amid this bookkeeping. A parcel that never lands would take the place of another one, so
        how many jobs of each are in flight is counted anew.
        """
        self._left = dict(Counter(flight.number for flight in self._flights.values()))
        lost: dict[int, list[Flight]] = {}
        for flight in self._flights.values():
            if flight.job.id not in known:
                lost.setdefault(flight.number, []).append(flight)
        return [Parcel(tuple(each.job for each in flights), flights[0].probe) for flights in lost.values()]
