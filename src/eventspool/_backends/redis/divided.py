"""What a queue in Redis stores of its own division into partitions, and what becomes of a partition that is given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._backends.redis.codec import decode_text
from eventspool._backends.redis.errors import find_place
from eventspool._backends.redis.operated import OperatedQueue
from eventspool._backends.undivided import Undivided
from eventspool._config import Ordering
from eventspool._job import JobState

if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["DividedQueue"]


class DividedQueue(Undivided, OperatedQueue):
    """
    A queue in Redis that is a partition of a larger one, or the place where that one's division is written down.

    ``_backends.partitioned`` says what a division is. Its text is opaque here.
    """

    def read_ring(self) -> str:
        """Return how the queue is divided, "" where that was never written down."""
        return decode_text(self._connection.execute("HGET", self._prefix + "m", "ring") or b"")

    def read_standing(self, token: str) -> tuple[str, int, int]:
        """Return the same, how many live processors' tokens sort before *token*, and how many live ones there are."""
        ring, before, live = self._connection.run("standing", token)
        return decode_text(ring), before, live

    def write_ring(self, expected: str, ring: str, *, is_first: bool = False) -> str:
        """
        Write *ring* where *expected* is written. Return what is written afterwards.

        With *is_first* it is written only where the queue was never used, and this partition is sealed in the same step.
        """
        return decode_text(self._connection.run("divide", expected, ring, int(is_first)))

    def seal(self) -> None:
        """Take no new jobs from now on. May be repeated."""
        self._connection.run("seal")

    def retire(self, *, delete: bool = False) -> tuple[int, ...] | None:
        """
        Return the totals of events of a sealed partition that holds no job and remembers none; ``None`` for any other.

        They are those of ``QueueStats``: accepted, delivered, failed, purged and moved. With *delete* its keys are deleted,
        but for the mark that it is sealed.
        """
        return tuple(self._connection.run("retire", int(delete))) or None

    def spend(self, rate: float, sizes: Sequence[int]) -> tuple[int, float]:
        """Return how many of the jobs go by *rate* that other partitions have leased, and the seconds until another may."""
        count, wait = self._connection.run("spend", rate, *sizes)
        return count, wait / 1e6

    def find_ordering(self) -> Ordering:
        """Return what it keeps: the order per user while any process wants that, else what this one or its producers want."""
        kept = self._ask_ordering()
        return kept if self._ordering is None or kept is Ordering.PER_USER else self._ordering

    def stood_at(self, state: JobState, job_id: str) -> float | None:
        """Return the time, by the server's clock, by which the list of *state* has a job; ``None`` if it has not."""
        if state is JobState.LEASED:
            found = self._connection.execute("HGET", self._prefix + "t", job_id)
            digits = (found or b"").partition(b":")[0]
        else:
            key = "f" if state is JobState.FAILED else "q"
            score = self._connection.execute("ZSCORE", self._prefix + key, job_id)
            digits = b"" if score is None else b"%d" % int(float(score))
        if not digits.isdigit():
            return None
        ahead = (self._connection.execute("HGET", self._prefix + "m", "clock") or b"").partition(b":")[2]
        return (int(digits) - (int(ahead) if ahead.isdigit() else 0)) / 1e6

    @property
    def node(self) -> str:
        """The address of the server that has it, as far as that is known."""
        return find_place(self._connection.client).address

    def stop_waiting(self) -> None:
        """Give up the connection of ``wait``: this processor looks elsewhere now."""
        self._connection.stop_waiting()

    def look_anew(self) -> None:
        """Have the next call ask which server has it: another partition has met trouble with the one that had it."""
        self._connection.look_anew()
