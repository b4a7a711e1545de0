"""Payloads that this process has just committed, so that its own processor need not read them back."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eventspool._job import NewJob

__all__ = ["RecentPayloads"]


class RecentPayloads:
    """
    The last payloads committed, up to *max_bytes*; each is handed out once. Safe between threads.

    The queue stays the truth: a payload counts only where the queue says that it stores one of this size, so one that
    was replaced by a smaller batch, or is gone, is not taken from here.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._payloads: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def keep(self, jobs: Iterable[NewJob]) -> None:
        """Remember the payloads of *jobs*, and forget the oldest beyond the bound."""
        with self._lock:
            for job in jobs:
                if job.id not in self._payloads:
                    self._payloads[job.id] = job.payload
                    self._bytes += len(job.payload)
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._payloads.popitem(last=False)[1])

    def take(self, stored: Iterable[tuple[str, int]]) -> dict[str, bytes]:
        """Return, and forget, the payloads of those of the *stored* jobs (ids and sizes in bytes) that are remembered."""
        taken = {}
        with self._lock:
            for job_id, size in stored:
                payload = self._payloads.pop(job_id, None)
                if payload is not None:
                    self._bytes -= len(payload)
                    if len(payload) == size:
                        taken[job_id] = payload
        return taken
