"""What one round has: a data plane, a queue of its own, clients, and a journal of what was called and what became of it."""

from __future__ import annotations

import itertools
import logging
import os
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventspool import AsyncClient, Client
from eventspool.testing import DataPlane

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["BACKENDS", "DURABLE", "PACE", "PACE_VARIABLE", "Journal", "World", "engine_of"]

BACKENDS = ("memory", "sqlite", "sqlite-multi", "redis", "redis-multi", "spill")
DURABLE = BACKENDS[1:]
PACE_VARIABLE = "INTERRUPTIONS_PACE"
"""An environment variable: how many times longer than on a machine that does nothing else everything may take."""
PACE = float(os.environ.get(PACE_VARIABLE, "1"))
QUICK: dict[str, Any] = {"backoff_initial": 0.02, "backoff_max": 0.2, "visibility_timeout": 2.0}


def engine_of(client: Any) -> Client:
    """Return the client itself: an asynchronous one has another within."""
    return getattr(client, "_client", client)


class Journal:
    """Event calls by message id: what they returned, and how often their callbacks and ``on_error`` were called."""

    def __init__(self) -> None:
        self.accepted: set[str] = set()
        self.open: set[str] = set()
        """Calls that have not returned: the interrupted ones."""
        self.refused: set[str] = set()
        self.with_callback: set[str] = set()
        self.called_back: Counter[str] = Counter()
        self.given_up: Counter[str] = Counter()
        self.by_client: dict[int, Counter[str]] = {}
        self._numbers = itertools.count(1)

    def call(
        self, client: Any, method: Callable[..., Any], *args: Any, watched: bool = False, **more: Any
    ) -> Any:
        """Call an event method with an id of our own, and write down what it returns. Return that."""
        message_id = f"{os.getpid()}-{next(self._numbers)}"
        if watched:
            self.with_callback.add(message_id)
            more["callback"] = self._called_back
        self.open.add(message_id)
        returned = method(*args, message_id=message_id, **more)
        # The open one goes last: a signal may come between any two of these.
        counts = self.by_client.setdefault(id(engine_of(client)), Counter())
        if returned is None:
            counts["refused"] += 1
            self.refused.add(message_id)
        else:
            assert returned == message_id, returned
            counts["accepted"] += 1
            self.accepted.add(message_id)
        self.open.discard(message_id)
        return returned

    def _called_back(self, error: Exception | None, message_id: str) -> None:
        self.called_back[message_id] += 1

    def on_error(self, error: Exception, events: list[dict[str, Any]]) -> None:
        """Take note of events that were given up or refused."""
        self.given_up.update(str(event.get("messageId") or event.get("message_id")) for event in events)


class World:
    """
    One round's surroundings.

    Args:
        backend: One of ``BACKENDS``. ``spill`` is a spill file beside a Redis that is not there before ``bring_back``.
        folder: An empty one, with a short path.
        redis_url: A running server's Unix socket.
    """

    def __init__(self, backend: str, folder: str, redis_url: str) -> None:
        self.backend = backend
        self.folder = folder
        self._redis_url = redis_url
        self._socket = f"{folder}/r"
        self.plane = DataPlane().start()
        self.journal = Journal()
        self.clients: list[Client] = []
        self.closed: set[int] = set()
        self.noise: list[tuple[str, BaseException | None, str]] = []
        """What Python itself had to say: where, the exception, words."""
        self.seen: dict[str, Any] = {}
        """What a scenario keeps from ``prepare`` to ``act``."""
        if backend != "spill":
            self.bring_back()

    @property
    def queue_name(self) -> str:
        """The queue's name."""
        return f"q{os.getpid()}"

    @property
    def is_durable(self) -> bool:
        """Whether events outlive a client."""
        return self.backend != "memory"

    @property
    def url(self) -> str | None:
        """The queue's URL."""
        if self.backend == "memory":
            return None
        return (
            f"sqlite:///{self.folder}/q.db"
            if self.backend.startswith("sqlite")
            else f"unix://{self._socket}?db=0"
        )

    def queue_opts(self, **jobs: Any) -> dict[str, Any]:
        """Return the ``queue_opts`` of the backend."""
        multi = self.backend.endswith("multi")
        return {
            "url": self.url,
            "queue_name": self.queue_name,
            "is_multi_processor": multi,
            "job_opts": {**QUICK, **jobs},
        }

    def options(self, *, jobs: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Return a client's options: those of the backend, and *more*."""
        options: dict[str, Any] = {
            "data_plane_url": self.plane.url,
            "flush_interval": 0.02,
            "timeout": 4.0 * PACE,
            "on_error": self.journal.on_error,
        }
        if self.is_durable:
            options["persistence"] = self.queue_opts(**(jobs or {}))
        if self.backend == "spill":
            options["spill"] = f"sqlite:///{self.folder}/spill.db"
        return {**options, **more}

    def client(self, **options: Any) -> Client:
        """Make a client that the oracle looks after."""
        client = Client(self.plane.write_key, **self.options(**options))
        self.clients.append(client)
        return client

    def async_client(self, **options: Any) -> AsyncClient:
        """Make an asynchronous one."""
        client = AsyncClient(self.plane.write_key, **self.options(**options))
        self.clients.append(engine_of(client))
        return client

    def track(self, client: Any, event: str = "E", *, watched: bool = False, **more: Any) -> Any:
        """Track one event."""
        return self.journal.call(client, client.track, "u1", event, watched=watched, **more)

    def close(self, client: Any, timeout: float = 5.0 * PACE) -> None:
        """Close a client of ours."""
        self.closed.add(id(engine_of(client)))  # at whatever moment this is interrupted
        client.close(timeout)

    def bring_back(self) -> None:
        """Have the server of the queue, or of the spilled one, answer."""
        server = self._redis_url.removeprefix("unix://").split("?")[0]
        if not os.path.lexists(self._socket):
            Path(self._socket).symlink_to(server)

    def take_away(self) -> None:
        """Have it answer to no new connection."""
        Path(self._socket).unlink()

    def listen(self) -> None:
        """Collect from now on what would have been printed as nobody's exception."""
        sys.unraisablehook = lambda seen: self.noise.append(("unraisable", seen.exc_value, repr(seen.object)))
        threading.excepthook = lambda seen: self.noise.append(
            ("thread", seen.exc_value, seen.thread.name if seen.thread else "?")
        )
        logger = logging.getLogger("eventspool")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
