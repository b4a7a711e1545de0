# ruff: noqa: S608 - the only text put into a statement is written in this module
"""
The rows of a queue's jobs. Each function works inside the caller's transaction, and takes any rubbish for a value.

What a statement finds is fetched at once. After an interruption, a traceback may keep the cursor alive; it would then count
as a reader, and SQLite would have to keep the log for it.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from eventspool._backends.rules import READ_BYTES, count_within, positions_of
from eventspool._backends.sqlite.queues import find_fates, remember, tally_gone
from eventspool._backends.sqlite.values import as_bytes, as_count, as_id, as_text, micros
from eventspool._envelope import MAX_PAYLOAD_BYTES, OVERSIZED
from eventspool._job import LOST, Failure, JobState

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from eventspool._backends.sqlite.queues import Queue
    from eventspool._job import NewJob, Rewrite

__all__ = [
    "END_STALLED",
    "NOT_SENT",
    "bury",
    "delete_stored",
    "erasing",
    "expedite",
    "find",
    "find_stored",
    "has_stalled",
    "insert",
    "lookup",
    "mend_times",
    "payload_of",
    "payloads_of",
    "revive",
    "rewrite",
    "state_of",
]

_AT_ONCE = 500
"""Most jobs whose payloads are read in one step. Old builds of SQLite take 999 values in a statement."""
NOT_SENT = 2
"""In ``stalled``, while a job is leased: its holder does not mean to send it."""
END_STALLED = f"attempts = attempts + (stalled != {NOT_SENT}), stalled = (stalled != {NOT_SENT}), token = '', until = null"
"""Ends a lease that ran out. That costs an attempt if the holder meant to send the job."""


def payload_of(db: sqlite3.Connection, seq: int | None) -> bytes | None:
    """Return a job's payload; ``OVERSIZED`` instead of one that is larger than any batch, without reading it."""
    row = db.execute(
        "select iif(length(payload) > ?, ?, payload) from payloads where seq = ?",
        (MAX_PAYLOAD_BYTES, OVERSIZED, seq),
    ).fetchone()
    return as_bytes(row[0]) if row is not None else None


def payloads_of(db: sqlite3.Connection, queue: Queue, ids: Sequence[str]) -> dict[str, bytes | None]:
    """Return the payloads of the first of *ids*, as many as ``READ_BYTES`` hold (see ``Backend.payloads``)."""
    ids = ids[:_AT_ONCE]
    places: dict[str, tuple[int, int]] = {}
    marks = ", ".join("?" * len(ids))
    for table in ("jobs", "failed"):
        found = db.execute(
            f"select id, seq, ifnull(length(payload), 0) from {table} join payloads using (seq)"
            f" where queue = ? and id in ({marks})",
            (queue.key, *map(as_id, ids)),
        ).fetchall()
        places.update((job_id, (seq, size)) for job_id, seq, size in found)
    chosen = [places.get(job_id, (None, 0)) for job_id in ids]
    within = count_within((size for _, size in chosen), READ_BYTES)
    wanted = {job_id: seq for job_id, (seq, _) in zip(ids, chosen[:within], strict=False)}
    marks = ", ".join("?" * len(wanted))
    stored = dict(
        db.execute(
            f"select seq, iif(length(payload) > {MAX_PAYLOAD_BYTES}, ?, payload) from payloads where seq in ({marks})",
            (OVERSIZED, *wanted.values()),
        ).fetchall()
    )
    return {job_id: as_bytes(stored.get(seq)) for job_id, seq in wanted.items()}


def find(db: sqlite3.Connection, queue: Queue, table: str, job_id: str) -> int | None:
    """Return the number of *job_id*'s row in *table*, ``jobs`` or ``failed``."""
    row = db.execute(
        f"select seq from {table} where queue = ? and id = ?", (queue.key, as_id(job_id))
    ).fetchone()
    return row[0] if row is not None else None


def find_stored(db: sqlite3.Connection, queue: Queue, job_id: str) -> int | None:
    """Return the number of *job_id*'s row, unfinished or failed."""
    return find(db, queue, "jobs", job_id) or find(db, queue, "failed", job_id)


