# ruff: noqa: S608 - the only text put into a statement is written in this module
"""The statements on a queue's rows. Each works inside the caller's transaction, and takes any rubbish for a value."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eventspool._envelope import MAX_PAYLOAD_BYTES, OVERSIZED
from eventspool._job import (
    PURGED_FOR,
    PURGED_KEPT,
    Depth,
    Failure,
    Job,
    JobState,
    QueueStats,
    created_at_from_id,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["MAX_COUNT", "Queue"]

MAX_COUNT = 1 << 31
"""Most that a count is believed to be."""


@dataclass(slots=True)
class Queue:
    """A queue's row, as read at the start of a step. *now* is its own time, in microseconds; it never goes back."""

    key: int
    now: int
    skew: int
    holder: str
    held_until: int
    jobs: int
    bytes: int
    events: int
    failed_events: int
    paused: bool
    epoch: str


def micros(seconds: float) -> int:
    """Return *seconds* in microseconds."""
    return int(seconds * 1_000_000)


def as_count(value: Any) -> int:
    """Return a stored number as a count."""
    return int(min(max(value, 0), MAX_COUNT)) if isinstance(value, (int, float)) and value == value else 0


def as_bytes(value: Any) -> bytes | None:
    """Return a stored payload; the processor judges it."""
    return value if value is None or isinstance(value, bytes) else str(value).encode()


def payload_of(db: sqlite3.Connection, seq: int | None) -> bytes | None:
    """Return a job's payload; ``OVERSIZED`` for one that is larger than any batch: it is not read for that."""
    row = db.execute(
        "select iif(length(payload) > ?, ?, payload) from payloads where seq = ?",
        (MAX_PAYLOAD_BYTES, OVERSIZED, seq),
    ).fetchone()
    return as_bytes(row[0]) if row is not None else None


def as_text(value: object) -> str:
    """Return *value* as text that can be stored: lone surrogates cannot."""
    return str(value).encode("utf-8", "replace").decode()


def read_queue(db: sqlite3.Connection, name: str, clock: float) -> Queue:
    """Return the row of the queue *name*, made where there is none."""
    query = (
        "select queue, clock, skew, holder, held_until, jobs + failed_jobs, bytes + failed_bytes,"
        " events + failed_events, failed_events, paused, epoch from queues where name = ?"
    )
    row = db.execute(query, (name,)).fetchone()
    if row is None:
        db.execute("insert into queues (name, epoch) values (?, hex(randomblob(8)))", (name,))
        row = db.execute(query, (name,)).fetchone()
    key, last, skew, holder, held_until, jobs, size, events, failed_events, paused, epoch = row
    now = micros(clock) + skew
    if now < last:  # the clock was set back: without this, jobs would be due in a far future
        skew, now = skew + last - now, last
        # Stored at once: else the queue's time would stand still until a step stores it, and on an idle queue none does.
        db.execute("update queues set skew = ? where queue = ?", (skew, key))
    return Queue(
        key, now, skew, holder, held_until, jobs, size, events, failed_events, bool(paused), str(epoch)
    )


def keep_time(db: sqlite3.Connection, queue: Queue) -> None:
    """Store the queue's time, so that no process sees an earlier one."""
    db.execute("update queues set clock = ?, skew = ? where queue = ?", (queue.now, queue.skew, queue.key))


def tally(db: sqlite3.Connection, queue: Queue, accepted: int = 0) -> None:
    """Carry what this step has done into the totals of all time; the depths say what it was."""
    db.execute(
        "update queues set accepted = accepted + ?, delivered = delivered + max(? - events - failed_events, 0),"
        " given_up = given_up + max(failed_events - ?, 0) where queue = ?",
        (accepted, queue.events, queue.failed_events, queue.key),
    )


def tally_purged(db: sqlite3.Connection, queue: Queue) -> None:
    """Carry what this step has deleted undelivered into its total of all time."""
    db.execute(
        "update queues set purged = purged + max(? - events - failed_events, 0) where queue = ?",
        (queue.events, queue.key),
    )


def note_purged(db: sqlite3.Connection, queue: Queue, ids: Iterable[str]) -> None:
    """Remember that these jobs were purged, and forget it of the oldest."""
    db.executemany(
        "insert or replace into purged (queue, id, at) values (?, ?, ?)",
        ((queue.key, job_id, queue.now) for job_id in ids),
    )
    db.execute(
        "delete from purged where queue = :key and (at <= :outdated or id in (select id from purged"
        " where queue = :key order by at desc, id desc limit -1 offset :kept))",
        {"key": queue.key, "outdated": queue.now - micros(PURGED_FOR), "kept": PURGED_KEPT},
    )


def find_purged(db: sqlite3.Connection, queue: Queue, ids: Iterable[str]) -> list[str]:
    """Return those of *ids* that are remembered as purged."""
    if db.execute("select 1 from purged where queue = ? limit 1", (queue.key,)).fetchone() is None:
        return []  # as nearly always
    query = "select 1 from purged where queue = ? and id = ?"
    return [job_id for job_id in ids if db.execute(query, (queue.key, job_id)).fetchone()]


