# ruff: noqa: S101 - these are tests
"""The small steps of which the contract suite is made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from eventspool._claim import ClaimedJob, ClaimTerms
from eventspool._envelope import seal
from eventspool._job import Failure, NewJob, Rewrite, Settlement, SettlementKind, new_job_id
from eventspool._routing import ALL_LANES

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from eventspool._backends import Backend
    from eventspool._figures import Depth

__all__ = [
    "LONG",
    "SHORT",
    "SOON",
    "BackendFactory",
    "bury",
    "claim_soon",
    "drain",
    "eventually",
    "fail",
    "ids_of",
    "listen",
    "new_job",
    "new_jobs",
    "release",
    "renew_in_time",
    "retry",
    "rewrite",
]

T = TypeVar("T")
BackendFactory = Callable[..., "Backend"]

LONG = 60.0
"""A visibility timeout that no test outlives."""
SHORT = 0.1
"""A visibility timeout that runs out while a test waits for it."""
SOON = 25.0
"""Longest wait, in seconds, for what should happen at once. It is generous, for busy machines."""


def new_job(events: int = 1, *, filling: str = "", lanes: int = ALL_LANES) -> NewJob:
    """Return a fresh job of *events* events, which touches these *lanes*, one bit for each."""
    payload = seal(
        [b'{"n":%d,"filling":"%s"}' % (n, filling.encode()) for n in range(events)], compress=False
    )
    return NewJob(new_job_id(lanes), payload, events)


def new_jobs(number: int) -> list[NewJob]:
    """Return *number* fresh jobs of one event."""
    return [new_job() for _ in range(number)]


def ids_of(jobs: object) -> list[str]:
    """Return the ids of *jobs*, of any kind."""
    return [job.id for job in jobs]  # type: ignore[attr-defined]


def eventually(probe: Callable[[], T], timeout: float = SOON) -> T:
    """Return the first true value of *probe*, or its last value at the deadline."""
    deadline = time.monotonic() + timeout
    while not (value := probe()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return value


def claim_soon(
    backend: Backend, token: str, *, limit: int = 1, visibility_timeout: float = LONG, probe: bool = False
) -> tuple[ClaimedJob, ...]:
    """Claim until something is claimable."""
    claimed = eventually(
        lambda: (
            backend.claim(
                token, ClaimTerms(limit=limit, visibility_timeout=visibility_timeout, probe=probe)
            ).jobs
        )
    )
    assert claimed, "nothing became claimable in time"
    return claimed


def renew_in_time(
    backend: Backend, token: str, *, visibility_timeout: float
) -> tuple[tuple[ClaimedJob, ...], float]:
    """
    Claim a job for a moment, and renew its lease before that is over.

    Returns:
        What was claimed, and after how many seconds the first lease would have run out. A busy machine needs more of them.
    """
    for moment in (SHORT, 10 * SHORT, SOON):
        claimed = claim_soon(backend, token, visibility_timeout=moment)
        if not backend.renew(token, ids_of(claimed), visibility_timeout=visibility_timeout):
            return claimed, moment
    raise AssertionError("a lease is lost before it has run out")


def listen(pool: Executor, backend: Backend) -> Future[bool]:
    """Have a thread of *pool* wait for the next ring. It has heard all rings so far."""
    deaf = threading.Event()

    def wait() -> bool:
        while backend.wait(0.05):
            pass
        deaf.set()
        return backend.wait(3 * SOON)

    waiting = pool.submit(wait)
    assert deaf.wait(SOON)
    return waiting


def drain(backend: Backend, token: str, *, limit: int = 100) -> list[ClaimedJob]:
    """Claim all that is due, without settling any of it."""
    drained: list[ClaimedJob] = []
    while jobs := backend.claim(token, ClaimTerms(limit=limit, visibility_timeout=LONG)).jobs:
        drained += jobs
    return drained


def retry(job_id: str, *, delay: float = 0.0, progress: str = "") -> Settlement:
    """Return the settlement that has *job_id* tried again."""
    return Settlement(job_id, SettlementKind.RETRY, delay, progress)


def release(job_id: str, *, progress: str = "") -> Settlement:
    """Return the settlement that gives *job_id* back."""
    return Settlement(job_id, SettlementKind.RELEASE, 0.0, progress)


def fail(
    job_id: str, *, reason: str = "rejected", events: int = 1, payload: bytes | None = None
) -> Settlement:
    """Return the settlement that gives *job_id* up."""
    failure = Failure(reason, "The data plane said no.", events, payload, (0, 2), 422)
    return Settlement(job_id, SettlementKind.FAIL, failure=failure)


def rewrite(
    backend: Backend, job_id: str, expected: bytes, payload: bytes, events: int, purged: tuple[int, ...] = ()
) -> bool:
    """Rewrite one job."""
    [done] = backend.rewrite([Rewrite(job_id, expected, payload, events, purged)])
    return done


def bury(backend: Backend, number: int) -> list[str]:
    """Commit *number* jobs and move them to the failed queue, one after the other. Return their ids."""
    ids = []
    for job in new_jobs(number):
        backend.commit([job])
        [claimed] = claim_soon(backend, "undertaker")
        assert backend.settle("undertaker", [fail(claimed.id)]) == [True]
        ids.append(claimed.id)
    backend.leave("undertaker")
    return ids


def depth(backend: Backend) -> tuple[Depth, Depth, Depth, Depth]:
    """Return the depths of waiting, delayed, leased and failed."""
    stats = backend.stats()
    return stats.waiting, stats.delayed, stats.leased, stats.failed
