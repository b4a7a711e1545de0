"""The tables of a SQLite queue file, and what is set on every connection to it."""

from __future__ import annotations

__all__ = ["ADDITIONS", "APPLICATION_ID", "CONNECTION_PRAGMAS", "TABLES", "VERSION"]

APPLICATION_ID = 1163087953
"""Marks a file as ours, so that another application's database is never touched."""
VERSION = 1
"""Of the tables. A file with a newer one is left alone."""

# Delivered payloads are not overwritten where they stood, as some builds of SQLite do by default: it costs as much as
# storing them. What is purged is, see `erasing`.
CONNECTION_PRAGMAS = """
pragma wal_autocheckpoint = 1000;
pragma journal_size_limit = 8388608;
pragma mmap_size = 0;
pragma trusted_schema = off;
pragma secure_delete = off;
pragma cell_size_check = on;
"""
# The payloads stand apart, so that no claim, list or count reads past them. The totals are kept by triggers: exact,
# in the same transaction, whoever writes. Times are microseconds of the queue's own clock, which never goes back.
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

# What later releases added, by a table that shows that a file has it. A program that knows only the tables above works on
# beside it, so the version stays.
ADDITIONS = {
    "notes": """
alter table queues add column paused integer not null default 0;
alter table queues add column accepted integer not null default 0;  -- events, of all time; so the next two
alter table queues add column delivered integer not null default 0;
alter table queues add column given_up integer not null default 0;
alter table queues add column epoch text not null default '';  -- who deletes the file takes it along
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
}
