"""
The queue as operators see it: they look into it, pause it, retry, purge and export.

The command line, the dashboard and programs of our users call the same methods, so nothing here knows of terminals or of HTTP.
The class is longer than others since most of it is signatures and docstrings, for the people who call it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, Self, Unpack

from eventspool._backends import create_backend, import_driver
from eventspool._backends.apart import set_apart
from eventspool._backends.journals import keeps_journals
from eventspool._config import QueueOpts, fill_queue, naming_unknown, read_queue, require_number
from eventspool._envelope import EnvelopeError, open_envelope
from eventspool._events.decoding import decode_event
from eventspool._exceptions import ConfigError, QueueError
from eventspool._heartbeat import read_note
from eventspool._job import JobState
from eventspool._operate.edit import edit_event
from eventspool._operate.erasure import erase_from
from eventspool._operate.fates import find_fates
from eventspool._operate.new_file import new_file
from eventspool._operate.search import act_on, search, total_of
from eventspool._operate.selection import PURGEABLE, STATES, Selection, state_of
from eventspool._operate.trail import Action, Counted, Pause, Trail, describe, read_pause, write_pause
from eventspool._operate.user import User
from eventspool._operate.writing import write_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    from eventspool._backends import Backend
    from eventspool._backends.condition import Condition
    from eventspool._backends.journals import JournalEntry
    from eventspool._figures import Depth, Partition, QueueStats
    from eventspool._fleet import ProcessorInfo
    from eventspool._job import Job
    from eventspool._operate.erasure import Erasure
    from eventspool._operate.fates import Fates
    from eventspool._operate.look import Look
    from eventspool._operate.selection import Conditions
    from eventspool._operate.terms import Terms

__all__ = ["Queue", "open_queue", "open_queue_of"]


class Queue:
    """
    One queue's jobs. Every method raises ``QueueUnavailable`` while the queue cannot be reached.

    Args:
        backend: Where the jobs are.
        owns_backend: Close it together with this view of it.
        opts: The queue's options, where they are known.
        actor: Who acts, as the trail names them; ``None`` for the user of this process.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        owns_backend: bool = True,
        opts: QueueOpts | None = None,
        actor: str | None = None,
    ) -> None:
        self._backend = set_apart(backend)
        self._owns_backend = owns_backend
        self._opts = opts
        self._trail = Trail(self._backend, actor)

    @property
    def name(self) -> str:
        """The queue's name; "" where that is not known."""
        return "" if self._opts is None else self._opts.queue_name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless they belong to a client."""
        if self._owns_backend:
            self._backend.close()

    def acting_as(self, actor: str) -> Queue:
        """Return this queue for another *actor*: what is done with it stands in the trail under that name."""
        return Queue(self._backend, owns_backend=False, opts=self._opts, actor=actor)

    def trail(self, limit: int = 50, before: int | None = None) -> list[Action]:
        """
        Return what operators did to the queue, the newest first. The queue remembers the last 1,000 actions.

        Args:
            limit: How many at most.
            before: Only those before this position: that of the last one of the page before.

        Raises:
            QueueError: The store of this queue keeps no trail.
        """
        require_number("limit", limit, 1, integer=True)
        return self._trail.read(limit, before)

    def note(self, action: Action) -> None:
        """Note in the trail what was done to the queue past this object. Where it cannot be written, the log says so."""
        self._trail.record(action)

    def stats(self) -> QueueStats:
        """Count jobs, events and bytes by state, without reading payloads. Cheap enough to ask every second."""
        return self._backend.stats()

    def processors(self) -> list[ProcessorInfo]:
        """
        List the processors that were seen within the last half minute, the oldest first. Each describes itself every 2 s.

        Cheap enough to ask every second.
        """
        found = [read_note(*sighting) for sighting in self._backend.processors()]
        return sorted(found, key=lambda each: (each.started_at, each.token))

    def partitions(self) -> list[Partition]:
        """
        List the partitions in which jobs may be, the oldest first, also those that are away; none in an undivided queue.

        Those of an older division stay until nothing is left in them.
        """
        return self._backend.partitions()

    def resize(self, partitions: int) -> None:
        """
        Divide the queue into so many *partitions*, while clients and workers use it. Nothing is lost.

        What is stored stays in the partitions where it is, until it is delivered. A call that was interrupted can be repeated,
        and the clients of the queue finish by themselves what it had begun.

        Raises:
            ConfigError: The queue cannot have so many: it is a file, or its producers keep it in strict order.
            QueueUnavailable: A partition cannot be reached.
        """
        require_number("partitions", partitions, 1, integer=True)
        self._backend.resize(partitions)
        self.note(Action("resize", note=f"to {partitions} partition{'s' if partitions != 1 else ''}"))

    def _notes(self, journal: str, limit: int) -> list[JournalEntry]:
        """Return what the queue's *journal* of that name says, the newest first; nothing where its store keeps none."""
        return self._backend.journal(journal, limit=limit) if keeps_journals(self._backend) else []

    def condition(self) -> Condition:
        """
        Say whether the store takes writes, whether this queue was ever used, and how far clocks are apart.

        It changes nothing. Cheap enough to ask every second.
        """
        return self._backend.condition()

    def failed_reasons(self) -> dict[str, Depth]:
        """Count the failed jobs by reason, without reading payloads."""
        return dict(self._backend.reasons())

    def pause(self, reason: str = "") -> None:
        """
        Hand out no more jobs, to any processor, until ``resume``. Batches that are being sent are sent to the end.

        The queue remembers the pause over restarts. Events are accepted as before. Processors of versions older than this
        method do not obey.

        Args:
            reason: For whoever finds the queue paused, and for the trail.
        """
        write_pause(self._backend, self._trail.actor, reason)
        self._backend.pause(True)
        self.note(Action("pause", note=reason))

    def resume(self) -> None:
        """End a ``pause``; idle processors wake up."""
        self._backend.pause(False)
        write_pause(self._backend, self._trail.actor, None)
        self.note(Action("resume"))

    def why_paused(self) -> Pause | None:
        """Return who paused the queue, since when and why; ``None`` where it is not paused, or that was not noted."""
        return read_pause(self._backend)

    def jobs(self, state: str = "failed", limit: int = 50, after: Job | str | None = None) -> list[Job]:
        """
        List jobs, oldest first.

        Args:
            state: ``waiting``, ``delayed``, ``leased`` or ``failed``.
            limit: How many at most.
            after: The last job of the page before, or its id. Of the job itself it is known where it stood, so that no job is
                left out where it has moved on meanwhile.
        """
        require_number("limit", limit, 1, integer=True)
        return self._backend.jobs(state_of(state), limit=limit, after=after)

    def events(self, job_id: str, *, is_exact: bool = False) -> list[dict[str, Any]]:
        """
        Return the decoded events of one job.

        Args:
            job_id: The job.
            is_exact: A number that a float would write differently (19.90) is a ``Decimal``, as an event that is edited needs.

        Raises:
            QueueError: There is no such job, or its payload cannot be read.
        """
        try:
            return [decode_event(event, is_exact=is_exact) for event in self._open(job_id)]
        except QueueError:
            raise
        except ValueError:  # no encoder of ours wrote this
            raise QueueError(
                f"job {job_id!r} cannot be read: an event in it is no JSON object, or too deep"
            ) from None

    def edit(self, job_id: str, event: Mapping[str, Any] | str | bytes, *, index: int | None = None) -> None:
        """
        Put *event* in the place of an event of a failed job, and the job back into the queue. The trail keeps both forms.

        The other events of the job stay as they are. This is for an event that the data plane refuses for a value that you can
        mend: every other event is sent with the bytes that it was tracked with.

        Args:
            job_id: The job.
            event: The event as it is to be sent, as a mapping or as JSON, with the ``messageId`` that it had.
            index: Which of ``events(job_id)`` it replaces, from 0. ``None`` means the one with this ``messageId``.

        Raises:
            ConfigError: The event is no JSON object, has another ``messageId`` or an unknown ``type``, is too large, or is not
                changed.
            QueueError: The job has not failed, cannot be read, or was changed meanwhile: then nothing was edited. Or it was
                edited, and could not be put back into the queue; the message says which.
        """
        before, after = edit_event(self._backend, job_id, event, index)
        old, new = before.decode(errors="replace"), after.decode(errors="replace")
        self.note(Action("edit", jobs=1, events=1, selection={"ids": [job_id]}, before=old, after=new))
        try:
            is_back = self._backend.replay([job_id])
        except QueueError as error:
            raise QueueError(
                f"the event was edited, but its job was not put back: {error}. `eventspool queue retry --id {job_id}` does it"
            ) from error
        if not is_back:
            raise QueueError(
                f"the event was edited, but the job {job_id!r} is not in the failed queue any more"
            )

    def search(
        self,
        state: str | Sequence[str] | None = "failed",
        ids: Sequence[str] | None = None,
        reason: str | None = None,
        *,
        after: Job | str | None = None,
        with_events: bool = False,
        **conditions: Unpack[Conditions],
    ) -> Iterator[Look]:
        """
        Look for the jobs that meet every condition given, oldest first, and yield what each step has found.

        The queue is looked through page by page. A step takes some milliseconds, and says what it has looked at, also where it
        has found nothing. Conditions about events are met by a job of which one event meets all of them.

        Args:
            state: Only jobs in this state, or in one of these; ``None`` means every state.
            ids: Only these jobs.
            reason: Only those that failed for this reason.
            after: Begin behind this job, as in ``jobs``; for one state only.
            with_events: Hand out the events that meet the conditions, also where there are none about events.
            **conditions: ``error``: what is said of the failure holds this text, in any case. ``event``: an event (a page, a
                screen) has this name. ``user_id``: its ``userId``, ``anonymousId`` or ``previousId`` is this. ``message_id``:
                its ``messageId`` is this. ``text``: it holds this text somewhere, in any case. ``older_than``, ``newer_than``:
                the job was created more, or at most, this number of seconds ago; one of unknown age was neither. ``limit``:
                only the first jobs that are found, at most so many.
        """
        states = STATES if state is None else (state,) if isinstance(state, str) else state
        chosen = Selection(tuple(map(state_of, states)), ids, reason, **conditions)
        return search(self._backend, chosen, after, with_events=with_events)

    def retry_failed(
        self,
        ids: Sequence[str] | None = None,
        reason: str | None = None,
        *,
        on_job: Callable[[int], object] = lambda jobs: None,  # noqa: ARG005
        **conditions: Unpack[Conditions],
    ) -> int:
        """
        Put failed jobs back into the queue with no attempts counted: all of them, or those that meet every condition given.

        A job goes as a whole, also with events that do not meet what is asked of events. One that fails again before this
        method returns stays failed. Return how many were put back.

        Args:
            ids: Only these jobs.
            reason: Only those that failed for this reason.
            on_job: Called again and again with the number of jobs that were looked at.
            **conditions: As in ``search``. With ``limit=10`` the first ten are put back, to see what becomes of them.
        """
        chosen = Selection((JobState.FAILED,), ids, reason, **conditions)
        return self._act("retry", self._backend.replay, chosen, on_job)

    def fates(self, ids: Sequence[str]) -> Fates:
        """Return what has become of jobs that were retried: delivered, unfinished, or refused again, by reason."""
        return find_fates(self._backend, ids)

    def retry_now(
        self,
        ids: Sequence[str] | None = None,
        *,
        on_job: Callable[[int], object] = lambda jobs: None,  # noqa: ARG005
        **conditions: Unpack[Conditions],
    ) -> int:
        """
        Make delayed jobs due at once, their attempts unchanged: all of them, or those that meet every condition given.

        Return how many were delayed.

        Args:
            ids: Only these jobs.
            on_job: Called again and again with the number of jobs that were looked at.
            **conditions: As in ``search``; but a delayed job has no ``error``.
        """
        done: set[str] = set()

        def expedite(page: Sequence[str]) -> int:
            # A job that has failed again meanwhile is delayed anew, and keeps its backoff.
            fresh = [job_id for job_id in page if job_id not in done]
            done.update(fresh)
            return self._backend.expedite(fresh)

        return self._act("retry", expedite, Selection((JobState.DELAYED,), ids, None, **conditions), on_job)

    def purge(
        self,
        state: str = "failed",
        ids: Sequence[str] | None = None,
        reason: str | None = None,
        *,
        on_job: Callable[[int], object] = lambda jobs: None,  # noqa: ARG005
        **conditions: Unpack[Conditions],
    ) -> int:
        """
        Delete jobs for good, those that meet every condition given. Return how many. A leased job is never deleted.

        A job goes as a whole, also with events that do not meet what is asked of events, and of other users: ``erase`` takes
        one user's events out of their jobs.

        Args:
            state: ``waiting``, ``delayed`` or ``failed``.
            ids: Only these jobs.
            reason: Only those that failed for this reason.
            on_job: Called again and again with the number of jobs that were looked at.
            **conditions: As in ``search``.
        """
        only = state_of(state)
        if only not in PURGEABLE:
            raise ConfigError("leased jobs are being sent; they cannot be purged")
        chosen = Selection((only,), ids, reason, **conditions)
        return self._act("purge", lambda page: self._backend.purge(only, page), chosen, on_job)

    def _act(
        self,
        action: str,
        act: Callable[[Sequence[str]], int],
        chosen: Selection,
        on_job: Callable[[int], object],
    ) -> int:
        """
        Call *act* with the ids of the chosen jobs, page by page, and add up its answers. The trail has it as *action*.

        Only as many jobs are listed as there were at the beginning. Workers and producers that add to the list as fast as this
        thread takes out of it would otherwise keep it here for ever.
        """
        if chosen.ids is None:
            chosen = replace(chosen, most=total_of(chosen, self._backend.stats()))
        with self._trail.recording(action, describe(chosen)) as done:

            def count(page: Sequence[str]) -> None:
                done.jobs += act(page)

            act_on(self._backend, chosen, count, on_job)
        return done.jobs

    def erase(
        self,
        user_id: str,
        state: str | None = None,
        ids: Sequence[str] | None = None,
        reason: str | None = None,
        *,
        older_than: float | None = None,
        newer_than: float | None = None,
        error: str | None = None,
        dry_run: bool = False,
        on_job: Callable[[int], object] = lambda jobs: None,  # noqa: ARG005
    ) -> Erasure:
        """
        Delete one user's events for good, out of the jobs that meet every condition given (as in ``purge``).

        A batch that also holds events of others is stored anew without this user's. Batches that are being sent, were sent in
        part or cannot be read are left and named: ask again until the answer ``is_complete``.

        Args:
            user_id: Only events whose ``userId``, ``anonymousId`` or ``previousId`` this is.
            state: Only jobs in this state; ``None`` means every state.
            ids: Only these jobs.
            reason: Only those that failed for this reason.
            older_than: Only those created more than this number of seconds ago. A job of unknown age is not one of them.
            newer_than: Only those created at most this number of seconds ago.
            error: Only those of whose failure what is said holds this text, in any case.
            dry_run: Change nothing, only count. A batch that was sent in part is then counted as one that can be changed.
            on_job: Called again and again with the number of jobs that were looked at.
        """
        # Forth and back, because a job may change its state while the other states are listed.
        states = (state_of(state),) if state is not None else (*STATES, *reversed(STATES))
        chosen = Selection(states, ids, reason, older_than, newer_than=newer_than, error=error)
        if state is None and ids is None and reason is None and error is None:
            if not dry_run:
                self._backend.repair()  # what is stored and in no list would come back with the next repair
            pages = chosen.scanned(self._backend)
        else:
            pages = ([job.id for job in page] for page in chosen.pages(self._backend))
        if dry_run:
            return erase_from(self._backend, pages, user_id, dry_run=True, on_job=on_job)
        edits, done = 0, Counted(events=0)
        try:
            erasure = erase_from(self._backend, pages, user_id, on_job=on_job, on_erased=done.add)
            edits, unreadable = self._trail.redact(User(user_id))
        finally:
            if done.jobs or edits:
                self.note(Action("erase", jobs=done.jobs, events=done.events, selection=describe(chosen)))
        return replace(erasure, edits=edits, unreadable_edits=unreadable)

    def export(
        self,
        path: str | os.PathLike[str],
        state: str = "failed",
        ids: Sequence[str] | None = None,
        reason: str | None = None,
        **conditions: Unpack[Conditions],
    ) -> int:
        """
        Write events to *path*, JSON lines, one event each: those of the jobs that meet every condition given (as in
        ``search``; also of leased jobs; of the jobs *ids* in any state). Return how many.

        Where something is asked of events, only the events that meet it are written. The file appears whole or not at all,
        and nothing leaves the queue. ``eventspool send`` takes it back in. Jobs whose payload cannot be read are left out;
        they stay where they are.
        """
        chosen = Selection((state_of(state),), ids, reason, **conditions)
        terms, written = chosen.terms, 0
        with new_file(path, replace=True) as file:

            def write(page: Sequence[str]) -> None:
                nonlocal written
                written += sum(self.write_events(file, page, terms).values())

            act_on(self._backend, chosen, write, lambda jobs: None)  # noqa: ARG005
        if written:
            self._trail.record_once(Action("export", events=written, selection=describe(chosen)))
        return written

    def write_events(self, file: IO[bytes], ids: Iterable[str], terms: Terms | None = None) -> dict[str, int]:
        """
        Write the events of the jobs *ids*, or those that meet *terms*, to an open *file*, JSON lines. Return how many by job.

        A job that is gone or cannot be read is not in the answer, so the caller does not take it for saved.
        """
        return write_events(self._backend, file, ids, terms)

    def _open(self, job_id: str) -> list[bytes]:
        payload = self._backend.payload(job_id)
        if payload is None:
            raise QueueError(f"there is no job {job_id!r} with a payload in this queue")
        try:
            return open_envelope(payload).split()
        except EnvelopeError as error:
            raise QueueError(f"job {job_id!r} cannot be read: {error}") from None


