"""The journals of a queue in a SQLite file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from eventspool._backends.journals import JournalEntry
from eventspool._backends.rules import READ_BYTES, count_within
from eventspool._backends.sqlite.rows import erasing
from eventspool._backends.sqlite.values import as_bytes, micros

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from eventspool._backends.sqlite.queues import Queue

__all__ = ["Journals"]

T = TypeVar("T")

_AT_ONCE = 500
"""Most entries that are read in one step, which other processes have to wait for."""


class Journals:
    """The part of a queue in a file that keeps journals (see ``Backend`` for what each method promises)."""

    if TYPE_CHECKING:

        def _run(
            self,
            step: Callable[[sqlite3.Connection, Queue], T],
            *,
            durable: bool = False,
            growing: bool = False,
        ) -> T: ...

    def append(self, journal: str, entry: bytes, *, most: int, apart: float = 0.0) -> bool:
        """Append *entry* to *journal*. It is small and bounded, so that a disk that is nearly full takes it, too."""

        def step(db: sqlite3.Connection, queue: Queue) -> bool:
            at = queue.now - queue.skew
            newest = db.execute(
                "select position, at from journals where queue = ? and journal = ? order by position desc limit 1",
                (queue.key, journal),
            ).fetchone()
            last, noted = map(_as_number, newest) if newest else (0, 0)
            if newest and 0 <= at - noted < micros(apart):
                return False
            with erasing(db):
                db.execute(
                    "delete from journals where queue = ? and journal = ? and position <= ?",
                    (queue.key, journal, last + 1 - most),
                )
            db.execute(
                "insert into journals (queue, journal, position, at, body) values (?, ?, ?, ?, ?)",
                (queue.key, journal, last + 1, at, entry),
            )
            return True

        return self._run(step, durable=True)

    def journal(self, journal: str, *, limit: int, before: int | None = None) -> list[JournalEntry]:
        """Return entries of *journal*, the newest first. One step reads no more than ``READ_BYTES``, or one entry."""
        found: list[JournalEntry] = []
        while len(found) < limit:
            page = self._run(partial(_read, journal=journal, limit=limit - len(found), before=before))
            if not page:
                break
            found += page
            before = page[-1].position
        return found

    def amend(self, journal: str, position: int, expected: bytes, entry: bytes) -> bool:
        """Put *entry* in the place of *expected*, and overwrite what was there."""

        def step(db: sqlite3.Connection, queue: Queue) -> bool:
            with erasing(db):
                done = db.execute(
                    "update journals set body = ? where queue = ? and journal = ? and position = ? and body = ?",
                    (entry, queue.key, journal, position, expected),
                )
            return bool(done.rowcount)

        return self._run(step, durable=True)


def _read(
    db: sqlite3.Connection, queue: Queue, journal: str, limit: int, before: int | None
) -> list[JournalEntry]:
    """Return the entries of one page."""
    sizes = db.execute(
        "select position, ifnull(length(body), 0) from journals where queue = ? and journal = ?"
        " and (? is null or position < ?) order by position desc limit ?",
        (queue.key, journal, before, before, min(limit, _AT_ONCE)),
    ).fetchall()
    if not sizes:
        return []
    within = count_within((size for _, size in sizes), READ_BYTES)
    found = db.execute(
        "select position, at, body from journals where queue = ? and journal = ? and position between ? and ?"
        " order by position desc",
        (queue.key, journal, sizes[within - 1][0], sizes[0][0]),
    ).fetchall()
    return [
        JournalEntry(_as_number(position), _as_number(at) / 1e6, as_bytes(body) or b"")
        for position, at, body in found
    ]


def _as_number(value: object) -> int:
    return value if isinstance(value, int) else 0
