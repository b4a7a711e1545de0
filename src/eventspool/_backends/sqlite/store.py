"""SQLite as a store of queues."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, cast

from eventspool._backends.found import FoundQueue
from eventspool._backends.sqlite.backend import SQLiteBackend
from eventspool._backends.stores import Store
from eventspool._config import Ordering, SQLiteOpts
from eventspool._exceptions import ConfigError, QueueError

if TYPE_CHECKING:
    from eventspool._config import QueueOpts

__all__ = ["SQLiteStore"]


class SQLiteStore(Store[SQLiteOpts]):
    """Queues in a file on this machine."""

    def create_backend(self, target: SQLiteOpts, queue: QueueOpts, *, observe: bool) -> SQLiteBackend:  # noqa: ARG002
        """
        Return the backend. The file does not know whether its queue is in order, so that it is as *queue* has it.

        Raises:
            ConfigError: *queue* is to keep the order per user, or to have several partitions: a file does neither.
        """
        if queue.resolved_ordering is Ordering.PER_USER:
            raise ConfigError(
                "a queue in an SQLite file cannot keep ordering='per_user': use ordering='fifo', or a queue in Redis"
            )
        if queue.partitions > 1:
            raise ConfigError(
                "a queue in an SQLite file has one partition: leave partitions out, or use a queue in Redis"
            )
        return SQLiteBackend(
            target,
            queue_name=queue.queue_name,
            prefix=queue.prefix,
            ordering=queue.resolved_ordering,
            max_jobs=queue.max_jobs,
            max_bytes=queue.max_bytes,
        )

    def list_queues(self, queue: QueueOpts) -> list[FoundQueue]:
        """Return the queues of the file."""
        self.require_existing(cast("SQLiteOpts", queue.target))
        with closing(self.create_backend(cast("SQLiteOpts", queue.target), queue, observe=True)) as backend:
            backend.open()
            names = [name.partition(":") for name in backend.list_names()]
        return [FoundQueue(name, prefix) for prefix, _, name in names]

    def require_existing(self, target: SQLiteOpts) -> None:
        """Raise ``QueueError`` where there is no file: opening it would make one."""
        if not Path(target.path).is_file():
            raise QueueError(f"there is no queue at {target.path}; check the path (sqlite:////… is absolute)")
