# ruff: noqa: S608 - the only text put into a statement is written in this module
"""
The row of one queue: its time, its totals, its processors, and what became of jobs that are gone.

Each function works inside the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eventspool._backends.rules import PROCESSOR_TTL, positions_of
from eventspool._backends.sqlite.values import as_id, as_text, micros
from eventspool._job import MOVED, PURGED, PURGED_FOR, PURGED_KEPT, Failure

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

__all__ = [
    "MOVED_ON",
    "PURGED_WHOLE",
    "Queue",
    "find_fates",
    "hold",
    "keep_time",
    "list_processors",
    "list_used",
    "note_processor",
    "pause",
    "read_queue",
    "remember",
    "sighted_since",
    "tally",
    "tally_gone",
]

_SIGHTING = micros(1.0)
"""A processor is noted as alive at most this often, so that an idle one does not write all the time."""
_MOST_OTHERS = 20
PURGED_WHOLE, MOVED_ON = "", "moved"
"""What is remembered of a job that is gone; of one out of which events were erased, their positions as JSON."""


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


def read_queue(db: sqlite3.Connection, name: str, clock: float) -> Queue:
    """Return the row of the queue *name*; make it if there is none."""
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
        # Stored at once. An idle queue has no step that would store it later, so its time would stand still.
        db.execute("update queues set skew = ? where queue = ?", (skew, key))
    return Queue(
        key, now, skew, holder, held_until, jobs, size, events, failed_events, bool(paused), str(epoch)
    )


def keep_time(db: sqlite3.Connection, queue: Queue) -> None:
    """Store the queue's time, so that no process sees an earlier one."""
    db.execute("update queues set clock = ?, skew = ? where queue = ?", (queue.now, queue.skew, queue.key))


def hold(db: sqlite3.Connection, queue: Queue, token: str, seconds: float) -> None:
    """Lease the whole queue to *token*."""
    keep_time(db, queue)
    db.execute(
        "update queues set holder = ?, held_until = ? where queue = ?",
        (token, queue.now + micros(seconds), queue.key),
    )


def list_used(db: sqlite3.Connection, queue: Queue) -> tuple[bool, tuple[str, ...], float]:
    """
    Return whether a job was ever stored in *queue*, which other queues of the file were used, and the seconds that the clock
    was set back by and has not caught up on.
    """
    found = db.execute(
        "select queue, name from queues where accepted + jobs + failed_jobs + moved + purged > 0 order by name"
    ).fetchall()
    [own] = db.execute("select name from queues where queue = ?", (queue.key,)).fetchone()
    prefix = str(own).partition(":")[0]
    others = []
    for key, text in found:
        before, _, name = str(text).partition(":")
        if key != queue.key:
            others.append(name if before == prefix else f"{name} (with the prefix {before})")
    return any(key == queue.key for key, _ in found), tuple(others[:_MOST_OTHERS]), queue.skew / 1e6


def list_names(db: sqlite3.Connection, queue: Queue) -> list[str]:  # noqa: ARG001
    """Return the names of the file's queues in which a job was ever stored."""
    found = db.execute(
        "select name from queues where accepted + jobs + failed_jobs + moved + purged > 0 order by name"
    )
    return [str(name) for (name,) in found]


def pause(db: sqlite3.Connection, queue: Queue, paused: bool) -> None:  # noqa: FBT001
    """Stop or resume handing out jobs."""
    db.execute("update queues set paused = ? where queue = ?", (int(paused), queue.key))


# Totals.


def tally(db: sqlite3.Connection, queue: Queue, accepted: int = 0, given_up_before: int = 0) -> None:
    """Add what this step has done to the totals of all time. The depths, which triggers keep, tell what it was."""
    db.execute(
        "update queues set accepted = accepted + ?, delivered = delivered + max(? - events - failed_events, 0),"
        " answered = case when events + failed_events < ? then ? else answered end,"
        " given_up = given_up + max(failed_events - ?, 0) where queue = ?",
        (
            accepted,
            queue.events,
            queue.events,
            queue.now,
            queue.failed_events + given_up_before,
            queue.key,
        ),
    )