def hold(db: sqlite3.Connection, queue: Queue, token: str, seconds: float) -> None:
    """Lease the whole queue to *token*."""
    keep_time(db, queue)
    db.execute(
        "update queues set holder = ?, held_until = ? where queue = ?",
        (token, queue.now + micros(seconds), queue.key),
    )


def find(db: sqlite3.Connection, queue: Queue, table: str, job_id: str) -> int | None:
    """Return the number of *job_id*'s row in *table*, ``jobs`` or ``failed``."""
    row = db.execute(f"select seq from {table} where queue = ? and id = ?", (queue.key, job_id)).fetchone()
    return row[0] if row is not None else None


def insert(db: sqlite3.Connection, queue: Queue, job_id: str, payload: bytes | None, events: int) -> None:
    """Store a job behind all others, due now."""
    # SQLite would number it by the payloads alone, and give it the number of a job whose payload is gone.
    seq = db.execute(
        "insert into payloads values (1 + max(ifnull((select max(seq) from payloads), 0),"
        " ifnull((select max(seq) from jobs), 0), ifnull((select max(seq) from failed), 0)), ?)",
        (payload,),
    ).lastrowid
    db.execute(
        "insert into jobs (seq, queue, id, events, bytes, due) values (?, ?, ?, ?, ?, ?)",
        (seq, queue.key, job_id, events, len(payload or b""), queue.now),
    )


def delete(db: sqlite3.Connection, queue: Queue, table: str, job_id: str) -> bool:
    """Delete a job of *table* and its payload. False where there is none."""
    seq = find(db, queue, table, job_id)
    if seq is None:
        return False
    db.execute(f"delete from {table} where seq = ?", (seq,))
    db.execute("delete from payloads where seq = ?", (seq,))
    return True


@contextlib.contextmanager
def erasing(db: sqlite3.Connection) -> Iterator[None]:
    """Overwrite what is deleted: somebody may have asked for an erasure."""
    db.execute("pragma secure_delete = on").fetchone()
    try:
        yield
    finally:
        db.execute("pragma secure_delete = off").fetchone()


def bury(db: sqlite3.Connection, queue: Queue, seq: int, attempts: int, failure: Failure) -> None:
    """Move an unfinished job to the failed ones; only the events that failed stay."""
    if failure.payload is not None:
        with erasing(db):  # what failed stands in both, and the old copy would outlive an erasure
            db.execute("update payloads set payload = ? where seq = ?", (failure.payload, seq))
    db.execute(
        "insert into failed select seq, queue, id, iif(:bytes is null, max(events, 0), :events),"
        " coalesce(:bytes, bytes), :at, :attempts, :reason, :error, :indices, :status from jobs where seq = :seq",
        {
            "events": failure.events,
            "bytes": None if failure.payload is None else len(failure.payload),
            "at": queue.now,
            "attempts": attempts,
            "reason": as_text(failure.reason),
            "error": as_text(failure.error),
            "indices": None if failure.indices is None else json.dumps(failure.indices),
            "status": failure.status,
            "seq": seq,
        },
    )
    db.execute("delete from jobs where seq = ?", (seq,))


def revive(db: sqlite3.Connection, queue: Queue, job_id: str) -> bool:
    """Move a failed job back to the unfinished ones. False where it is not a failed job."""
    row = db.execute(
        "select seq, events, payload from failed left join payloads using (seq) where queue = ? and id = ?",
        (queue.key, job_id),
    ).fetchone()
    if row is None:
        return False
    with erasing(db):  # the copy that stays behind would outlive an erasure
        delete(db, queue, "failed", job_id)
    insert(db, queue, job_id, as_bytes(row[2]), as_count(row[1]))
    return True


def state_of(db: sqlite3.Connection, queue: Queue, job_id: str) -> JobState | None:
    """Return the state of *job_id*, or None where it is not stored."""
    row = db.execute(
        "select until, token from jobs where queue = ? and id = ?", (queue.key, job_id)
    ).fetchone()
    if row is None:
        return JobState.FAILED if find(db, queue, "failed", job_id) is not None else None
    if not isinstance(row[0], int) or row[0] <= queue.now:
        return JobState.WAITING
    return JobState.LEASED if row[1] else JobState.DELAYED


def failure_of(db: sqlite3.Connection, queue: Queue, job_id: str) -> Failure | None:
    """Return why *job_id* failed, or None where it is not a failed job."""
    row = db.execute(
        "select reason, error, events, indices, status from failed where queue = ? and id = ?",
        (queue.key, job_id),
    ).fetchone()
    if row is None:
        return None
    reason, error, events, indices, status = row
    try:
        positions = None if indices is None else tuple(json.loads(indices))
    except (TypeError, ValueError):
        positions = None
    return Failure(
        str(reason),
        str(error),
        as_count(events),
        None,
        positions,
        status if isinstance(status, int) else None,
    )


