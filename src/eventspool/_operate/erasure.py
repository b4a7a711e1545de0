"""
Take one user's events out of stored batches, and say which batches had to be left. An erasure is complete when none were.

A batch that is being sent, or was sent in part, must stay as it is: its processor knows its events by their positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._envelope import Cut, EnvelopeError, open_envelope, seal
from eventspool._job import MOVED, PURGED, JobState, Rewrite
from eventspool._operate.reading import read_payloads
from eventspool._operate.selection import PURGEABLE, Selection
from eventspool._operate.user import User

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from eventspool._backends import Backend

__all__ = ["Erasure", "erase_from"]


@dataclass(frozen=True, slots=True)
class Erasure:
    """
    What became of an erasure.

    Args:
        events: Events that were erased.
        rewritten: Jobs that hold the events of others, and were stored anew without theirs.
        removed: Jobs that held nothing else, and are gone.
        leased: Ids of jobs with events of the user that are being sent. Ask again when they have been sent.
        sent_in_part: Ids of jobs with events of the user of which a part was sent. Ask again when the rest has been sent.
        unreadable: Ids of jobs that cannot be read: it is not known whose events they hold. Give the key, or purge them.
        looked_at: Jobs that were looked at.
        edits: Edits of events of the user that the queue's trail held, and out of which these were taken.
        unreadable_edits: Entries of the trail that cannot be read: it is not known whose events they hold. Give the key.
    """

    events: int = 0
    rewritten: int = 0
    removed: int = 0
    leased: tuple[str, ...] = ()
    sent_in_part: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    looked_at: int = 0
    edits: int = 0
    unreadable_edits: int = 0

    @property
    def is_complete(self) -> bool:
        """No job that holds events of the user, or may hold some, was left."""
        return not (self.leased or self.sent_in_part or self.unreadable or self.unreadable_edits)


def erase_from(
    backend: Backend,
    pages: Iterable[Sequence[str]],
    user_id: str,
    *,
    dry_run: bool = False,
    on_job: Callable[[int], object] = lambda jobs: None,  # noqa: ARG005
    on_erased: Callable[[int, int], object] = lambda jobs, events: None,  # noqa: ARG005
) -> Erasure:
    """
    Erase a user's events from jobs.

    Args:
        backend: The queue that holds them.
        pages: Their ids. One that comes twice is looked at twice.
        user_id: Only events whose ``userId``, ``anonymousId`` or ``previousId`` this is.
        dry_run: Only count. A batch that was sent in part is then counted as one that can be changed, because only the attempt
            to change it would tell.
        on_job: Called again and again with the number of jobs that were looked at.
        on_erased: Called with the number of jobs that were changed, and of events that were erased, as soon as they are: an
            error may end the erasure half done.
    """
    erasing = _Counting(backend, User(user_id)) if dry_run else _Erasing(backend, User(user_id), on_erased)
    for page in pages:
        for payloads in read_payloads(backend, page):
            erasing.look_at(payloads)
            on_job(len(payloads))
    return erasing.done()


@dataclass(slots=True)
class _Found:
    """A job with events of the user. The others of its events, at the places *kept*, are kept."""

    job_id: str
    payload: bytes
    events: list[bytes]
    kept: list[int]

    @property
    def theirs(self) -> int:
        return len(self.events) - len(self.kept)


class _Erasing:
    def __init__(
        self,
        backend: Backend,
        user: User,
        on_erased: Callable[[int, int], object] = lambda jobs, events: None,  # noqa: ARG005
    ) -> None:
        self._backend = backend
        self._user = user
        self._on_erased = on_erased
        self._events = self._rewritten = self._removed = self._looked_at = 0
        self._leased: list[str] = []
        self._refused: list[str] = []
        self._unreadable: list[str] = []

    def look_at(self, payloads: Mapping[str, bytes | None]) -> None:
        """Erase what the user has in these jobs. No more of them is kept in memory than what must be named."""
        found = [
            each for job_id, payload in payloads.items() if payload and (each := self._look(job_id, payload))
        ]
        if found:
            self._take_out(found)

    def _look(self, job_id: str, payload: bytes) -> _Found | None:
        self._looked_at += 1
        try:
            events = open_envelope(payload).split()
        except EnvelopeError:
            self._unreadable.append(job_id)
            return None
        is_theirs = [self._user.is_in(event) for event in events]
        if None in is_theirs:
            self._unreadable.append(job_id)
            return None
        if not any(is_theirs):
            return None
        return _Found(
            job_id, payload, events, [place for place, theirs in enumerate(is_theirs) if not theirs]
        )

    def _take_out(self, found: Sequence[_Found]) -> None:
        mixed = [each for each in found if each.kept]
        rewritten = self._backend.rewrite([_rewrite(each) for each in mixed]) if mixed else []
        done = {each.job_id for each, is_done in zip(mixed, rewritten, strict=True) if is_done}
        self._count([each for each in mixed if each.job_id in done])
        whole = [each for each in found if not each.kept]
        removed = self._remove([each.job_id for each in whole])
        self._count([each for each in whole if each.job_id in removed])
        self._refused += [each.job_id for each in found if each.job_id not in done | removed]

    def _count(self, done: Iterable[_Found]) -> None:
        for each in done:
            self._events += each.theirs
            self._rewritten += bool(each.kept)
            self._removed += not each.kept
            self._on_erased(1, each.theirs)

    def _remove(self, ids: list[str]) -> set[str]:
        """Delete the jobs *ids*, in whichever state they are. Return those that were deleted."""
        left = len(ids)
        for state in PURGEABLE:
            left -= self._backend.purge(state, ids) if left else 0
        if not left:
            return set(ids)
        found = self._backend.lookup(ids)
        return {job_id for job_id in ids if found.get(job_id) == PURGED}

    def done(self) -> Erasure:
        """Return what became of it. The jobs that could not be changed, and are still stored, are told apart."""
        if self._refused:
            fates = self._backend.lookup(self._refused)
            gone = (PURGED.reason, MOVED.reason)  # and what is not in the answer was delivered meanwhile
            refused = [i for i in self._refused if i in fates and getattr(fates[i], "reason", "") not in gone]
            held = _leased_among(self._backend, refused)
            self._leased += [job_id for job_id in refused if job_id in held]
            self._refused = [job_id for job_id in refused if job_id not in held]
        left = (tuple(dict.fromkeys(ids)) for ids in (self._leased, self._refused, self._unreadable))
        counts = self._events, self._rewritten, self._removed
        return Erasure(*counts, *left, looked_at=self._looked_at)  # type: ignore[arg-type, misc]


class _Counting(_Erasing):
    """Changes nothing. A job that comes twice is counted once."""

    def __init__(self, backend: Backend, user: User) -> None:
        super().__init__(backend, user)
        self._counted: set[str] = set()

    def _take_out(self, found: Sequence[_Found]) -> None:
        held = _leased_among(self._backend, [each.job_id for each in found])
        self._leased += [each.job_id for each in found if each.job_id in held]
        self._count(each for each in found if each.job_id not in held | self._counted)
        self._counted.update(each.job_id for each in found)


def _leased_among(backend: Backend, ids: Sequence[str]) -> set[str]:
    if not ids:
        return set()
    leased = Selection((JobState.LEASED,), ids).pages(backend)
    return {job.id for page in leased for job in page}


def _rewrite(found: _Found) -> Rewrite:
    """
    Return the batch anew with only the events that are kept, and with a record that the others were purged.

    It has no trace any more: a span in which the user's events were tracked may name the user.
    """
    envelope = open_envelope(found.payload)
    cut = (envelope.cut or Cut(b"h" * len(found.events))).keep(found.kept, Cut.PURGED)
    left = [found.events[place] for place in found.kept]
    rest = seal(left, cut=cut)
    if len(rest) == len(found.payload):
        # A producer may still have the old payload in memory, and notices by the size alone that it was replaced.
        rest = seal(left, compress=False, cut=cut)
    return Rewrite(found.job_id, found.payload, rest, len(left), cut.purged)


Erasure.__module__ = "eventspool"  # what help, tracebacks and pickle say: this module may change
