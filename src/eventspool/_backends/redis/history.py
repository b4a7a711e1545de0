"""
What a producer was told by its server, to notice that the server went back in time.

A server goes back where a replica takes its place that had not received the last commits, or where it starts again from a file
that lacks them. It is the same queue then, with the same epoch, and what is missing there looks like what other processes have
delivered. So each producer's commits are numbered. The server keeps the number of the last one, by producer, and the producer
says with each commit and each look-up which number it was told last. Where the server knows only a lower one, it has lost the
commits above that, and these alone.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from eventspool._claim import new_token
from eventspool._job import created_at_from_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["History"]

_REMEMBERED: Final = 10_000
"""Jobs whose commits are remembered: about a megabyte. A replica is behind by seconds, in which fewer are committed."""


class History:
    """
    The commits of one producer, which is one backend in one process, as its server has told of them.

    It is not safe between threads. Where an exception cuts off a step, a commit may count as one whose outcome is not known.
    """

    def __init__(self) -> None:
        self.token = new_token()
        self.told: bytes | int = 0
        """The number of the last commit that the server has acknowledged."""
        self._unconfirmed: dict[
            str, None
        ] = {}  # what the server has stored, and too few replicas have confirmed
        self._commits: deque[tuple[bytes | int, Sequence[str]]] = deque()
        self._remembered = 0
        self._forgotten: bytes | int = 0  # the number of the last commit that is not remembered any more
        self._gone: dict[str, None] = {}
        self._doubted_before = 0.0

    def note(self, number: bytes | int, ids: Sequence[str]) -> None:
        """Note that the server has acknowledged commit *number*, as it has written that, which stored *ids*."""
        for job_id in ids if self._gone else ():
            self._gone.pop(job_id, None)
        if ids:
            self._commits.append((number, ids))
            self._remembered += len(ids)
        while self._remembered > _REMEMBERED:
            self._forgotten, dropped = self._commits.popleft()
            self._remembered -= len(dropped)
        self.told = number

    def rewind(self, number: int, now: float) -> int:
        """
        Note that *number* is the last commit that the server knows of. Return how many jobs are not known there any more.

        Args:
            number: That number; 0 where the server knows of none.
            now: Seconds since the epoch, by the clock of this process, which its job ids are made from.
        """
        found = 0
        while self._commits and int(self._commits[-1][0]) > number:
            ids = self._commits[-1][1]
            self._gone.update(dict.fromkeys(ids))
            self.confirm(ids)
            self._commits.pop()
            self._remembered -= len(ids)
            found += len(ids)
        if int(self._forgotten) > number:
            # Commits are lost that are not remembered. Which jobs they had is not known, but that they are older than this.
            self._doubted_before, self._forgotten = now, number
        while len(self._gone) > _REMEMBERED:
            del self._gone[next(iter(self._gone))]
        self.told = number
        return found

    def is_gone(self, job_id: str) -> bool:
        """Say whether the server has lost the commit that stored *job_id*, or may have lost it."""
        if job_id in self._gone:
            return True
        if not self._doubted_before or created_at_from_id(job_id) > self._doubted_before:
            return False
        return not any(job_id in ids for _, ids in self._commits)

    def note_unconfirmed(self, ids: Sequence[str]) -> None:
        """
        Note that the server has stored *ids*, and that replicas have not confirmed them yet.

        Their commit is repeated at once, unless they go to another server or are given up. So the oldest are forgotten.
        """
        for job_id in ids:
            self._unconfirmed.pop(job_id, None)
            self._unconfirmed[job_id] = None
        while len(self._unconfirmed) > _REMEMBERED:
            del self._unconfirmed[next(iter(self._unconfirmed))]

    def find_unconfirmed(self, ids: Iterable[str]) -> set[str]:
        """Return those of *ids* that are stored and were not confirmed."""
        return {job_id for job_id in ids if job_id in self._unconfirmed} if self._unconfirmed else set()

    def confirm(self, ids: Iterable[str]) -> None:
        """Note that nothing is left to be confirmed of *ids*: replicas have them, or the server has lost them."""
        for job_id in ids if self._unconfirmed else ():
            self._unconfirmed.pop(job_id, None)
