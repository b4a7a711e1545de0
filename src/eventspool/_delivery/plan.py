"""
How one batch is delivered in parts. Pure.

A batch that the data plane finds too large, or that holds a poison event, is halved, and halved again, until all that
can be delivered is delivered, and each event that cannot stands alone. It stays one job under one lease: the job keeps its id,
and what is done is kept as *progress*, a short text beside the job. So a crash costs duplicates at most, and a process that
waits for the job's events has one id to ask for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["Plan"]


@dataclass(slots=True)
class Plan:
    """
    What is left to send of a batch of *events* events.

    Args:
        events: Size of the batch.
        todo: Half-open ranges still to send, in order.
        rejected: Position -> HTTP status (0: too large) of each event that the data plane will never take.
    """

    events: int
    todo: list[tuple[int, int]] = field(default_factory=list)
    rejected: dict[int, int] = field(default_factory=dict)

    @classmethod
    def resume(cls, events: int, progress: str) -> Plan:
        """Return the plan that *progress* describes; a fresh one where *progress* is empty or makes no sense."""
        fresh = cls(events, [(0, events)] if events else [])
        if not progress:
            return fresh
        try:
            ranges, bar, marks = progress.partition("|")
            todo = [(int(a), int(b)) for a, _, b in (r.partition("-") for r in ranges.split(",") if r)]
            rejected = {int(i): int(s) for i, _, s in (m.partition(":") for m in marks.split(",") if m)}
        except ValueError:
            return fresh
        if not bar or not todo:  # cut off, or without anything left to send: neither is ever saved
            return fresh
        edge = 0
        for start, end in todo:
            if not edge <= start < end <= events:
                return fresh
            edge = end
        if any(not 0 <= i < events for i in rejected):
            return fresh
        return cls(events, todo, rejected)

    @property
    def progress(self) -> str:
        """The plan as text; "" where nothing was done yet."""
        if self.todo == [(0, self.events)] and not self.rejected:
            return ""
        ranges = ",".join(f"{a}-{b}" for a, b in self.todo)
        return f"{ranges}|" + ",".join(f"{i}:{s}" for i, s in self.rejected.items())

    def finish(self, rejected: dict[int, int] | None = None) -> None:
        """Strike the first range off: it was delivered, but for *rejected* (position within the range -> status)."""
        start, _ = self.todo.pop(0)
        for offset, status in (rejected or {}).items():
            self.rejected[start + offset] = status

    def halve(self, status: int) -> None:
        """Cut the first range in two; an event that already stands alone is rejected with *status*."""
        start, end = self.todo[0]
        if end - start == 1:
            self.finish({0: status})
        else:
            middle = (start + end) // 2
            self.todo[0:1] = [(start, middle), (middle, end)]

    def unsent(self) -> list[int]:
        """Return the positions still to send."""
        return [i for start, end in self.todo for i in range(start, end)]
