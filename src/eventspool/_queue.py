"""The queue as operators see it: look into it, pause it, retry, purge, export (contract, section 3)."""

from __future__ import annotations

import json
import os
import time
from typing import IO, TYPE_CHECKING, Any, Self

from eventspool._backends import create_backend, import_driver
from eventspool._config import QueueOpts, require_number
from eventspool._envelope import EnvelopeError, open_envelope
from eventspool._erasure import concerns, erase_from
from eventspool._exceptions import ConfigError, QueueError
from eventspool._heartbeat import read_note
from eventspool._job import JobState, created_at_from_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import TracebackType

    from eventspool._backends import Backend
    from eventspool._erasure import Erasure
    from eventspool._job import Depth, Job, ProcessorInfo, QueueStats

__all__ = ["Queue", "open_queue"]

_PAGE = 500
_STATES = (JobState.WAITING, JobState.DELAYED, JobState.LEASED, JobState.FAILED)


class Queue:
    """
    One queue's jobs. Every method raises ``QueueUnavailable`` while the queue cannot be reached.

    Args:
        backend: Where the jobs are.
        owns_backend: Close it together with this view of it.
    """

    def __init__(self, backend: Backend, *, owns_backend: bool = True) -> None:
        self._backend = backend
        self._owns_backend = owns_backend

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, unless they are a client's."""
        if self._owns_backend:
            self._backend.close()

    def stats(self) -> QueueStats:
        """Count jobs, events and bytes by state, without reading payloads. Cheap enough to ask every second."""
        return self._backend.stats()

    def processors(self) -> list[ProcessorInfo]:
        """
        List the processors seen within the last half minute, the oldest first, as each describes itself every two seconds.

        Cheap enough to ask every second.
        """
        found = [read_note(*sighting) for sighting in self._backend.processors()]
        return sorted(found, key=lambda each: (each.started_at, each.token))

    def failed_reasons(self) -> dict[str, Depth]:
        """Count the failed jobs by reason, without reading payloads."""
        return dict(self._backend.reasons())

    def pause(self) -> None:
        """
        Hand out no more jobs, to any processor, until ``resume``. What is being sent is sent.

        The queue keeps it, over restarts too. Events are accepted as before. Processors older than this method do not obey.
        """
        self._backend.pause(True)

    def resume(self) -> None:
        """End a ``pause``; idle processors wake up."""
        self._backend.pause(False)

    def jobs(self, state: str = "failed", limit: int = 50, after: str | None = None) -> list[Job]:
        """
        List jobs, oldest first.

        Args:
            state: ``waiting``, ``delayed``, ``leased`` or ``failed``.
            limit: How many at most.
            after: The last id of the page before.
        """
        require_number("limit", limit, 1, integer=True)
        return self._backend.jobs(_state(state), limit=limit, after=after)

    def events(self, job_id: str) -> list[dict[str, Any]]:
        """
        Return the decoded events of one job.

        Raises:
            QueueError: There is no such job, or its payload cannot be read.
        """
        try:
            return [json.loads(event) for event in self._open(job_id)]
        except (ValueError, RecursionError):  # which no encoder of ours wrote
            raise QueueError(
                f"job {job_id!r} cannot be read: an event in it is no JSON, or too deep"
            ) from None

    def retry_failed(self, ids: Sequence[str] | None = None, reason: str | None = None) -> int:
        """Put failed jobs back into the queue with no attempts counted: *ids*, those with *reason*, or all."""
        chosen = list(self._select(JobState.FAILED, ids, reason))
        return sum(self._backend.replay(page) for page in _pages(chosen))

    def retry_now(self, ids: Sequence[str] | None = None) -> int:
        """Make delayed jobs due at once, their attempts unchanged: *ids*, or all. Return how many."""
        chosen = self._select(JobState.DELAYED, ids)
        return sum(self._backend.expedite(page) for page in _pages(list(chosen)))

    def purge(
        self,
        state: str = "failed",
        ids: Sequence[str] | None = None,
        reason: str | None = None,
        *,
        older_than: float | None = None,
    ) -> int:
        """
        Delete jobs for good, those that meet every condition given. Return how many. A leased job is never deleted.

        Args:
            state: ``waiting``, ``delayed`` or ``failed``.
            ids: Only these jobs.
            reason: Only those that failed for this reason.
            older_than: Only those created more than so many seconds ago. A job of unknown age is not one of them.
        """
        chosen = _state(state)
        if chosen is JobState.LEASED:
            raise ConfigError("leased jobs are being sent; they cannot be purged")
        # All are collected first: acting on a page moves the pages behind it.
        selected = list(self._select(chosen, ids, reason, older_than))
        return sum(self._backend.purge(chosen, page) for page in _pages(selected))

    def erase(
        self,
        user_id: str,
        state: str | None = None,
        ids: Sequence[str] | None = None,
        reason: str | None = None,
        *,
        older_than: float | None = None,
        dry_run: bool = False,
        on_job: Callable[[int], object] = lambda jobs: None,  # noqa: ARG005
    ) -> Erasure:
        """
        Delete one user's events for good, out of the jobs that meet every condition given (as in ``purge``).

        A batch that holds others' events too is stored anew without theirs. Batches that are being sent, were sent in part
        or cannot be read are left and named: until the answer ``is_complete``, ask again.

        Args:
            user_id: Only events whose ``userId``, ``anonymousId`` or ``previousId`` this is.
            state: Only jobs in this state; ``None`` means every state.
            ids: Only these jobs.
            reason: Only those that failed for this reason.
            older_than: Only those created more than so many seconds ago. A job of unknown age is not one of them.
            dry_run: Change nothing, only count. A batch that was sent in part is then counted as one that can be changed.
            on_job: Called with 1 for every job that was looked at.
        """
        if older_than is not None:
            require_number("older_than", older_than, 0)
        before = None if older_than is None else time.time() - older_than
        # To and fro: a job may change its state while the others are listed.
        states = [_state(state)] if state is not None else [*_STATES, *reversed(_STATES)]
        wanted = None if ids is None else set(ids)
        found: dict[str, Job] = {}
        for each in states:
            for job in self._walk(each):
                if (
                    (wanted is None or job.id in wanted)
                    and (reason is None or job.reason == reason)
                    and (before is None or 0 < job.created_at < before)
                ):
                    found[job.id] = job
        return erase_from(self._backend, found.values(), user_id, dry_run=dry_run, on_job=on_job)

    def export(
        self,
        path: str | os.PathLike[str],
        state: str = "failed",
        ids: Sequence[str] | None = None,
        reason: str | None = None,
        *,
        older_than: float | None = None,
        user_id: str | None = None,
    ) -> int:
        """
        Write events to *path*, JSON lines, one event each: those of the jobs that meet every condition given (as in
        ``purge``; leased jobs, too; *ids* whatever their state). Return how many.

        The file appears whole or not at all, and nothing leaves the queue. ``eventspool send`` takes it back
        in. Jobs whose payload cannot be read are left out; they stay where they are.
        """
        import tempfile
        from pathlib import Path

        target = Path(path)
        selected = self._select(_state(state), ids, reason, older_than)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                written = self.write_events(file, selected, user_id=user_id)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return sum(written.values())

    def write_events(
        self, file: IO[bytes], ids: Iterable[str], *, user_id: str | None = None
    ) -> dict[str, int]:
        """
        Write the events of the jobs *ids*, or one user's of them, to an open *file*, JSON lines. Return how many by job.

        A job that is gone or cannot be read is not among them: nobody can take it for saved.
        """
        written: dict[str, int] = {}
        for job_id in ids:
            try:
                events = self._open(job_id)
            except QueueError:
                continue
            if user_id is not None:
                events = [event for event in events if concerns(event, user_id)]
            file.writelines(event + b"\n" for event in events)
            written[job_id] = len(events)
        return written

    def _open(self, job_id: str) -> list[bytes]:
        payload = self._backend.payload(job_id)
        if payload is None:
            raise QueueError(f"there is no job {job_id!r} with a payload in this queue")
        try:
            return open_envelope(payload).split()
        except EnvelopeError as error:
            raise QueueError(f"job {job_id!r} cannot be read: {error}") from None

    def _select(
        self,
        state: JobState,
        ids: Sequence[str] | None = None,
        reason: str | None = None,
        older_than: float | None = None,
    ) -> Iterator[str]:
        """Yield the ids asked for. Those of *ids* are looked up one by one, so their *state* is left to the caller."""
        if older_than is not None:
            require_number("older_than", older_than, 0)
        before = None if older_than is None else time.time() - older_than
        if ids is None:
            for job in self._walk(state):
                if (reason is None or job.reason == reason) and (
                    before is None or 0 < job.created_at < before
                ):
                    yield job.id
            return
        for page in _pages(ids):
            found = self._backend.lookup(page) if reason is not None else {}
            for job_id in page:
                failure = found.get(job_id)
                if (reason is None or (failure is not None and failure.reason == reason)) and (
                    before is None or 0 < created_at_from_id(job_id) < before
                ):
                    yield job_id

    def _walk(self, state: JobState) -> Iterator[Job]:
        after = None
        while page := self._backend.jobs(state, limit=_PAGE, after=after):
            yield from page
            after = page[-1].id
            if len(page) < _PAGE:
                return


def open_queue(
    url: str,
    queue_name: str = "hightouchEventsQueue",
    prefix: str = "hightouch",
    *,
    encryption_key: str | Sequence[str] | None = None,
) -> Queue:
    """
    Open a queue to look into it (contract, section 3).

    Args:
        url: ``redis://…``, ``rediss://…``, ``unix://…``, ``valkey://…`` or ``sqlite:///path``.
        queue_name: The queue's name.
        prefix: What its keys begin with.
        encryption_key: What opens its payloads, as in ``QueueOpts``. Without it everything but the events can be seen.

    Raises:
        ConfigError: The URL, a name or the key is wrong, or a package is missing.
        QueueUnavailable: The queue cannot be reached.
    """
    opts = QueueOpts(url=url, queue_name=queue_name, prefix=prefix, encryption_key=encryption_key)
    import_driver(opts)
    backend = create_backend(opts, observe=True)
    backend.open()
    return Queue(backend)


def _pages(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _PAGE):
        yield ids[start : start + _PAGE]


def _state(name: str) -> JobState:
    try:
        return JobState(name)
    except ValueError:
        known = ", ".join(s.value for s in JobState)
        raise ConfigError(f"unknown state {name!r}; known are {known}") from None