def insert(db: sqlite3.Connection, queue: Queue, job: NewJob) -> None:
    """Store a job behind all others, due now; among the failed ones if it has failed in another queue."""
    if job.failure is None:
        _insert(db, queue, job.id, job.payload, job.events, job.attempts, job.progress)
    else:
        _insert_failed(db, queue, job, job.failure)


def _insert(
    db: sqlite3.Connection,
    queue: Queue,
    job_id: str,
    payload: bytes | None,
    events: int,
    attempts: int = 0,
    progress: str = "",
) -> None:
    db.execute(
        "insert into jobs (seq, queue, id, events, bytes, due, attempts, progress) values (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            _insert_payload(db, payload),
            queue.key,
            job_id,
            events,
            len(payload or b""),
            queue.now,
            attempts,
            as_text(progress),
        ),
    )


def _insert_failed(db: sqlite3.Connection, queue: Queue, job: NewJob, failure: Failure) -> None:
    db.execute(
        "insert into failed (seq, queue, id, events, bytes, at, attempts, reason, error, indices, status)"
        " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            _insert_payload(db, job.payload),
            queue.key,
            job.id,
            job.events,
            len(job.payload),
            micros(job.failed_at) + queue.skew,
            job.attempts,
            as_text(failure.reason),
            as_text(failure.error),
            None if failure.indices is None else json.dumps(failure.indices),
            failure.status,
        ),
    )


def _insert_payload(db: sqlite3.Connection, payload: bytes | None) -> int | None:
    # SQLite would number it by the payloads alone. A job whose payload is gone would then share its number with another.
    return db.execute(
        "insert into payloads values (1 + max(ifnull((select max(seq) from payloads), 0),"
        " ifnull((select max(seq) from jobs), 0), ifnull((select max(seq) from failed), 0)), ?)",
        (payload,),
    ).lastrowid


def has_stalled(holder: object, stalled: object) -> bool:
    """Say whether the last holder of a due job meant to send it, and did not end that lease."""
    return bool(holder) and stalled != NOT_SENT


def delete_stored(db: sqlite3.Connection, queue: Queue, job_id: str) -> bool:
    """Delete a job, unfinished or failed, and its payload. False if there is none."""
    return _delete(db, queue, "jobs", job_id) or _delete(db, queue, "failed", job_id)


def _delete(db: sqlite3.Connection, queue: Queue, table: str, job_id: str) -> bool:
    seq = find(db, queue, table, job_id)
    if seq is None:
        return False
    db.execute(f"delete from {table} where seq = ?", (seq,))
    db.execute("delete from payloads where seq = ?", (seq,))
    return True


@contextlib.contextmanager
def erasing(db: sqlite3.Connection) -> Iterator[None]:
    """Have SQLite overwrite what is deleted meanwhile: a user may have asked for the erasure."""
    db.execute("pragma secure_delete = on").fetchone()
    try:
        yield
    finally:
        db.execute("pragma secure_delete = off").fetchone()


def bury(db: sqlite3.Connection, queue: Queue, seq: int, attempts: int, failure: Failure) -> None:
    """Move an unfinished job to the failed ones; only the events that failed stay."""
    if failure.payload is not None:
        with erasing(
            db
        ):  # the events that failed stand in both payloads, and the old one would outlive an erasure
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
    """Move a failed job back to the unfinished ones. False if it is not a failed job."""
    row = db.execute(
        "select seq, events, payload from failed left join payloads using (seq) where queue = ? and id = ?",
        (queue.key, as_id(job_id)),
    ).fetchone()
    if row is None:
        return False
    with erasing(db):  # the row that is left behind would outlive an erasure
        _delete(db, queue, "failed", job_id)
    _insert(db, queue, job_id, as_bytes(row[2]), as_count(row[1]))
    return True


