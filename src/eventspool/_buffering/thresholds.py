"""How many events trigger a flush, and how soon after another one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from eventspool._config import ClientOpts

__all__ = ["Thresholds"]

_PACE = 0.25
"""Seconds between flushes under load, unless ``_PLENTY`` events wait: batches grow instead of coming more often."""
_LONGEST_PACE = 2.0
"""The same in seconds where a run falls into batches for many partitions: these would hold a few events each."""
_PLENTY = 1000


class Thresholds(NamedTuple):
    """
    When a flush is due.

    Args:
        flush_at: How many events trigger it.
        plenty: How many trigger it within *pace* seconds of another one.
        pace: Seconds.
    """

    flush_at: int
    plenty: int
    pace: float

    @classmethod
    def of(cls, opts: ClientOpts, partitions: int) -> Thresholds:
        """
        Return what holds for a queue whose runs fall into batches for so many *partitions*.

        Numbers of events and the pace count for each of them: as long as memory allows and nobody waits for two seconds.
        """
        if opts.calls_wait:  # a caller waits for each event
            return cls(1, 1, _PACE)
        flush_at = min(opts.flush_at, opts.max_internal_queue_size)
        most = max(flush_at, opts.max_internal_queue_size // 4)
        plenty = max(flush_at, min(_PLENTY * partitions, most))
        return cls(min(flush_at * partitions, most), plenty, min(_PACE * partitions, _LONGEST_PACE))
