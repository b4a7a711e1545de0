"""What became of the jobs that were purged, erased from or moved of late: ``lookup`` says it of jobs that are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._job import PURGED_FOR, PURGED_KEPT, Failure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Fates"]


class Fates:
    """Remembers the last ``PURGED_KEPT`` fates, each until the first one that comes ``PURGED_FOR`` seconds after it."""

    def __init__(self) -> None:
        self._fates: dict[str, tuple[float, Failure]] = {}  # job id -> when, and what became of it

    def find(self, ids: Iterable[str]) -> dict[str, Failure]:
        """Return what is remembered of those of *ids*."""
        return {job_id: self._fates[job_id][1] for job_id in ids if job_id in self._fates}

    def remember(self, fates: Mapping[str, Failure], now: float) -> None:
        """Remember what became of these jobs, and forget what became of the oldest."""
        for job_id, fate in fates.items():
            self._fates.pop(job_id, None)
            self._fates[job_id] = now, fate
        while self._fates:
            oldest, (at, _) = next(iter(self._fates.items()))
            if len(self._fates) <= PURGED_KEPT and now - at < PURGED_FOR:
                break
            del self._fates[oldest]