def expedite(db: sqlite3.Connection, queue: Queue, job_id: str) -> bool:
    """Make a delayed job due at once. False if it is not delayed."""
    done = db.execute(
        "update jobs set until = null, due = min(due, :now)"
        " where queue = :key and id = :id and token = '' and until > :now",
        {"key": queue.key, "id": as_id(job_id), "now": queue.now},
    )
    return bool(done.rowcount)


def state_of(db: sqlite3.Connection, queue: Queue, job_id: str) -> JobState | None:
    """Return the state of *job_id*, or None if it is not stored."""
    row = db.execute(
        "select until, token from jobs where queue = ? and id = ?", (queue.key, as_id(job_id))
    ).fetchone()
    if row is None:
        return JobState.FAILED if find(db, queue, "failed", job_id) is not None else None
    if not isinstance(row[0], int) or row[0] <= queue.now:
        return JobState.WAITING
    return JobState.LEASED if row[1] else JobState.DELAYED


def _failure_of(db: sqlite3.Connection, queue: Queue, job_id: str) -> Failure | None:
    """Return why *job_id* failed, or None if it is not a failed job."""
    row = db.execute(
        "select reason, error, events, indices, status from failed where queue = ? and id = ?",
        (queue.key, as_id(job_id)),
    ).fetchone()
    if row is None:
        return None
    reason, error, events, indices, status = row
    return Failure(
        str(reason),
        str(error),
        as_count(events),
        None,
        positions_of(indices),
        status if isinstance(status, int) else None,
    )


def rewrite(db: sqlite3.Connection, queue: Queue, rewrites: Sequence[Rewrite]) -> list[bool]:
    """Put payloads in the place of others, unless a job is leased or half sent. False for each job that stays as it is."""
    done = [_rewrite(db, queue, each) for each in rewrites]
    if any(done):
        tally_gone(db, queue, "purged")
    cut = [each for each, is_done in zip(rewrites, done, strict=True) if is_done and each.purged]
    if cut:
        remember(db, queue, {each.job_id: json.dumps(each.purged) for each in cut})
    return done


def _rewrite(db: sqlite3.Connection, queue: Queue, wanted: Rewrite) -> bool:
    state = state_of(db, queue, wanted.job_id)
    table = "failed" if state is JobState.FAILED else "jobs"
    seq = find(db, queue, table, wanted.job_id)
    if state in (None, JobState.LEASED) or payload_of(db, seq) != wanted.expected:
        return False
    if table == "jobs":
        [progress, token] = db.execute("select progress, token from jobs where seq = ?", (seq,)).fetchone()
        if progress:
            return False
        if token:  # its lease ran out: a stale holder must not bring back what it read
            db.execute(f"update jobs set {END_STALLED} where seq = ?", (seq,))
    with erasing(db):
        db.execute("update payloads set payload = ? where seq = ?", (wanted.payload, seq))
    db.execute(
        f"update {table} set events = ?, bytes = ? where seq = ?", (wanted.events, len(wanted.payload), seq)
    )
    return True


def lookup(db: sqlite3.Connection, queue: Queue, ids: Sequence[str], epoch: str) -> dict[str, Failure | None]:
    """Say which of *ids* are stored, and what became of the others (see ``Backend.lookup``)."""
    stored: dict[str, Failure | None] = {}
    for job_id in ids:
        failure = _failure_of(db, queue, job_id)
        if failure is not None or find(db, queue, "jobs", job_id) is not None:
            stored[job_id] = failure
    fates = find_fates(db, queue, ids)
    for job_id, failure in stored.items():
        if failure is not None and job_id in fates:
            stored[job_id] = replace(failure, purged=fates[job_id].indices or ())
    lost = ids if epoch not in ("", queue.epoch) else []
    return {**dict.fromkeys(lost, LOST), **fates, **stored}


def mend_times(db: sqlite3.Connection, queue: Queue) -> int:
    """Make jobs due whose time is no number. Return how many there were."""
    repaired = 0
    for rubbish in ("due is null", "due >= ''"):  # text sorts behind all numbers: the index finds both
        repaired += db.execute(
            f"update jobs set due = ?, until = null, token = '' where queue = ? and {rubbish}",
            (queue.now, queue.key),
        ).rowcount
    return repaired
