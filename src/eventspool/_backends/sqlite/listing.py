# ruff: noqa: S608 - the only text put into a statement is written in this module
"""What operators see of a queue's jobs: how many there are, which, and why they failed. No payload is read for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventspool._backends.rules import place_of
from eventspool._backends.sqlite.fleet import read_holding
from eventspool._backends.sqlite.queues import sighted_since
from eventspool._backends.sqlite.values import as_count, as_id, micros
from eventspool._figures import Depth, QueueStats
from eventspool._job import Job, JobState, created_at_from_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from eventspool._backends.sqlite.queues import Queue

__all__ = ["count", "count_reasons", "list_jobs", "scan"]

_SCANNED = 500
"""Ids in one step of a scan, which other processes have to wait for."""

_SOURCES = {
    JobState.WAITING: "from jobs where queue = :key and (until is null or until <= :now)",
    JobState.DELAYED: "from jobs indexed by jobs_until where queue = :key and until > :now and token = ''",
    JobState.LEASED: "from jobs indexed by jobs_until where queue = :key and until > :now and token != ''",
    JobState.FAILED: "from failed where queue = :key",
}


def count(db: sqlite3.Connection, queue: Queue, clock: float) -> QueueStats:
    """Return the depths, from the totals and the few jobs that are leased or delayed."""
    totals = db.execute(
        "select jobs, events, bytes, failed_jobs, failed_events, failed_bytes, accepted, delivered,"
        " given_up, purged, moved from queues where queue = ?",
        (queue.key,),
    ).fetchone()
    moved = {0: (0, 0, 0), 1: (0, 0, 0)}
    for leased, *figures in db.execute(
        "select token != '', count(*), sum(events), sum(bytes) from jobs indexed by jobs_until"
        " where queue = ? and until > ? group by token != ''",
        (queue.key, queue.now),
    ).fetchall():
        moved[leased] = (int(figures[0]), int(figures[1]), int(figures[2]))
    delayed, leased = moved[0], moved[1]
    waiting = (max(int(t) - d - ls, 0) for t, d, ls in zip(totals[:3], delayed, leased, strict=True))
    oldest = db.execute("select id from jobs where queue = ? order by id limit 1", (queue.key,)).fetchone()
    created_at = created_at_from_id(oldest[0]) if oldest and isinstance(oldest[0], str) else 0.0
    [processors] = db.execute(
        "select count(*) from processors where queue = ? and seen >= ?", (queue.key, sighted_since(queue))
    ).fetchone()
    holding = read_holding(db, queue)
    accepted, delivered, given_up, purged, gone = (max(int(figure), 0) for figure in totals[6:])
    return QueueStats(
        Depth(*waiting),
        Depth(*delayed),
        Depth(*leased),
        Depth(*(max(int(figure), 0) for figure in totals[3:6])),
        max(clock - created_at, 0.0) if created_at else 0.0,
        processors,
        queue.paused,
        accepted,
        delivered,
        given_up,
        purged,
        gone,
        held_until=(holding.until - queue.skew) / 1e6 if holding else 0.0,
        held_because=holding.why if holding else "",
    )


def count_reasons(db: sqlite3.Connection, queue: Queue) -> dict[str, Depth]:
    """Return how much failed for each reason. One index holds all of it."""
    found = db.execute(
        "select reason, count(*), total(max(events, 0)), total(max(bytes, 0)) from failed where queue = ? group by reason",
        (queue.key,),
    ).fetchall()
    return {str(reason): Depth(jobs, int(events), int(size)) for reason, jobs, events, size in found}


def list_jobs(
    db: sqlite3.Connection, queue: Queue, state: JobState, limit: int, after: Job | str | None
) -> list[Job]:
    """Return the jobs in *state*, in their order, behind the job *after*."""
    failed = state is JobState.FAILED
    table = "failed" if failed else "jobs"
    time = "at" if failed else "due" if state is JobState.WAITING else "until"
    job_id, stood = place_of(after)
    place = db.execute(
        f"select {time}, seq from {table} where queue = ? and id = ?", (queue.key, as_id(job_id))
    ).fetchone()
    if stood is not None:
        there = round(stood * 1e6) + queue.skew
        if place is None or not isinstance(place[0], int) or place[0] > there:
            place = there, 0  # that job has left the state meanwhile, or was moved on in it
    elif after is not None and (place is None or place[0] is None):
        # Where that job stood is not known. The list goes on at its creation time, so that it comes to its end.
        place = micros(created_at_from_id(job_id)) + queue.skew, 0
    columns = "reason, error, at" if failed else f"null, null, {time}"
    since, seq = place or (None, None)
    behind = f"and ({time}, seq) > (:since, :seq)" if place else ""
    found = db.execute(
        f"select id, events, bytes, attempts, {columns} {_SOURCES[state]} {behind} order by {time}, seq limit :limit",
        {"key": queue.key, "now": queue.now, "since": since, "seq": seq, "limit": limit},
    ).fetchall()
    return [_job(row, state, queue.skew) for row in found]


def scan(db: sqlite3.Connection, queue: Queue, cursor: str) -> tuple[list[str], str]:
    """
    Return the next ids behind *cursor*, in their order, and the cursor behind these; "" where there are no more.

    A cursor is an id's bytes in hex: a foreign id may be no valid text, and would not be found again as text.
    """
    there = "from {} where queue = :key and id > cast(:behind as text)"
    found = db.execute(
        f"select id, hex(id) {there.format('jobs')} union all select id, hex(id) {there.format('failed')}"
        " order by 1 limit :limit",
        {"key": queue.key, "behind": bytes.fromhex(cursor), "limit": _SCANNED},
    ).fetchall()
    return [str(job_id) for job_id, _ in found], found[-1][1] if len(found) == _SCANNED else ""


def _job(row: Sequence[Any], state: JobState, skew: int) -> Job:
    job_id, events, size, attempts, reason, error, time = row
    at = (time - skew) / 1e6 if isinstance(time, int) else None
    failed = state is JobState.FAILED
    return Job(
        str(job_id),
        state,
        as_count(events),
        as_count(size),
        as_count(attempts),
        None if reason is None else str(reason),
        None if error is None else str(error),
        created_at_from_id(str(job_id)),
        None if failed else at,
        at if failed else None,
    )