def tally_gone(db: sqlite3.Connection, queue: Queue, total: str) -> None:
    """Add what this step has deleted undelivered to its *total* of all time, ``purged`` or ``moved``."""
    db.execute(
        f"update queues set {total} = {total} + max(? - events - failed_events, 0) where queue = ?",
        (queue.events, queue.key),
    )


# Jobs that are gone.


def remember(db: sqlite3.Connection, queue: Queue, fates: Mapping[str, str]) -> None:
    """Remember what became of these jobs, and forget what became of the oldest."""
    for job_id, fate in fates.items():
        db.execute(
            "insert or replace into purged (queue, id, at) values (?, ?, ?)", (queue.key, job_id, queue.now)
        )
        if fate == PURGED_WHOLE:
            db.execute("delete from fates where queue = ? and id = ?", (queue.key, job_id))
        else:
            db.execute(
                "insert or replace into fates (queue, id, fate) values (?, ?, ?)", (queue.key, job_id, fate)
            )
    db.execute(
        "delete from purged where queue = :key and (at <= :outdated or id in (select id from purged"
        " where queue = :key order by at desc, id desc limit -1 offset :kept))",
        {"key": queue.key, "outdated": queue.now - micros(PURGED_FOR), "kept": PURGED_KEPT},
    )


def find_fates(db: sqlite3.Connection, queue: Queue, ids: Iterable[str]) -> dict[str, Failure]:
    """Return what is remembered of those of *ids* that were purged, as a whole or in part, or moved."""
    if db.execute("select 1 from purged where queue = ? limit 1", (queue.key,)).fetchone() is None:
        return {}  # as nearly always
    query = "select ifnull(fate, '') from purged left join fates using (queue, id) where queue = ? and id = ?"
    found = ((job_id, db.execute(query, (queue.key, as_id(job_id))).fetchone()) for job_id in ids)
    fates = {job_id: str(row[0]) for job_id, row in found if row is not None}
    return {
        job_id: MOVED if fate == MOVED_ON else replace(PURGED, indices=positions_of(fate))
        for job_id, fate in fates.items()
    }


# Processors.


def sighted_since(queue: Queue) -> int:
    """Return the time since which a processor must have been noted to count as live."""
    return queue.now - micros(PROCESSOR_TTL)


def note_processor(db: sqlite3.Connection, queue: Queue, token: str, note: str = "") -> None:
    """Count *token* among the live processors. *note* replaces its last one, unless it is empty."""
    seen = db.execute(
        "select seen from processors where queue = ? and token = ?", (queue.key, token)
    ).fetchone()
    if seen is None or not isinstance(seen[0], int) or abs(queue.now - seen[0]) >= _SIGHTING:
        db.execute("delete from processors where queue = ? and seen < ?", (queue.key, sighted_since(queue)))
        db.execute(
            "delete from notes where queue = :key and token not in (select token from processors where queue = :key)",
            {"key": queue.key},
        )
        db.execute("insert or replace into processors values (?, ?, ?)", (queue.key, token, queue.now))
    if note:
        db.execute(
            "insert or replace into notes (queue, token, note) values (?, ?, ?)",
            (queue.key, token, as_text(note)),
        )


def list_processors(db: sqlite3.Connection, queue: Queue) -> list[tuple[str, float, str]]:
    """Return the live processors: token, when it was last noted, its last note."""
    found = db.execute(
        "select token, seen, ifnull(note, '') from processors left join notes using (queue, token)"
        " where queue = ? and seen >= ?",
        (queue.key, sighted_since(queue)),
    ).fetchall()
    return [
        (str(token), (seen - queue.skew) / 1e6, str(note))
        for token, seen, note in found
        if isinstance(seen, int)
    ]
