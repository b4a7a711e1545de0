"""The queue as operators see it: look into it, retry, purge, export (contract, section 3)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from eventspool._backends import create_backend
from eventspool._config import QueueOpts, require_number
from eventspool._envelope import EnvelopeError, open_envelope
from eventspool._exceptions import ConfigError, QueueError
from eventspool._job import JobState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from eventspool._backends import Backend
    from eventspool._job import Job, QueueStats

__all__ = ["Queue", "open_queue"]

_PAGE = 500


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
        """Count jobs, events and bytes by state, without reading payloads."""
        return self._backend.stats()

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
        import json

        try:
            return [json.loads(event) for event in self._open(job_id)]
        except (ValueError, RecursionError):  # which no encoder of ours wrote
            raise QueueError(
                f"job {job_id!r} cannot be read: an event in it is no JSON, or too deep"
            ) from None

    def retry_failed(self, ids: Sequence[str] | None = None, reason: str | None = None) -> int:
        """Put failed jobs back into the queue with no attempts counted: *ids*, those with *reason*, or all."""
        return sum(self._backend.replay(page) for page in _pages(self._select(JobState.FAILED, ids, reason)))

    def purge(
        self, state: str = "failed", ids: Sequence[str] | None = None, reason: str | None = None
    ) -> int:
        """Delete jobs for good: *ids*, those with *reason*, or all in *state*. A leased job is never deleted."""
        chosen = _state(state)
        if chosen is JobState.LEASED:
            raise ConfigError("leased jobs are being sent; they cannot be purged")
        return sum(self._backend.purge(chosen, page) for page in _pages(self._select(chosen, ids, reason)))

    def export(self, path: str | os.PathLike[str], state: str = "failed") -> int:
        """
        Write the events of all jobs in *state* to *path*, JSON lines, one event each. Return how many.

        The file appears whole or not at all, and nothing leaves the queue. ``eventspool send`` takes it back
        in. Jobs whose payload cannot be read are left out; they stay where they are.
        """
        import tempfile
        from pathlib import Path

        target = Path(path)
        count = 0
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                for job_id in self._select(_state(state), None, None):
                    try:
                        events = self._open(job_id)
                    except QueueError:
                        continue
                    file.writelines(event + b"\n" for event in events)
                    count += len(events)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return count

    def _open(self, job_id: str) -> list[bytes]:
        payload = self._backend.payload(job_id)
        if payload is None:
            raise QueueError(f"there is no job {job_id!r} with a payload in this queue")
        try:
            return open_envelope(payload).split()
        except EnvelopeError as error:
            raise QueueError(f"job {job_id!r} cannot be read: {error}") from None

    def _select(self, state: JobState, ids: Sequence[str] | None, reason: str | None) -> list[str]:
        """Return the ids asked for. All are collected first: acting on a page moves the pages behind it."""
        if ids is not None and reason is None:
            return list(ids)
        wanted = None if ids is None else set(ids)
        return [
            job.id
            for job in self._walk(state)
            if (wanted is None or job.id in wanted) and (reason is None or job.reason == reason)
        ]

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
        ConfigError: The URL, a name or the key is wrong.
        QueueUnavailable: The queue cannot be reached.
    """
    opts = QueueOpts(url=url, queue_name=queue_name, prefix=prefix, encryption_key=encryption_key)
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
