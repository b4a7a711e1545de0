"""
Which jobs share a request. Pure.

Consecutive jobs travel together, as many as fit into one request body. They stay jobs of their own: each keeps its lease, its
attempts and its progress, and may end otherwise than its companions. Nothing waits for company: what is due is sent at once.

How many may travel together grows with each good answer, and is halved where a shared request fails without an answer that
says which events it is about. Its jobs then travel in halves of that parcel, and at last alone, and only a job that fails
alone pays an attempt. So a job that makes the data plane fail takes no other job to the failed queue, and a process that is
killed by the jobs that it holds, again and again, holds few of them.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._envelope import FRAME_BYTES, SEPARATOR, measure_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eventspool._claim import ClaimedJob

__all__ = ["MOST_JOBS", "Packer", "Parcel"]

MOST_JOBS = 1000
"""Most jobs of one request, and of one claim."""
_FILLED = 0.95
"""How full parcels of jobs that come in their order are, about: of a claim for more, something would have to be given back."""
_FORGOTTEN = 0.01
"""How much of what sizes the data plane took or refused is forgotten with each good answer: half of it after 70."""
_OFTEN = 8
"""Requests of a job in a row for which there were too many, after which it travels in a smaller company all the same."""
_REMEMBERED = 10_000
"""Jobs of which it is remembered in how small a company they are to travel. The oldest are forgotten first."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """
    Jobs that share requests.

    Args:
        jobs: At least one, in their order.
        probe: The breaker sends it to find out whether the data plane works.
    """

    jobs: tuple[ClaimedJob, ...]
    probe: bool = False


class Packer:
    """
    Packs jobs into parcels. One thread's own.

    Args:
        max_bytes: Largest body, before it is compressed, that several jobs may share. A larger job travels alone.
        limit: Most jobs of one request.
    """

    def __init__(self, max_bytes: int, limit: int = MOST_JOBS) -> None:
        self._max_bytes = self._configured_bytes = max_bytes
        self._taken_bytes = 0.0  # of the largest shared body that was taken of late, about
        self._limit = limit
        self._most_jobs = 1
        self._companies: OrderedDict[str, int] = OrderedDict()
        self._throttled: OrderedDict[str, int] = OrderedDict()
        self._texts_per_byte = 1.0  # bytes of text to one that is stored, as far as was seen

    def jobs_for(self, requests: int) -> int:
        """Return how many jobs fill this number of *requests*."""
        return min(requests * self._most_jobs, MOST_JOBS)

    def bytes_for(self, requests: int) -> int | None:
        """Return how many stored bytes fill this number of *requests*; ``None`` where each carries one job of any size."""
        if self._most_jobs == 1:
            return None
        return int(requests * _FILLED * self._max_bytes / self._texts_per_byte)

    def pack(self, jobs: Iterable[ClaimedJob], *, probe: bool = False) -> list[Parcel]:
        """Return parcels of *jobs*, in their order."""
        return self.pack_chains(([job] for job in jobs), probe=probe)[0]

    def pack_chains(
        self, chains: Iterable[Sequence[ClaimedJob]], *, probe: bool = False
    ) -> tuple[list[Parcel], list[ClaimedJob]]:
        """
        Return parcels of *chains*, in their order, and the jobs for which there is no room.

        The jobs of a chain must be sent one behind the other, so they share a parcel. What does not fit in there is left.
        """
        loads: list[_Load] = []
        left: list[ClaimedJob] = []
        for chain in chains:
            sizes = [self._measure_in_company(job) for job in chain]
            if not loads or loads[-1].count(sizes) < len(chain):
                loads.append(_Load(self._max_bytes - FRAME_BYTES))
            left += chain[loads[-1].take(chain, sizes) :]
        return [Parcel(tuple(load.jobs), probe) for load in loads], left

    def _measure_in_company(self, job: ClaimedJob) -> tuple[int, int]:
        """Return how many bytes *job* adds to a body, and how many jobs may share a parcel with it, itself included."""
        size = self._measure(job)
        company = 1 if size is None else min(self._companies.get(job.id, self._limit), self._most_jobs)
        return size or 0, company

    def _measure(self, job: ClaimedJob) -> int | None:
        """Return how many bytes *job* adds to a body; ``None`` where it travels alone: it was begun, or is under suspicion."""
        payload = job.payload
        # A failure costs an attempt only where a job was alone, or where the process that held it has died.
        if payload is None or job.progress or job.attempts:
            return None
        size = measure_text(payload) or None  # an empty batch has nothing to be joined
        if size is not None:
            self._texts_per_byte += (max(size / len(payload), 0.1) - self._texts_per_byte) / 16
        return size

    def note_answer(self, jobs: Sequence[str]) -> None:
        """Note that the data plane dealt with these jobs in one request: as many, and more, may travel together."""
        self._taken_bytes *= 1 - _FORGOTTEN
        self._max_bytes = min(self._configured_bytes, int(self._max_bytes * (1 + _FORGOTTEN)) + 1)
        if len(jobs) >= self._most_jobs:
            self._most_jobs = min(2 * self._most_jobs, self._limit)
        for job_id in jobs:
            self._companies.pop(job_id, None)
            self._throttled.pop(job_id, None)

    def note_failure(self, jobs: Sequence[str]) -> None:
        """Note that the request that these jobs shared failed: they travel in halves."""
        half = max(1, len(jobs) // 2)
        self._most_jobs = min(self._most_jobs, half)
        _remember(self._companies, jobs, half)

    def note_throttled(self, jobs: Sequence[str]) -> None:
        """
        Note that the data plane asked for fewer requests when it got the one that these jobs shared.

        Smaller ones would be more. But where a job hears nothing else, again and again, it may be about what it holds.
        """
        times = 1 + max(self._throttled.pop(job_id, 0) for job_id in jobs)
        if times < _OFTEN:
            _remember(self._throttled, jobs, times)
        else:
            _remember(self._companies, jobs, max(1, len(jobs) // 2))

    def note_taken(self, body_bytes: int) -> None:
        """Note that the data plane took a shared body of *body_bytes*, whatever it said of single events."""
        self._taken_bytes = max(self._taken_bytes, body_bytes)

    def note_too_large(self, body_bytes: int) -> None:
        """
        Note that the data plane took no body of *body_bytes*.

        For a while none so large is made again, unless larger ones were taken of late: then it was about an event in it.
        """
        if body_bytes <= self._taken_bytes:
            return
        self._max_bytes = min(self._max_bytes, body_bytes // 2)

    def note_surplus(self) -> None:
        """Note that more was claimed than can be sent soon."""
        self._most_jobs = max(1, self._most_jobs // 2)


class _Load:
    """A parcel that is being packed, of *room* bytes."""

    def __init__(self, room: int) -> None:
        self.jobs: list[ClaimedJob] = []
        self._room = room
        self._most = MOST_JOBS

    def count(self, sizes: Sequence[tuple[int, int]]) -> int:
        """Return how many of these jobs, by their bytes and their companies, still fit. A first job always does."""
        number, room, most = len(self.jobs), self._room, self._most
        for size, company in sizes:
            most = min(most, company)
            room -= size + (len(SEPARATOR) if number else 0)
            if number and (number >= most or room < 0):
                break
            number += 1
        return number - len(self.jobs)

    def take(self, jobs: Sequence[ClaimedJob], sizes: Sequence[tuple[int, int]]) -> int:
        """Pack the first of *jobs*, as many as fit. Return how many."""
        count = self.count(sizes)
        for job, (size, company) in zip(jobs[:count], sizes, strict=False):
            self._room -= size + (len(SEPARATOR) if self.jobs else 0)
            self._most = min(self._most, company)
            self.jobs.append(job)
        return count


def _remember(about: OrderedDict[str, int], jobs: Sequence[str], number: int) -> None:
    """Note *number* of each of *jobs*, and forget the oldest ones."""
    for job_id in jobs:
        about[job_id] = number
        about.move_to_end(job_id)
    while len(about) > _REMEMBERED:
        about.popitem(last=False)
