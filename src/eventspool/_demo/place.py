"""Where the demo's queue is: in an embedded file, on a private server, or in the user's own store, which is left as it was."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from eventspool._backends import create_backend
from eventspool._backends.stores import find_store
from eventspool._config import QueueOpts
from eventspool._demo.result import DemoError
from eventspool._exceptions import QueueError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventspool._demo.result import DemoOptions

__all__ = ["Place", "open_place"]

_QUEUE_FILE = "queue.db"


@dataclass(frozen=True, slots=True)
class Place:
    """
    The demo's queue and folder.

    Args:
        queue: The queue's options.
        folder: Where the demo's files are.
    """

    queue: QueueOpts
    folder: Path


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
    """Take what the demo's queue has left out of the user's storage."""
    with contextlib.suppress(QueueError):
        backend = create_backend(queue)
        try:
            backend.open()
            find_store(queue).clear(backend)
        finally:
            backend.close()
