"""How claimed jobs go to the senders, and come back where no sender has begun them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._delivery.chains import chain_up
from eventspool._delivery.flights import Flights
from eventspool._job import Settlement, SettlementKind

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from eventspool._claim import ClaimedJob
    from eventspool._delivery.agenda import Agenda
    from eventspool._delivery.assessor import Assessor
    from eventspool._delivery.breaker import Breaker
    from eventspool._delivery.endings import Endings
    from eventspool._delivery.exchange import Exchange
    from eventspool._delivery.pace import Pace
    from eventspool._delivery.parcel import Packer

__all__ = ["Handout"]


class Handout:
    """
    Hands the jobs of one dispatcher to its senders, in parcels.

    Args:
        exchange: The way to the senders.
        packer: Says which jobs share a request.
        pace: How many parcels are wanted.
        assessor: Gives up jobs that have stalled too often.
        breaker: Waits for the probe that is sent, and for no other.
        endings: What the queue is told of the jobs that are not sent.
        agenda: When that is.
        keeps_lanes: The queue keeps the order per user.
    """

    def __init__(
        self,
        exchange: Exchange,
        packer: Packer,
        pace: Pace,
        assessor: Assessor,
        breaker: Breaker,
        endings: Endings,
        agenda: Agenda,
        *,
        keeps_lanes: bool,
    ) -> None:
        self.in_flight = Flights()
        """What was handed out, and is not heard of yet."""
        self._exchange = exchange
        self._packer = packer
        self._pace = pace
        self._assessor = assessor
        self._breaker = breaker
        self._endings = endings
        self._agenda = agenda
        self._keeps_lanes = keeps_lanes

    def send(self, jobs: Sequence[ClaimedJob], room: int, *, probe: bool) -> None:
        """Hand *jobs* to the senders, in *room* parcels or about that. Those that are too many are given back."""
        # The lease of a job in flight may have run out under us, and we have just got it back.
        new = [job for job in jobs if job.id not in self.in_flight]
        for job in new:
            if (stalled := self._assessor.give_up_stalled(job)) is not None:
                self._endings.add(stalled)
        to_send = {job.id: job for job in new if job.id not in self._endings.settlements}
        chains, behind = (
            chain_up(jobs, to_send) if self._keeps_lanes else ([[j] for j in to_send.values()], [])
        )
        parcels, left = self._packer.pack_chains(chains, probe=probe)
        if probe and not parcels:
            self._breaker.cancel_probe()
        sent = room + self._pace.spare
        for parcel in parcels[:sent]:
            self.in_flight.add(parcel)
            self._exchange.parcels.put(parcel)
        left += (job for parcel in parcels[sent:] for job in parcel.jobs)
        if left or behind:
            self._release((*left, *behind))
        if len(parcels) > 2 * sent:  # many are to travel alone
            self._packer.note_surplus()

    def take_back(self) -> None:
        """Give back jobs that no sender has begun."""
        for parcel in self._exchange.take_back():
            self._release(parcel.jobs)
            self.in_flight.land(*(job.id for job in parcel.jobs))
            if parcel.probe:
                self._breaker.cancel_probe()

    def recover(self, known: Container[str]) -> None:
        """Hand out again what is in flight, and is none of those jobs that are *known* to be with a sender."""
        for parcel in self.in_flight.missing(known):
            self._exchange.parcels.put(parcel)
        if not self.in_flight.has_probe:
            # The breaker would wait for ever for a probe that was begun and not sent.
            self._breaker.cancel_probe()

    def _release(self, jobs: Iterable[ClaimedJob]) -> None:
        for job in jobs:
            self._endings.add(Settlement(job.id, SettlementKind.RELEASE, 0.0, job.progress))
        self._agenda.record = 0.0  # another processor may have the time for them
