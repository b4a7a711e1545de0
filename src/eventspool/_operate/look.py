"""What one step of a search has found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from eventspool._job import Job

__all__ = ["Look"]


@dataclass(frozen=True, slots=True)
class Look:
    """
    What one step of a search has found.

    Args:
        looked_at: Jobs that were looked at in this step.
        jobs: Those that meet all conditions, in the order of their list.
        places: By the ids of these jobs, the positions in the batch of the events that meet what is asked of events. Empty
            where nothing is asked of them.
        unreadable: Ids of jobs that meet the other conditions, and of whose events it is not known: they are encrypted with a
            key that is not given here, or damaged.
        events: By the ids of these jobs, the events that were asked for as they are stored; empty unless they were wanted.
        until: The last job that was looked at. Another search goes on behind it.
    """

    looked_at: int
    jobs: Sequence[Job] = ()
    places: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    unreadable: Sequence[str] = ()
    events: Mapping[str, Sequence[bytes]] = field(default_factory=dict, repr=False)
    until: Job | None = None


Look.__module__ = "eventspool"  # what help, tracebacks and pickle say: this module may change
