"""In which partition a process last met a job."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eventspool._backends.partitioned.ring import Part

__all__ = ["Places"]


class Places:
    """
    Remembers the partitions of the last jobs, at most *most*. Safe between threads.

    A job never changes its partition. One that is not remembered is sought in all of them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._parts: OrderedDict[str, Part] = OrderedDict()

    def __len__(self) -> int:
        return len(self._parts)

    def get(self, job_id: str) -> Part | None:
        """Return the partition of a job, ``None`` where that is not remembered."""
        return self._parts.get(job_id)

    def note(self, ids: Iterable[str], part: Part) -> None:
        """Note that these jobs are in *part*, or may be. What was met longest ago is forgotten."""
        with self._lock:
            for job_id in ids:
                self._parts[job_id] = part
                self._parts.move_to_end(job_id)
            while len(self._parts) > self._most:
                self._parts.popitem(last=False)

    def forget(self, ids: Iterable[str]) -> None:
        """Forget these jobs."""
        with self._lock:
            for job_id in ids:
                self._parts.pop(job_id, None)

    def any_in(self, part: Part) -> bool:
        """Say whether a remembered job is in *part*."""
        with self._lock:
            return part in self._parts.values()

    def group(self, ids: Sequence[str]) -> tuple[dict[Part, list[str]], list[str]]:
        """Return *ids* by their partitions, and those whose partition is not remembered."""
        known: dict[Part, list[str]] = {}
        unknown: list[str] = []
        for job_id in ids:
            part = self._parts.get(job_id)
            (unknown if part is None else known.setdefault(part, [])).append(job_id)
        return known, unknown
