"""The journals of a queue in Redis: ``lua/journals.lua`` says what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._backends.journals import JournalEntry
from eventspool._backends.rules import READ_BYTES

if TYPE_CHECKING:
    from eventspool._backends.redis.connection import Connection

__all__ = ["Journals"]


class Journals:
    """The part of a queue in Redis that keeps journals (see ``Backend`` for what each method promises)."""

    _connection: Connection

    def append(self, journal: str, entry: bytes, *, most: int, apart: float = 0.0) -> bool:
        """Append *entry* to *journal*."""
        return bool(self._connection.run("append", journal, entry, most, round(apart * 1e6)))

    def journal(self, journal: str, *, limit: int, before: int | None = None) -> list[JournalEntry]:
        """Return entries of *journal*, the newest first; no reply of the server has more than ``READ_BYTES``."""
        found: list[JournalEntry] = []
        while limit > len(found):
            wanted = limit - len(found)
            page = self._connection.run(
                "journal", journal, wanted, "" if before is None else before, READ_BYTES
            )
            if not page:
                break
            found += (
                JournalEntry(int(position), int(at) / 1e6, body)
                for position, at, body in zip(page[::3], page[1::3], page[2::3], strict=True)
            )
            before = found[-1].position
        return found

    def amend(self, journal: str, position: int, expected: bytes, entry: bytes) -> bool:
        """Put *entry* in the place of *expected*."""
        return bool(self._connection.run("amend", journal, position, expected, entry))
