"""The payloads that this process has just committed, so that its own processor need not read them back."""

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
    Keeps the last payloads that were committed, up to *max_bytes*, and hands each out once. Safe between threads.

    What the queue says counts: a payload is taken from here only if the queue says that it stores one of this size. So a
    payload that is gone, or that was replaced by a smaller batch, is not.
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
