"""
What a queue is, in a page: the reference that backends are held to and that the search of the protocol walks through.

Pure. Time stands still but for whoever moves ``now``. An entry is as in the backends: *due* is when the job is due or
when its lease ends, *token* who leased it last, *place* its rank in strict order.
"""

from __future__ import annotations

from typing import NamedTuple

from eventspool._backends.rules import QUEUE_LEASE
from eventspool._config import Ordering
from eventspool._job import JobState, SettlementKind, lanes_of


class Entry(NamedTuple):
    """A stored job."""

    place: int
    due: float
    events: int = 1
    size: int = 0
    attempts: int = 0
    token: str = ""
    progress: str = ""
    failed: bool = False
    idle: bool = False  # its holder does not mean to send it
    put_off: float = 0.0  # until when, where it was last put back with a delay
    void: bool = (
        False  # strict order: its holder has lost the whole queue, so this lease ends uncounted as yet
    )


class Model:
    """A queue of at most *max_jobs* jobs and *max_bytes* bytes, in the order of *ordering*."""

    def __init__(self, *, ordering: Ordering, max_jobs: int = 1 << 30, max_bytes: int = 1 << 30) -> None:
        self.fifo, self.per_user = ordering is Ordering.FIFO, ordering is Ordering.PER_USER
        self.max_jobs, self.max_bytes = max_jobs, max_bytes
        self.now, self.places = 0.0, 0
        self.jobs: dict[str, Entry] = {}
        self.holder, self.holder_until = "", 0.0
        self.purged: set[str] = set()

    def state(self, job_id):
        """Return the state of a job, None where it is not stored."""
        job = self.jobs.get(job_id)
        if job is None or job.failed:
            return job and JobState.FAILED
        if job.due <= self.now:
            return JobState.WAITING
        return JobState.LEASED if job.token else JobState.DELAYED

    def commit(self, jobs):
        """Store (id, events, size) of each new job that fits. Return what a CommitResult holds."""
        known, rejected, impossible = 0, [], []
        for job_id, events, size in jobs:
            fits = len(self.jobs) < self.max_jobs and self._bytes() + size <= self.max_bytes
            if job_id in self.jobs:
                known += 1
            elif size > self.max_bytes:
                impossible.append(job_id)
            elif fits and not ((self.fifo or self.per_user) and rejected):
                self._enter(job_id, Entry(0, self.now, events, size))
            else:
                rejected.append(job_id)
        return len(jobs) - known - len(rejected) - len(impossible), known, tuple(rejected), tuple(impossible)

    def _bytes(self):
        return sum(job.size for job in self.jobs.values())

    def _enter(self, job_id, job):
        self.places += 1
        self.jobs[job_id] = job._replace(place=self.places)

    def offer(self, token, limit, seconds, *, probe=False):
        """Return the ids that a claim may choose from, best first: those that tie have one ``rank``."""
        if self.fifo and not self._take(token, seconds):
            return []
        live = {i: job for i, job in self.jobs.items() if not job.failed}
        candidates = self.heads() if self.per_user else live
        ready = sorted((i for i in candidates if self.fifo or live[i].due <= self.now), key=self.rank)
        if probe:
            return sorted(ready, key=self.probe_rank)[:limit]
        if self.fifo:  # nothing passes a job that waits for its retry
            held = [n for n, i in enumerate(ready) if self.state(i) is JobState.DELAYED]
            ready = ready[: held[0]] if held else ready
        return ready[:limit]

    def heads(self):
        """Return the ids of the unfinished jobs that share no lane with an earlier one."""
        found, closed = [], 0
        for job_id in sorted((i for i, job in self.jobs.items() if not job.failed), key=self.rank):
            if not lanes_of(job_id) & closed:
                found.append(job_id)
            closed |= lanes_of(job_id)
        return found

    def probe_rank(self, job_id):
        """The order in which a probe tries them; what ties is tried by ``rank``."""
        job = self.jobs[job_id]
        return job.attempts + (
            bool(job.token) and not job.idle
        ), job.put_off if self.fifo and job.attempts else 0.0

    def rank(self, job_id):
        """The order in which jobs are handed out."""
        job = self.jobs[job_id]
        return job.place if self.fifo or self.per_user else job.due

    def _take(self, token, seconds):
        if self.holder not in ("", token) and self.holder_until > self.now:
            return False
        for job_id, job in self.jobs.items():
            if job.token not in ("", token) and not job.failed:
                self.jobs[job_id] = job._replace(void=True, due=self.now)
        self.holder, self.holder_until = token, self.now + min(seconds, QUEUE_LEASE)
        return not any(job.token and job.due > self.now for job in self.jobs.values())

    def lease(self, token, ids, seconds, *, sending=True):
        """Lease *ids*. Return (attempts, progress, stalled) of each."""
        handed = []
        for job_id in ids:
            job = self.jobs[job_id]
            # Where nobody ended the lease before, it ran out: that costs an attempt, unless it was not to be sent.
            stalled = bool(job.token) and not job.idle
            attempts = job.attempts + stalled
            job = job._replace(due=self.now + seconds, token=token, attempts=attempts, void=False)
            job = job._replace(idle=not sending, put_off=0.0)
            self.jobs[job_id] = job
            handed.append((job.attempts, job.progress, stalled))
        return handed

    def holds(self, token, job_id):
        """Say whether *token* is the last that leased the job."""
        job = self.jobs.get(job_id)
        return job is not None and not job.failed and job.token == token and not job.void

    def ack(self, ids):
        """Forget jobs, whoever holds them."""
        return sum(self.jobs.pop(job_id, None) is not None for job_id in ids)

    def settle(self, token, job_id, kind, *, delay=0.0, progress="", events=None, size=None):
        """End a lease otherwise. False where it is not *token*'s."""
        if not self.holds(token, job_id):
            return False
        job = self.jobs[job_id]
        attempts = job.attempts + (kind is not SettlementKind.RELEASE)
        job = job._replace(due=self.now + delay, token="", attempts=attempts, progress=progress)
        job = job._replace(put_off=job.due if delay else 0.0)
        if kind is SettlementKind.FAIL:
            job = job._replace(due=self.now, failed=True, progress="")
            job = job if size is None else job._replace(events=events, size=size)
        self.jobs[job_id] = job
        return True

    def renew(self, token, ids, seconds):
        """Extend leases. Return the ids of those that are lost."""
        if self.holder == token:
            self.holder_until = self.now + min(seconds, QUEUE_LEASE)
        kept = {job_id for job_id in ids if self.holds(token, job_id)}
        for job_id in kept:
            self.jobs[job_id] = self.jobs[job_id]._replace(due=self.now + seconds)
        return set(ids) - kept

    def leave(self, token):
        """Give back every lease of *token*."""
        self.holder = "" if self.holder == token else self.holder
        for job_id in [i for i in self.jobs if self.holds(token, i)]:
            self.jobs[job_id] = self.jobs[job_id]._replace(due=self.now, token="")

    def replay(self, ids):
        """Queue failed jobs again, as new."""
        moved = [i for i in dict.fromkeys(ids) if self.state(i) is JobState.FAILED]
        for job_id in moved:
            job = self.jobs.pop(job_id)
            self._enter(job_id, Entry(0, self.now, job.events, job.size))
        return len(moved)

    def purge(self, state, ids):
        """Delete those of *ids* that are in *state*, never a leased one."""
        doomed = [i for i in dict.fromkeys(ids) if self.state(i) is state is not JobState.LEASED]
        self.purged.update(doomed)
        return self.ack(doomed)
