"""The tables of a SQLite queue file, what is set on every connection to it, and whether a file is one at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from eventspool._backends.sqlite.errors import Damaged
from eventspool._exceptions import QueueError

if TYPE_CHECKING:
    import sqlite3

__all__ = ["ADDITIONS", "TABLES", "adopt"]

_APPLICATION_ID = 1163087953
"""Marks a file as ours, so that another application's database is never touched."""
_VERSION = 1
"""The version of the tables. A file with a newer one is left alone."""
_CHECKED_BYTES = 32 << 20
"""A file up to this size is checked as a whole when it is opened; that takes less than a tenth of a second."""

# Some builds of SQLite overwrite what is deleted by default, which costs as much as storing it. A payload that was
# delivered need not be overwritten; one that is purged is, see `rows.erasing`.
_CONNECTION_PRAGMAS = """
pragma wal_autocheckpoint = 1000;
pragma journal_size_limit = 8388608;
pragma mmap_size = 0;
pragma trusted_schema = off;
pragma secure_delete = off;
pragma cell_size_check = on;
"""
# The payloads stand apart, so that no claim, list or count reads past them. Triggers keep the totals, in the same
# transaction: they stay exact when another program writes. Times are microseconds of the queue's own clock, which never
# goes back.
TABLES = """
pragma application_id = 1163087953;
pragma user_version = 1;

create table queues (
    queue integer primary key, name text not null unique,
    clock integer not null default 0, skew integer not null default 0,
    holder text not null default '', held_until integer not null default 0,
    jobs integer not null default 0, events integer not null default 0, bytes integer not null default 0,
    failed_jobs integer not null default 0, failed_events integer not null default 0,
    failed_bytes integer not null default 0
);
create table payloads (seq integer primary key, payload blob);

create table jobs (  -- unfinished; seq is the payload's and orders what is due together
    seq integer primary key, queue integer, id text, events integer, bytes integer,
    due integer,    -- the place in the order
    until integer,  -- when the lease or the delay ends; null for a job that has neither
    token text not null default '', attempts integer not null default 0,
    stalled integer not null default 0, progress text not null default ''
);
create unique index jobs_id on jobs (queue, id);
create index jobs_due on jobs (queue, due);
create index jobs_until on jobs (queue, until, token, events, bytes) where until is not null;

create table failed (
    seq integer primary key, queue integer, id text, events integer, bytes integer, at integer,
    attempts integer, reason text, error text, indices text, status integer
);
create unique index failed_id on failed (queue, id);
create index failed_at on failed (queue, at);

create table processors (queue integer, token text, seen integer, primary key (queue, token)) without rowid;

create trigger jobs_in after insert on jobs begin
    update queues set jobs = jobs + 1, events = events + new.events, bytes = bytes + new.bytes
    where queue = new.queue;
end;
create trigger jobs_out after delete on jobs begin
    update queues set jobs = jobs - 1, events = events - old.events, bytes = bytes - old.bytes
    where queue = old.queue;
end;
create trigger jobs_edited after update of events, bytes on jobs begin
    update queues set events = events - old.events + new.events, bytes = bytes - old.bytes + new.bytes
    where queue = new.queue;
end;
create trigger failed_in after insert on failed begin
    update queues set failed_jobs = failed_jobs + 1, failed_events = failed_events + new.events,
        failed_bytes = failed_bytes + new.bytes
    where queue = new.queue;
end;
create trigger failed_out after delete on failed begin
    update queues set failed_jobs = failed_jobs - 1, failed_events = failed_events - old.events,
        failed_bytes = failed_bytes - old.bytes
    where queue = old.queue;
end;
"""

# What later releases added, each under the table that shows whether a file has it. A program that knows only the tables
# above goes on working beside it, so the version stays the same.
ADDITIONS = {
    "notes": """
alter table queues add column paused integer not null default 0;
alter table queues add column accepted integer not null default 0;  -- events, of all time; so the next two
alter table queues add column delivered integer not null default 0;
alter table queues add column given_up integer not null default 0;
alter table queues add column epoch text not null default '';  -- gone with the file: so a new file is told from the old one
update queues set epoch = hex(randomblob(8));
create table notes (queue integer, token text, note text, primary key (queue, token)) without rowid;
create index failed_reason on failed (queue, reason, events, bytes);
create trigger failed_edited after update of events, bytes on failed begin
    update queues set failed_events = failed_events - old.events + new.events,
        failed_bytes = failed_bytes - old.bytes + new.bytes
    where queue = new.queue;
end;
""",
    "purged": """
alter table queues add column purged integer not null default 0;  -- events, of all time
create table purged (queue integer, id text, at integer, primary key (queue, id)) without rowid;  -- the last ones
create index purged_at on purged (queue, at, id);
""",
    "fates": """
alter table queues add column moved integer not null default 0;  -- events, of all time
create table fates (queue integer, id text, fate text, primary key (queue, id)) without rowid;  -- of those in `purged`
create trigger purged_out after delete on purged begin
    delete from fates where queue = old.queue and id = old.id;
end;
""",
    "fleet": """
alter table queues add column answered integer not null default 0;  -- when an event was last delivered
create table fleet (queue integer primary key, holding text, doubt text, paid integer);  -- see `_backends/fleet.py`
""",
    "journals": """
create table journals (entry integer primary key, queue integer, journal text, position integer, at integer, body blob);
create unique index journals_position on journals (queue, journal, position);
""",
}


def adopt(connection: sqlite3.Connection, path: str) -> None:
    """
    Make sure that the file is a sound queue of ours, or an empty file that becomes one.

    Raises:
        Damaged: SQLite's check found something wrong.
        QueueError: The file is not ours, is newer than this program, or cannot have a log.
    """
    [application_id] = connection.execute("pragma application_id").fetchone()
    [version] = connection.execute("pragma user_version").fetchone()
    tables = {name for [name] in connection.execute("select name from sqlite_master").fetchall()}
    if tables and application_id != _APPLICATION_ID:
        raise QueueError(
            "the file is another application's SQLite database: choose another path for the queue"
        )
    if version > _VERSION:
        raise QueueError(
            f"the SQLite queue was written by a newer eventspool (layout {version}, this one knows {_VERSION}): "
            "upgrade this installation or choose another path"
        )
    if tables and os.stat(path).st_size <= _CHECKED_BYTES:  # noqa: PTH116 - plain strings, as everywhere here
        [verdict] = connection.execute("pragma quick_check(1)").fetchone()
        if verdict != "ok":
            raise Damaged
    [mode] = connection.execute("pragma journal_mode = wal").fetchone()
    if mode != "wal":
        raise QueueError(
            "the SQLite queue's file system does not support a write-ahead log: choose another path"
        )
    connection.executescript(_CONNECTION_PRAGMAS)
    missing = "" if tables else TABLES
    missing += "".join(addition for table, addition in ADDITIONS.items() if table not in tables)
    if missing:
        connection.executescript(f"pragma synchronous = full; begin immediate; {missing} commit;")
