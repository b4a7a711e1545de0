"""
A queue that may not be there yet: it looks empty until its first event has made it.

A server has a queue as soon as it is asked for. A file would have to be made, perhaps by an operator whose files the
application cannot write, or at a path that is misspelt. So to look at it does not make it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from eventspool._backends import create_backend, import_driver
from eventspool._backends.memory import MemoryBackend
from eventspool._backends.stores import find_store
from eventspool._exceptions import QueueError
from eventspool._operate.queue import Queue, open_queue_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._backends import Backend
    from eventspool._config import QueueOpts

__all__ = ["await_queue"]

_LOOKS = frozenset(
    (
        "stats",
        "processors",
        "partitions",
        "condition",
        "reasons",
        "jobs",
        "scan",
        "payload",
        "payloads",
        "lookup",
        "journal",
    )
)
"""Methods that an empty queue can answer. The others change something, and fail while there is none."""


class _Awaited:
    """
    The backend of a queue that is not there yet, and from then on that of the queue.

    Args:
        backend: The queue's, not opened.
        require: Raises ``QueueError`` while there is no queue.
    """

    durable = shared = True

    def __init__(self, backend: Backend, require: Callable[[], None]) -> None:
        self._backend = backend
        self._require = require
        self._is_there = False
        self._empty = MemoryBackend()

    def close(self) -> None:
        """Close the queue, where there was one."""
        self._backend.close()

    def __getattr__(self, name: str) -> Any:
        getattr(self._backend, name)  # a store may have no journals, and says so by having no such methods
        return partial(self._ask, name)

    def _ask(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._find(name), name)(*args, **kwargs)

    def _find(self, name: str) -> Any:
        if not self._is_there:
            try:
                self._require()
            except QueueError:
                if name in _LOOKS:
                    return self._empty
                raise
            self._backend.open()
            self._is_there = True
        return self._backend


def await_queue(opts: QueueOpts, on_absence: Callable[[QueueError], object], *, waits: bool = False) -> Queue:
    """
    Open the queue of *opts* as ``open_queue`` does, or wait for it.

    Args:
        opts: The queue.
        on_absence: Called where there is no queue yet, with what says where it was looked for.
        waits: Wait also for one that cannot be reached: each use of it tries again.

    Raises:
        ConfigError: A package is missing.
        QueueUnavailable: The queue cannot be reached.
    """
    store = find_store(opts)
    require = partial(store.require_existing, opts.target)
    try:
        require()
    except QueueError as absence:
        on_absence(absence)
    else:
        if not waits:
            return open_queue_of(opts)
    import_driver(opts)
    return Queue(cast("Backend", _Awaited(create_backend(opts, observe=True), require)), opts=opts)
