"""
Notes once a minute how the queue stands (``_history``). Of all its processors, the one that comes first does.

Whoever has noted a minute comes back a minute later; the others come a little later, see that there is a note, and go. So of a
hundred processors only one reads the queue's figures, until it is gone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from eventspool._backends.journals import keeps_journals
from eventspool._exceptions import EventSpoolError
from eventspool._heartbeat import read_note
from eventspool._history import EVERY_SECONDS, JOURNAL, KEPT, lag_between, note_of, write_minute

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._backends import Backend
    from eventspool._distribution import Distribution

__all__ = ["Diary"]

_FIRST_SECONDS = 5.0
"""After its start a processor is left in peace for so long: many processes are short, and so are tests."""
_BEHIND_SECONDS = 10.0
"""The others come up to so much later than the one that has noted the last minute."""
_APART_SECONDS = EVERY_SECONDS - 5.0


class Diary:
    """
    Args:
        backend: The queue.
        jitter: Draws from [0, 1).
        clock: Seconds since the epoch.
    """

    def __init__(
        self, backend: Backend, jitter: Callable[[], float], clock: Callable[[], float] = time.time
    ) -> None:
        self._backend = backend
        self._jitter = jitter
        self._clock = clock
        self._is_kept = backend.shared and keeps_journals(backend)
        self._due: float | None = None
        self._lag: dict[str, Distribution] = {}
        self._looked_at = clock() - 1.0  # before the processor that this one belongs to has started

    def turn(self, now: float) -> None:
        """Note how the queue stands, if that is due at the monotonic moment *now*. Never raises: deliveries go on."""
        if self._due is None:
            self._due = now + _FIRST_SECONDS + _BEHIND_SECONDS * self._jitter()
        if not self._is_kept or now < self._due:
            return
        try:
            is_mine = self._note()
        except (
            EventSpoolError
        ):  # the queue is away, or its user may not do this: whatever it is, jobs show it, too
            is_mine = False
        self._due = now + EVERY_SECONDS + (0.0 if is_mine else _BEHIND_SECONDS * self._jitter())

    def _note(self) -> bool:
        now = self._clock()
        newest = self._backend.journal(JOURNAL, limit=1)
        if newest and 0 <= now - newest[0].at < _APART_SECONDS:
            return False
        processors = [read_note(*sighting) for sighting in self._backend.processors()]
        lag = lag_between(self._lag, processors, self._looked_at)
        self._lag = {each.token: each.lag_seconds for each in processors if each.lag_seconds is not None}
        self._looked_at = now
        note = write_minute(note_of(self._backend.stats(), lag))
        return self._backend.append(JOURNAL, note, most=KEPT, apart=_APART_SECONDS)
