"""
What every backend must do: one small Protocol, whose implementations pass one contract suite.

The queue is a *visibility-timeout* queue. Every unfinished job stands in one order, by a time: when it is due, or when its
lease ends. A claim moves that time into the future; the jobs of a process that died come due again by themselves. So there
is no list of active jobs to scan, no step that promotes delayed jobs, and nothing that a crash could leave half done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eventspool._backends.condition import Condition
    from eventspool._backends.journals import JournalEntry
    from eventspool._claim import Claim, ClaimTerms
    from eventspool._figures import Depth, Partition, QueueStats
    from eventspool._fleet import Hold, Trouble
    from eventspool._job import CommitResult, Failure, Job, JobState, NewJob, Rewrite, Settlement
    from eventspool._routing import Routing

__all__ = ["Backend"]


class Backend(Protocol):
    """
    The storage of one queue.

    Every method is one atomic step: after a crash at any instant it has happened or it has not. Methods are
    safe to call from several threads. They raise ``QueueUnavailable`` for an outage (whether the step has happened is not
    known: the caller repeats it with the same arguments) and ``QueueError`` for what waiting will not mend; no other
    exception, and never with a driver's text in it. Times are seconds; a backend reads its own clock (Redis: the server's).
    """

    durable: bool
    """A job that was committed survives this process."""
    shared: bool
    """Other processes may produce into and consume from the same queue."""

    def open(self) -> None:
        """Connect and make sure that the queue can be used. Called before anything else; safe to call again."""

    def find_routing(self) -> Routing | None:
        """Return how jobs are to be made where the queue keeps the order per user; ``None`` where it does not."""

    def commit(self, jobs: Sequence[NewJob]) -> CommitResult:
        """
        Store *jobs*, in order, due at once. A job whose id is stored already (also as failed) is left alone. A job that
        comes out of another queue keeps its attempts and its progress, and stays failed where it has failed.

        Jobs that do not fit into the queue's bounds (jobs or bytes) are rejected. In a first-in-first-out queue the jobs
        behind a rejected one are rejected, too, so that none overtakes it. A job that would not fit into an empty queue
        either is *impossible*: it is reported apart, and rejects no other.

        A backend that waits for replicas raises ``QueueUnavailable`` where too few have confirmed the commit. The
        jobs are stored then. The caller repeats the commit, and the repeat stores none of them again, also where one was
        delivered meanwhile.
        """

    def claim(self, token: str, terms: ClaimTerms) -> Claim:
        """
        Lease due jobs to *token* by *terms*, whose fields are named here: up to *limit* of them, oldest first, for
        *visibility_timeout* seconds.

        Their payloads have at most *max_bytes* together, but one job is leased in any case. Where that bound leaves out jobs
        that are due, *wait* is 0.

        A job whose lease ran out counts one more attempt and comes with ``stalled=True``, as it may be what killed the
        processor that held it; but not where that processor did not mean to send it (*sending* was false). With *probe*,
        pick among the first 1,000 due jobs those with the fewest attempts. Of these take the first ones; but in a
        first-in-first-out queue, where a job that is put off keeps its place, jobs that had attempts take turns. One that was
        put off without an attempt, with those that shared its request, goes before the jobs behind it.

        A first-in-first-out queue is leased as a whole: while another token holds it, nothing is returned, and *wait* says
        when its lease ends. A job that waits for its retry holds up every job behind it, except for a probe.

        A queue that keeps the order per user hands out a job when no earlier unfinished job shares a lane with it
        (``lanes_of``), to any number of tokens at once. A job that is leased, or waits for its retry, holds up what comes
        behind it in its lanes, even for a probe. But up to *chain* jobs that hold up one another may be leased together, of
        *chain_bytes* or a little more. They follow each other in the claim, in their order. The caller sends them in that
        order in one request, and gives back those for which there is no room.

        While the queue is paused, nothing is handed out, not even to a probe, and *wait* is short.

        While all processors stay away from the data plane (see ``hold``), nothing is handed out to one that means to send it
        (``is_held_back``). After that time the first one that asks is the probe of them all (``is_probe``), with one job as by
        *probe*, or with none where none is due; until its permit ends after ``PROBE_PERMIT``, only it may ask again.

        All processors together are handed out at most *events_per_second*, and after a silence what ``BURST`` seconds allow.
        The rate is the caller's: another one may have another. A job of more events than that burst goes where nothing else
        did for long enough, and is paid for afterwards. Where the rate leaves out jobs that are due, *wait* says how long.

        After an outage, jobs may be leased to *token* whose claim was never answered; ``leave`` gives them back.
        """

    def hold(self, token: str, trouble: Trouble | None, *, is_probe: bool) -> Hold | None:
        """
        Tell all processors what the data plane said to *token*: that it does not work, or that it does (``None``).

        They stay away from it after five failures in a row, whichever of them heard them, with nothing delivered in between;
        at once where it has asked for that, and where it refuses the write key and nothing was delivered in the last second.
        A failed probe of theirs (*is_probe*) prolongs that, by ``PROBE_PAUSE`` at most. Any good answer ends it, but not the
        time that the data plane has asked for, which only a probe's does.

        Return how long they stay away now; ``None`` where they do not.
        """

    def ack(self, ids: Sequence[str]) -> int:
        """Forget delivered jobs, even where another token holds them by now. Return how many were stored."""

    def pass_on(self, ids: Sequence[str], *, remember: bool = True) -> int:
        """
        Forget jobs that another queue has taken, even where another token holds them. Return how many were stored.

        With *remember*, ``lookup`` calls them ``MOVED`` for as long as it would remember a purge.
        """

    def settle(self, token: str, settlements: Sequence[Settlement]) -> list[bool]:
        """End leases of jobs that are not delivered. False, and no change, for each job that *token* no longer holds."""

    def renew(self, token: str, ids: Sequence[str], *, visibility_timeout: float, note: str = "") -> set[str]:
        """
        Extend leases, and count *token* among the live processors. Return the ids whose lease was lost.

        *note* is what that processor says of itself, for ``processors``; it replaces the note before unless it is empty.
        """

    def leave(self, token: str) -> None:
        """Give back every lease of *token* without counting an attempt, and take it from the live processors."""

    def wait(self, timeout: float) -> bool:
        """Block until there may be something to claim, or *timeout*. ``interrupt`` ends it early."""

    def interrupt(self) -> None:
        """End a ``wait`` that is under way in this process, from another thread."""

    def lookup(self, ids: Sequence[str], *, epoch: str = "") -> Mapping[str, Failure | None]:
        """
        Say which of *ids* are still stored: ``None`` for an unfinished job, its failure for a failed one.

        Of the jobs that are not stored any more, those that are remembered from ``purge`` are ``PURGED``, and those that
        are remembered from ``pass_on`` are ``MOVED``. The others are ``LOST`` where *epoch*, which the commit that stored
        them returned, is not that of the queue any more, or where the backend that stored them finds that the queue came back
        without their commit: whether they were delivered before cannot be known. Otherwise they
        were delivered, and are left out of the answer; but where it is remembered that ``rewrite`` took events out of one,
        that job is ``PURGED`` with the positions of these events as ``indices``. The positions in a failed job are its
        failure's ``purged``.
        """

    def stats(self) -> QueueStats:
        """Count, without reading payloads, in a time that does not grow with the number of jobs."""

    def processors(self) -> list[tuple[str, float, str]]:
        """
        List the processors seen within the last half minute: token, when (seconds since the epoch), their last note.
        """

    def reasons(self) -> Mapping[str, Depth]:
        """Count the failed jobs by reason, without reading payloads."""

    def condition(self) -> Condition:
        """
        Say whether the store takes writes, whether this queue was ever used, and how far clocks are apart.

        It changes nothing, also where the store is full or read-only, and costs about as much as ``stats``.
        """

    def pause(self, paused: bool) -> None:  # noqa: FBT001
        """Stop or resume handing out jobs, to every processor. Leases under way end as usual."""

    def expedite(self, ids: Sequence[str]) -> int:
        """Make those of *ids* that are delayed due at once, and leave their attempts as they are. Return how many."""

    def rewrite(self, rewrites: Sequence[Rewrite]) -> list[bool]:
        """
        Put each payload in the place of the one that is expected there. Remember for ``lookup`` that the events at the
        positions ``purged`` of the batch as first committed are out of it.

        False, and no change, for each job where something else is stored, that is leased, or of which a part was sent already.
        """

    def jobs(self, state: JobState, *, limit: int, after: Job | str | None = None) -> list[Job]:
        """
        List jobs in the order of their due (or failed) time, starting behind *after*, the last job of the page before.

        That job may have left the state meanwhile, or have another time. The list then goes on where the job stood: some jobs
        may be listed again, but none is left out. Of an id alone it is not known where its job stood, so where the job has
        left the state the list goes on at the time of its creation.
        """

    def scan(self, cursor: str = "") -> tuple[list[str], str]:
        """
        Return the ids of some stored jobs, in no order, and the cursor of the next call, "" where there is none.

        From the first call, with the cursor "", to the last one every job that is stored all the time comes at least once, in
        whatever states it is meanwhile. A job that comes or goes meanwhile may be left out.
        """

    def payload(self, job_id: str) -> bytes | None:
        """Return one job's envelope, or ``None``."""

    def payloads(self, ids: Sequence[str]) -> Mapping[str, bytes | None]:
        """
        Return the envelopes of the first of *ids*, in their order, ``None`` where there is none.

        These are as many as hold ``READ_BYTES`` together, and at least one: the caller asks again for the others.
        """

    def replay(self, ids: Sequence[str]) -> int:
        """Move failed jobs back to waiting, with no attempts counted. Return how many were moved."""

    def purge(self, state: JobState, ids: Sequence[str]) -> int:
        """
        Delete those of *ids* that are in *state* (never a leased job), and remember their ids for ``lookup``: the last
        ``PURGED_KEPT`` of them, for ``PURGED_FOR`` seconds. Return how many.
        """

    def append(self, journal: str, entry: bytes, *, most: int, apart: float = 0.0) -> bool:
        """
        Append *entry* to the *journal* of that name, and drop the oldest entries beyond the newest *most* ones.

        Where the newest entry is younger than *apart* seconds, append nothing and return ``False``: of all the processes
        that note a figure once a minute, one does. An entry that was appended is there until it is dropped, whatever
        becomes of the jobs. A store may leave out this method and the next two; its queues then have no trail.
        """

    def journal(self, journal: str, *, limit: int, before: int | None = None) -> list[JournalEntry]:
        """Return up to *limit* entries of *journal*, the newest first, with positions below *before*."""

    def amend(self, journal: str, position: int, expected: bytes, entry: bytes) -> bool:
        """Put *entry* in the place of *expected*, and keep its time. ``False``, and no change, where that is not there."""

    def partitions(self) -> list[Partition]:
        """List the partitions in which jobs may be, also those that cannot be reached; none where the queue is not divided."""

    def resize(self, partitions: int) -> None:
        """
        Divide the queue into so many *partitions*, while others use it. What was begun and not finished is finished first.

        Raises ``ConfigError`` where this queue cannot have so many.
        """

    def repair(self) -> int:
        """Find payloads that no index knows and queue them again. Cheap when there are none."""

    def close(self) -> None:
        """Release connections. Safe to call twice."""

    def abandon(self) -> None:
        """In a forked child: forget every handle that the parent process owns, without closing it."""
