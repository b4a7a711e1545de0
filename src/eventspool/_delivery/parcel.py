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

    from eventspool._job import ClaimedJob

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
        parcels: list[list[ClaimedJob]] = []
        room, most = 0, 0
        for job in jobs:
            size = self._measure(job)
            company = 1 if size is None else min(self._companies.get(job.id, self._limit), self._most_jobs)
            needed = len(SEPARATOR) + (size or 0)
            if parcels and len(parcels[-1]) < min(most, company) and needed <= room:
                parcels[-1].append(job)
                room, most = room - needed, min(most, company)
            else:
                parcels.append([job])
                room, most = self._max_bytes - FRAME_BYTES - (size or 0), company
        return [Parcel(tuple(parcel), probe) for parcel in parcels]

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


def _remember(about: OrderedDict[str, int], jobs: Sequence[str], number: int) -> None:
    """Note *number* of each of *jobs*, and forget the oldest ones."""
    for job_id in jobs:
        about[job_id] = number
        about.move_to_end(job_id)
    while len(about) > _REMEMBERED:
        about.popitem(last=False)
