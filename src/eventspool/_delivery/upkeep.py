"""What a dispatcher does from time to time: it keeps its leases alive, tells of itself, and looks after the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._backends import Backend
    from eventspool._delivery.agenda import Agenda
    from eventspool._delivery.assessor import Assessor
    from eventspool._delivery.diary import Diary
    from eventspool._delivery.leases import Leases
    from eventspool._heartbeat import Heartbeat

__all__ = ["Upkeep"]

_REPAIR_INTERVAL: Final = 60.0
"""Seconds between two looks for stored jobs that stand in no index."""


class Upkeep:
    """
    Keeps up the leases of one dispatcher, and the queue.

    Args:
        backend: The queue.
        leases: What is to be kept alive.
        assessor: Hears that the queue works.
        heartbeat: What the dispatcher tells of itself.
        agenda: When the next of this is due.
        diary: Where it is noted how the queue stands.
    """

    def __init__(
        self,
        backend: Backend,
        leases: Leases,
        assessor: Assessor,
        heartbeat: Heartbeat,
        agenda: Agenda,
        diary: Diary,
    ) -> None:
        self._is_shared = backend.shared
        self._leases = leases
        self._assessor = assessor
        self._heartbeat = heartbeat
        self._agenda = agenda
        self._diary = diary

    def turn(self, now: float, held: Sequence[str], *, sent: int, paused: bool) -> None:
        """Renew the leases of *held*, with a note for those who watch; repair the queue where that is due."""
        note = ""
        if self._is_shared:
            retried = self._assessor.retried
            note = self._heartbeat.note(in_flight=len(held), sent=sent, retried=retried, paused=paused)
        self._leases.renew(held, note)
        self._assessor.note_queue_works()
        self._agenda.renew = now + self._leases.interval
        if now >= self._agenda.repair:
            self._agenda.repair = now + _REPAIR_INTERVAL
            self._leases.repair()
        self._diary.turn(now)
