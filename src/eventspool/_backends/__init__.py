"""
Where jobs are kept: one small Protocol, three backends that pass one contract suite.

The queue is a *visibility-timeout* queue. Every unfinished job stands in one order with a time: when it is
due, or when its lease ends. Claiming moves that time into the future; a dead holder's jobs simply come due
again. So there is no list of active jobs to scan, no promotion step, and nothing that a crash could leave
half done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eventspool._config import QueueOpts
    from eventspool._job import (
        Claim,
        CommitResult,
        Depth,
        Failure,
        Job,
        JobState,
        NewJob,
        QueueStats,
        Settlement,
    )

__all__ = ["Backend", "create_backend", "import_driver"]


class Backend(Protocol):
    """
    The storage of one queue.

    Every method is one atomic step: after a crash at any instant it has happened or it has not. Methods are
    safe to call from several threads. They raise ``QueueUnavailable`` for an outage (nothing is known to have
    happened: call again with the same arguments) and ``QueueError`` for what waiting will not mend; no other
    exception, and never with a driver's text in it. Times are seconds; a backend reads its own clock (Redis:
    the server's).
    """

    durable: bool
    """A job that was committed survives this process."""
    shared: bool
    """Other processes may produce into and consume from the same queue."""

    def open(self) -> None:
        """Connect and make sure that the queue can be used. Called before anything else; safe to call again."""

    def commit(self, jobs: Sequence[NewJob]) -> CommitResult:
        """
        Store *jobs*, in order, due at once. A job whose id is stored already (also as failed) is left alone.

        Jobs that do not fit into the queue's bounds (jobs or bytes) are rejected. In a first-in-first-out queue so
        are all that follow one: nothing overtakes it.
        """

    def claim(self, token: str, *, limit: int, visibility_timeout: float, probe: bool = False) -> Claim:
        """
        Lease up to *limit* due jobs, oldest first, to *token* for *visibility_timeout* seconds.

        A job whose lease ran out counts one more attempt and comes with ``stalled=True``. With *probe*, pick
        among the first 1,000 due jobs those with the fewest attempts (the oldest of these).

        A first-in-first-out queue leases itself as a whole: while another token holds it nothing is returned
        and *wait* says when its lease ends. A job that waits for its retry holds up everything behind it,
        except for a probe.

        While the queue is paused nothing is handed out, to a probe neither, and *wait* is short.

        After an outage jobs may be leased to *token* that it was not told of; ``leave`` gives them back.
        """

    def ack(self, ids: Sequence[str]) -> int:
        """Forget delivered jobs, whoever holds them: delivered is delivered. Return how many were stored."""

    def settle(self, token: str, settlements: Sequence[Settlement]) -> list[bool]:
        """End leases otherwise. False, and no change, for each job that *token* no longer holds."""

    def renew(self, token: str, ids: Sequence[str], *, visibility_timeout: float, note: str = "") -> set[str]:
        """
        Extend leases, and count *token* among the live processors. Return the ids whose lease was lost.

        *note* says how that processor fares, for ``processors``; it replaces the one before unless it is empty.
        """

    def leave(self, token: str) -> None:
        """Give back every lease of *token* without counting an attempt, and strike it off the live processors."""

    def wait(self, timeout: float) -> bool:
        """Block until there may be something to claim, or *timeout*. ``interrupt`` ends it early."""

    def interrupt(self) -> None:
        """End a ``wait`` that is under way in this process, from another thread."""

    def lookup(self, ids: Sequence[str], *, epoch: str = "") -> Mapping[str, Failure | None]:
        """
        Say which of *ids* are still stored: ``None`` for unfinished ones, their failure for failed ones.

        Those that are not stored any more are ``PURGED`` where they are among the last that ``purge`` has deleted. With
        the *epoch* of the commit that stored them, the others are ``LOST`` where the queue is not the same any more:
        nobody knows whether they were delivered before. Otherwise they were.
        """

    def stats(self) -> QueueStats:
        """Count, without reading payloads, in a time that does not grow with the number of jobs."""

    def processors(self) -> list[tuple[str, float, str]]:
        """
        List the processors seen within the last half minute: token, when (seconds since the epoch), their last note.
        """

    def reasons(self) -> Mapping[str, Depth]:
        """Count the failed jobs by reason, without reading payloads."""

    def pause(self, paused: bool) -> None:  # noqa: FBT001
        """Stop or resume handing out jobs, to every processor. Leases under way end as usual."""

    def expedite(self, ids: Sequence[str]) -> int:
        """Make those of *ids* that are delayed due at once, their attempts unchanged. Return how many."""

    def rewrite(self, job_id: str, expected: bytes, payload: bytes, events: int) -> bool:
        """
        Put *payload*, of *events* events, in the place of *expected*.

        False, and no change, where something else is stored, the job is leased, or a part of it was sent already.
        """

    def jobs(self, state: JobState, *, limit: int, after: str | None = None) -> list[Job]:
        """List jobs in the order of their due (or failed) time, starting behind the id *after*."""

    def payload(self, job_id: str) -> bytes | None:
        """Return one job's envelope, or ``None``."""

    def replay(self, ids: Sequence[str]) -> int:
        """Move failed jobs back to waiting, with no attempts counted. Return how many were moved."""

    def purge(self, state: JobState, ids: Sequence[str]) -> int:
        """
        Delete those of *ids* that are in *state* (never a leased job), and remember their ids for ``lookup``: the last
        ``PURGED_KEPT`` of them, for ``PURGED_FOR`` seconds. Return how many.
        """

    def repair(self) -> int:
        """Find payloads that no index knows and queue them again. Cheap when there are none."""

    def close(self) -> None:
        """Release connections. Safe to call twice."""

    def abandon(self) -> None:
        """In a forked child: forget every handle that the parent owns, without closing it."""


