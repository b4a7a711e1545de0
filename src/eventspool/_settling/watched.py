"""
What hangs on single events: a callback, a durable call that waits for the commit, the request that the event came from.

Such an event travels as a ``WatchedEvent`` through the buffer. When it becomes part of a job, what hangs on it is kept here
by the event's number or by the job's id, until the ledger settles the job. The ledger's lock guards all of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from operator import call, itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from eventspool._exceptions import DeliveryError

__all__ = ["Rearranged", "WatchedEvent", "Watchers", "mark", "origins_of"]

_Callback = tuple["Callable[..., object]", str]
_StoredCall = tuple[int, "Callable[[bool], object]"]


class WatchedEvent(bytes):
    """An encoded event that carries something along to the ledger. In every other respect it is its bytes."""

    callback: Callable[..., object] | None = None
    message_id: str = ""
    origin: object | None = None
    stored: Callable[[bool], object] | None = None


def mark(encoded: bytes, origin: object | None) -> bytes:
    """Return *encoded* as an event that knows its *origin* until it is part of a batch."""
    if origin is None:
        return encoded
    event = encoded if type(encoded) is WatchedEvent else WatchedEvent(encoded)
    event.origin = origin
    return event


def origins_of(events: Iterable[bytes]) -> list[object]:
    """Return what *events* were marked with, each origin once: a request's events share theirs."""
    marked = (event.origin for event in events if type(event) is WatchedEvent and event.origin is not None)
    return list({id(origin): origin for origin in marked}.values())


@dataclass(frozen=True, slots=True)
class Rearranged:
    """What hangs on some events that have other numbers now, and are in other jobs."""

    numbers: range
    callbacks: Mapping[int, _Callback]
    old: Sequence[str]
    stored_calls: Mapping[str, list[_StoredCall]]


class Watchers:
    """What hangs on the events of open jobs."""

    def __init__(self) -> None:
        self._callbacks: dict[int, _Callback] = {}  # by event number
        self._stored_calls: dict[
            str, list[_StoredCall]
        ] = {}  # by job: durable calls that wait, and their numbers
        self._is_used = False  # events that carry something are looked for only where there ever was one

    # -- on the caller's thread, without the lock ----------------------------------------------------------------------

    def watch(
        self,
        encoded: bytes,
        callback: Callable[..., object] | None,
        message_id: str,
        stored: Callable[[bool], object] | None = None,
    ) -> bytes:
        """
        Return *encoded* as an event whose end is told to ``callback(error, message_id)``.

        Once the event is in the queue ``stored(True)`` is called, perhaps again and again; ``stored(False)`` where it is lost.
        """
        self._is_used = True
        event = WatchedEvent(encoded)
        event.callback, event.message_id, event.stored = callback, message_id, stored
        return event

    # -- under the ledger's lock ---------------------------------------------------------------------------------------

    @property
    def has_callbacks(self) -> bool:
        """Whether a callback waits for the end of an event."""
        return bool(self._callbacks)

    def note_job(self, job_id: str, first: int, events: Sequence[bytes]) -> None:
        """Keep what hangs on *events*, the first of which has the number *first*. May be repeated."""
        if not self._is_used:
            return
        waiting: list[_StoredCall] = []
        for number, event in enumerate(events, first):
            if type(event) is WatchedEvent:
                if event.callback is not None:
                    self._callbacks[number] = (event.callback, event.message_id)
                if event.stored is not None:
                    waiting.append((number, event.stored))
        if waiting:
            self._stored_calls[job_id] = waiting

    def rearrange(
        self, old: Sequence[str], new: Sequence[tuple[str, int]], first: int, order: Sequence[int]
    ) -> Rearranged:
        """
        Return what hangs on the events of jobs as it will be when other jobs hold them. Changes nothing.

        Args:
            old: The jobs, whose numbers follow each other.
            new: Id and events of each job that takes their place.
            first: The first event's number.
            order: The places that the events have now, in the order that they will have.
        """
        numbers = range(first, first + len(order))
        now_at = {first + was: number for number, was in zip(numbers, order, strict=True)}
        callbacks = {now_at[n]: self._callbacks[n] for n in numbers if n in self._callbacks}
        waiting = sorted(
            ((now_at[n], reply) for job_id in old for n, reply in self._stored_calls.get(job_id, ())),
            key=itemgetter(0),
        )
        calls: dict[str, list[_StoredCall]] = {}
        for job_id, events in new:
            mine = [each for each in waiting if first <= each[0] < first + events]
            if mine:
                calls[job_id] = mine
            first += events
        return Rearranged(numbers, callbacks, old, calls)

    def take_over(self, changed: Rearranged) -> None:
        """Keep what hangs on some events as it is now. May be repeated."""
        self._callbacks.update(changed.callbacks)
        for number in changed.numbers if self._callbacks else ():
            if number not in changed.callbacks:
                self._callbacks.pop(number, None)
        self._stored_calls.update(changed.stored_calls)
        for job_id in changed.old:
            self._stored_calls.pop(job_id, None)

    def find_calls(
        self, numbers: range, errors: Mapping[int, DeliveryError]
    ) -> Iterator[Callable[[], object]] | None:
        """Return the callbacks of the events with these *numbers*, ready to be called; *errors* are by position."""
        calls: list[Callable[[], object]] = []
        if self._callbacks:
            for position, number in enumerate(numbers):
                if (entry := self._callbacks.get(number)) is not None:
                    # By way of operator.call, since a host may have passed something that cannot be called.
                    calls.append(partial(call, entry[0], errors.get(position), entry[1]))
        return iter(calls) if calls else None

    def has_callback(self, numbers: range) -> bool:
        """Say whether a callback waits for one of the events with these *numbers*."""
        return bool(self._callbacks) and any(map(self._callbacks.__contains__, numbers))

    def say_stored(self, job_id: str, stored: bool) -> None:  # noqa: FBT001
        """Tell the durable calls that wait for a job. May be repeated."""
        for _, reply in self._stored_calls.get(job_id, ()):
            reply(stored)
        self._stored_calls.pop(job_id, None)

    def end_stored_calls(self) -> None:
        """Tell every durable call that waits that its event will not be stored any more."""
        for job_id in list(self._stored_calls):
            self.say_stored(job_id, False)

    def forget(self, numbers: range) -> None:
        """Forget the callbacks of the events with these *numbers*. May be repeated."""
        for number in numbers:
            self._callbacks.pop(number, None)
