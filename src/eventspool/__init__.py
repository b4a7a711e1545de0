"""
Events that survive.

``Client.track(…)`` takes an event in microseconds; it waits in Redis, SQLite or memory until the data plane
has it.

    client = eventspool.Client("WRITE_KEY", persistence="redis://localhost:6379/0")
    client.track("user-1", "Order Completed", {"total": 9.99})
"""

from eventspool._aio import AsyncClient
from eventspool._buffering.ledger import FlushResult
from eventspool._client import Client
from eventspool._config import JobOpts, QueueOpts, RedisOpts, SpillOpts
from eventspool._default import alias, close, flush, group, identify, init, page, screen, stats, track
from eventspool._erasure import Erasure
from eventspool._exceptions import (
    ConfigError,
    DeliveryError,
    EventError,
    EventSpoolError,
    QueueError,
    QueueUnavailable,
    RefusedError,
)
from eventspool._job import Depth, Job, ProcessorInfo, QueueStats
from eventspool._queue import Queue, open_queue
from eventspool._stats import ClientStats
from eventspool._version import __version__

__all__ = [
    "AsyncClient",
    "Client",
    "ClientStats",
    "ConfigError",
    "DeliveryError",
    "Depth",
    "Erasure",
    "EventError",
    "EventSpoolError",
    "FlushResult",
    "Job",
    "JobOpts",
    "ProcessorInfo",
    "Queue",
    "QueueError",
    "QueueOpts",
    "QueueStats",
    "QueueUnavailable",
    "RedisOpts",
    "RefusedError",
    "SpillOpts",
    "__version__",
    "alias",
    "close",
    "flush",
    "group",
    "identify",
    "init",
    "open_queue",
    "page",
    "screen",
    "stats",
    "track",
]
