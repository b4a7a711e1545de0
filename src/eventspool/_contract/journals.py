# ruff: noqa: S101 - these are tests
"""The part of the contract that the trail rests on: bounded journals beside the jobs."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from eventspool._backends.journals import JournalEntry, keeps_journals
from eventspool._contract.tools import LONG, SHORT, SOON, depth, drain, eventually, ids_of, new_jobs

if TYPE_CHECKING:
    from eventspool._backends import Backend

__all__ = ["JournalContract"]


def bodies(entries: list[JournalEntry]) -> list[bytes]:
    """Return what *entries* say."""
    return [entry.body for entry in entries]


class JournalContract:
    """A queue keeps journals. A backend without ``append`` keeps none, and is not asked. Part of ``QueueContract``."""

    @pytest.fixture
    def keeper(self, backend: Backend) -> Backend:
        """A backend that keeps journals."""
        if not keeps_journals(backend):
            pytest.skip("this backend keeps no journals")
        return backend

    def test_a_journal_is_read_from_its_newest_entry_on(self, keeper: Backend, other: Backend) -> None:
        assert keeper.journal("trail", limit=9) == []
        assert all(keeper.append("trail", b"%d:\x00\xff\n" % n, most=9) for n in range(5))
        first, second, *rest = other.journal("trail", limit=9)
        assert bodies([first, second, *rest]) == [b"%d:\x00\xff\n" % n for n in (4, 3, 2, 1, 0)]
        assert first.at == pytest.approx(time.time(), abs=SOON)
        assert first.position > second.position
        assert other.journal("trail", limit=2) == [first, second]
        assert other.journal("trail", limit=9, before=second.position) == rest
        assert other.journal("trail", limit=9, before=rest[-1].position) == []

    def test_the_oldest_entries_make_room(self, keeper: Backend) -> None:
        for n in range(5):
            keeper.append("trail", b"%d" % n, most=3)
        assert bodies(keeper.journal("trail", limit=9)) == [b"4", b"3", b"2"]
        keeper.append("trail", b"5", most=1)
        assert bodies(keeper.journal("trail", limit=9)) == [b"5"]

    def test_large_entries_are_all_read(self, keeper: Backend) -> None:
        large = [bytes([n]) * (2 << 20) for n in range(5)]
        for body in large:
            keeper.append("trail", body, most=9)
        assert bodies(keeper.journal("trail", limit=4)) == large[:0:-1]

    def test_journals_and_jobs_keep_apart(self, keeper: Backend) -> None:
        jobs = new_jobs(2)
        keeper.append("trail", b"done", most=9)
        keeper.append("history", b"figures", most=9)
        assert [each.jobs for each in depth(keeper)] == [0, 0, 0, 0]
        keeper.commit(jobs)
        keeper.ack(ids_of(drain(keeper, "t")))
        assert bodies(keeper.journal("trail", limit=9)) == [b"done"]
        assert bodies(keeper.journal("history", limit=9)) == [b"figures"]
        assert keeper.repair() == 0

    def test_of_many_that_append_at_once_one_does(self, keeper: Backend, other: Backend) -> None:
        with ThreadPoolExecutor(4) as pool:
            done = list(
                pool.map(
                    lambda n: (keeper, other)[n % 2].append("history", b"%d" % n, most=9, apart=LONG),
                    range(8),
                )
            )
        assert done.count(True) == 1
        assert bodies(keeper.journal("history", limit=9)) == [b"%d" % done.index(True)]
        assert eventually(lambda: keeper.append("history", b"later", most=9, apart=SHORT))

    def test_an_entry_is_amended_in_its_place(self, keeper: Backend, other: Backend) -> None:
        for body in (b"one", b"secret", b"three"):
            keeper.append("trail", body, most=9)
        _, entry, _ = keeper.journal("trail", limit=9)
        assert not other.amend("trail", entry.position, b"another", b"lost"), "something else is there"
        assert not other.amend("trail", entry.position + 9, b"secret", b"lost")
        assert not other.amend("history", entry.position, b"secret", b"lost")
        assert other.amend("trail", entry.position, b"secret", b"erased")
        newest, amended, oldest = keeper.journal("trail", limit=9)
        assert bodies([newest, amended, oldest]) == [b"three", b"erased", b"one"]
        assert (amended.position, amended.at) == (entry.position, entry.at)