def count(db: sqlite3.Connection, queue: Queue, clock: float, sighted_since: int) -> QueueStats:
    """Return the depths, from the totals and the few jobs that are leased or delayed."""
    totals = db.execute(
        "select jobs, events, bytes, failed_jobs, failed_events, failed_bytes, accepted, delivered,"
        " given_up, purged from queues where queue = ?",
        (queue.key,),
    ).fetchone()
    moved = {0: (0, 0, 0), 1: (0, 0, 0)}
    for leased, *figures in db.execute(
        "select token != '', count(*), sum(events), sum(bytes) from jobs indexed by jobs_until"
        " where queue = ? and until > ? group by token != ''",
        (queue.key, queue.now),
    ):
        moved[leased] = (int(figures[0]), int(figures[1]), int(figures[2]))
    delayed, leased = moved[0], moved[1]
    waiting = (max(int(t) - d - ls, 0) for t, d, ls in zip(totals[:3], delayed, leased, strict=True))
    oldest = db.execute("select id from jobs where queue = ? order by id limit 1", (queue.key,)).fetchone()
    created_at = created_at_from_id(oldest[0]) if oldest and isinstance(oldest[0], str) else 0.0
    [processors] = db.execute(
        "select count(*) from processors where queue = ? and seen >= ?", (queue.key, sighted_since)
    ).fetchone()
    return QueueStats(
        Depth(*waiting),
        Depth(*delayed),
        Depth(*leased),
        Depth(*(max(int(figure), 0) for figure in totals[3:6])),
        max(clock - created_at, 0.0) if created_at else 0.0,
        processors,
        queue.paused,
        *(max(int(figure), 0) for figure in totals[6:]),
    )


def reasons(db: sqlite3.Connection, queue: Queue) -> dict[str, Depth]:
    """Return how much failed for each reason. One index holds all of it."""
    found = db.execute(
        "select reason, count(*), total(max(events, 0)), total(max(bytes, 0)) from failed where queue = ? group by reason",
        (queue.key,),
    )
    return {str(reason): Depth(jobs, int(events), int(size)) for reason, jobs, events, size in found}


def sightings(db: sqlite3.Connection, queue: Queue, since: int) -> list[tuple[str, float, str]]:
    """Return the processors seen since then, with their notes."""
    found = db.execute(
        "select token, seen, ifnull(note, '') from processors left join notes using (queue, token)"
        " where queue = ? and seen >= ?",
        (queue.key, since),
    )
    return [
        (str(token), (seen - queue.skew) / 1e6, str(note))
        for token, seen, note in found
        if isinstance(seen, int)
    ]


def rewrite(
    db: sqlite3.Connection, queue: Queue, job_id: str, expected: bytes, payload: bytes, events: int
) -> bool:
    """Put *payload* in the place of *expected*, unless the job is leased or half sent. False where it stays."""
    state = state_of(db, queue, job_id)
    table = "failed" if state is JobState.FAILED else "jobs"
    seq = find(db, queue, table, job_id)
    if state in (None, JobState.LEASED) or payload_of(db, seq) != expected:
        return False
    if table == "jobs":
        [progress, token] = db.execute("select progress, token from jobs where seq = ?", (seq,)).fetchone()
        if progress:
            return False
        if token:  # its lease ran out: a stale holder must not bring back what it read
            db.execute(
                "update jobs set token = '', until = null, attempts = attempts + 1, stalled = 1 where seq = ?",
                (seq,),
            )
    with erasing(db):
        db.execute("update payloads set payload = ? where seq = ?", (payload, seq))
    db.execute(f"update {table} set events = ?, bytes = ? where seq = ?", (events, len(payload), seq))
    tally_purged(db, queue)
    return True


_LISTED = {
    JobState.WAITING: "from jobs where queue = :key and (until is null or until <= :now)",
    JobState.DELAYED: "from jobs indexed by jobs_until where queue = :key and until > :now and token = ''",
    JobState.LEASED: "from jobs indexed by jobs_until where queue = :key and until > :now and token != ''",
}


def listing(
    db: sqlite3.Connection, queue: Queue, state: JobState, limit: int, after: str | None
) -> list[Job]:
    """Return the jobs in *state*, in their order, behind the job *after*."""
    failed = state is JobState.FAILED
    table = "failed" if failed else "jobs"
    time = "at" if failed else "due" if state is JobState.WAITING else "until"
    place = db.execute(
        f"select {time}, seq from {table} where queue = ? and id = ?", (queue.key, after)
    ).fetchone()
    if after is not None and (place is None or place[0] is None):
        # It has left that state meanwhile: go on at its creation time, so that a list comes to its end.
        place = micros(created_at_from_id(after)) + queue.skew, 0
    columns = "reason, error, at" if failed else "null, null, coalesce(until, due)"
    source = "from failed where queue = :key" if failed else _LISTED[state]
    since, seq = place or (None, None)
    behind = f"and ({time}, seq) > (:since, :seq)" if place else ""
    rows = db.execute(
        f"select id, events, bytes, attempts, {columns} {source} {behind} order by {time}, seq limit :limit",
        {"key": queue.key, "now": queue.now, "since": since, "seq": seq, "limit": limit},
    )
    return [_job(row, state, queue.skew) for row in rows]


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
