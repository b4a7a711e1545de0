"""A queue that a store was found to have."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FoundQueue"]


@dataclass(frozen=True, slots=True)
class FoundQueue:
    """
    A queue that a store has.

    Args:
        queue_name: Its name.
        prefix: What its keys begin with.
        memory_bytes: Bytes of the server's memory that it takes, by the server's estimate; ``None`` where that is not known.
        is_bull: It is one of Bull's, of a Node program. Of these nothing else is known than what follows.
        jobs: Its unfinished jobs.
        failed_jobs: Its failed jobs.
    """

    queue_name: str
    prefix: str
    memory_bytes: int | None = None
    is_bull: bool = False
    jobs: int = 0
    failed_jobs: int = 0