@naming_unknown("open_queue", lambda given: fill_queue(os.environ, given))
def open_queue(
    url: str,
    queue_name: str = "hightouchEventsQueue",
    prefix: str = "hightouch",
    *,
    encryption_key: str | Sequence[str] | None = None,
    actor: str | None = None,
) -> Queue:
    """
    Open a queue to look into it and to steer it. What is not given is as the environment has it, as for ``Client``.

    Args:
        url: ``redis://…``, ``rediss://…``, ``unix://…``, ``valkey://…`` or ``sqlite:///path``.
        queue_name: The queue's name.
        prefix: What its keys begin with.
        encryption_key: The key that opens its payloads, as in ``QueueOpts``. Without it everything but the events can be seen.
        actor: Who acts, as the queue's trail names them: ``EVENTSPOOL_ACTOR``, else the system's user and the machine.

    Raises:
        ConfigError: The URL, a name or the key is wrong, or a package is missing.
        QueueUnavailable: The queue cannot be reached.
    """
    given = {"url": url, "queue_name": queue_name, "prefix": prefix, "encryption_key": encryption_key}
    return open_queue_of(read_queue(given, environ=os.environ) or QueueOpts(), actor=actor)


def open_queue_of(opts: QueueOpts, *, actor: str | None = None) -> Queue:
    """Open the queue of *opts* as ``open_queue`` does."""
    import_driver(opts)
    backend = set_apart(create_backend(opts, observe=True))
    backend.open()
    return Queue(backend, opts=opts, actor=actor)


for _public in (Queue, open_queue):
    _public.__module__ = "eventspool"  # what help, tracebacks and pickle say: this module may change