def import_driver(opts: QueueOpts) -> None:
    """
    Import what the queue of *opts* needs. Raises ``ConfigError`` where it is missing, or an option cannot work.

    Left to the background threads, a program of a few lines would be exiting by then, and redis-py can no longer be
    imported while the interpreter exits; and a child forked in the midst of an import cannot finish it.
    """
    from eventspool._config import SQLiteOpts

    if opts.encryption_key is not None:
        import eventspool._backends.encrypted
        from eventspool._encryption import Keyring

        Keyring(opts.encryption_keys)  # says at once what is missing
    if isinstance(opts.target, SQLiteOpts):
        import eventspool._backends.sqlite
    else:
        import eventspool._backends.redis  # noqa: F401
        from eventspool._backends._redis_connection import connect
        from eventspool._backends._redis_scripts import scripts

        scripts()  # importlib imports on first use, too
        connect(opts.target)  # as does redis-py, and says what is missing or wrong; this opens no connection


def create_backend(opts: QueueOpts, *, observe: bool = False) -> Backend:
    """
    Return the durable backend that *opts* ask for, unopened. Imports only what that one needs.

    Args:
        opts: The queue.
        observe: To look and steer only: single- or multi-processor as its producers have it, whatever *opts* say.

    Raises:
        ConfigError: Payloads are to be encrypted, and the package that does it is missing.
    """
    backend = _create_plain(opts, observe=observe)
    if opts.encryption_key is None:
        return backend
    from eventspool._backends.encrypted import EncryptedBackend
    from eventspool._encryption import Keyring

    return EncryptedBackend(backend, Keyring(opts.encryption_keys))


def _create_plain(opts: QueueOpts, *, observe: bool) -> Backend:
    from eventspool._config import SQLiteOpts

    target = opts.target
    fifo = not opts.is_multi_processor
    if isinstance(target, SQLiteOpts):
        from eventspool._backends.sqlite import SQLiteBackend

        return SQLiteBackend(
            target,
            queue_name=opts.queue_name,
            prefix=opts.prefix,
            fifo=fifo,
            max_jobs=opts.max_jobs,
            max_bytes=opts.max_bytes,
        )
    from eventspool._backends.redis import RedisBackend

    return RedisBackend(
        target,
        queue_name=opts.queue_name,
        prefix=opts.prefix,
        fifo=None if observe else fifo,
        max_jobs=opts.max_jobs,
        max_bytes=opts.max_bytes,
    )
