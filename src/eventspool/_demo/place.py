"""Where the demo's queue is: an embedded file, a private server, or the user's own, which is left as it was."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from eventspool._backends import create_backend
from eventspool._config import QueueOpts, RedisOpts
from eventspool._demo.result import DemoError
from eventspool._exceptions import QueueError
from eventspool._job import JobState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventspool._backends.redis import RedisBackend
    from eventspool._demo.result import DemoOptions

__all__ = ["Place", "open_place"]

_QUEUE_FILE = "queue.db"


class Place:
    """
    The demo's queue and folder.

    Args:
        queue: The queue's options.
        folder: For files.
    """

    def __init__(self, queue: QueueOpts, folder: Path) -> None:
        self.queue = queue
        self.folder = folder
        self.kind = "redis" if isinstance(queue.target, RedisOpts) else "sqlite"


@contextlib.contextmanager
def open_place(options: DemoOptions) -> Iterator[Place]:
    """Make the place that *options* ask for, and clear it away at the end."""
    with contextlib.ExitStack() as stack:
        if options.folder is None:
            folder = Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(prefix="eventspool-demo-", ignore_cleanup_errors=True)
                )
            )
        else:
            folder = options.folder.absolute()
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / _QUEUE_FILE).exists():
                raise DemoError(
                    f"{options.folder} holds an earlier demo's {_QUEUE_FILE}; name another folder"
                )
        name = f"eventspool-demo-{secrets.token_hex(4)}"
        if options.redis:
            from eventspool._redis_server import RedisServer

            url = stack.enter_context(RedisServer()).url
        else:
            url = options.queue or f"sqlite:///{quote(str(folder / _QUEUE_FILE))}"
        queue = QueueOpts(url=url, queue_name=name, is_multi_processor=True)
        if options.queue is not None:
            stack.callback(_clear, queue)
        yield Place(queue, folder)


def _clear(queue: QueueOpts) -> None:
    """Take the demo's jobs, and in Redis every key of its queue, out of the user's storage."""
    with contextlib.suppress(QueueError):
        backend: Any = create_backend(queue)
        try:
            backend.open()
            if isinstance(queue.target, RedisOpts):
                _drop(backend)
                return
            for state in (JobState.WAITING, JobState.DELAYED, JobState.FAILED):
                while jobs := backend.jobs(state, limit=500):
                    backend.purge(state, [job.id for job in jobs])
        finally:
            backend.close()


def _drop(backend: RedisBackend) -> None:
    from eventspool._backends import redis

    keys = [backend._prefix + key for key in redis._KEYS]  # noqa: SLF001 - no user may drop a queue that easily
    backend._connection.call(lambda client: client.delete(*keys))  # noqa: SLF001
