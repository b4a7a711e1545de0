"""
Events that survive.

``Client.track(…)`` takes an event in microseconds; it waits in Redis, SQLite or memory until the data plane
has it.

    client = eventspool.Client("WRITE_KEY", persistence="redis://localhost:6379/0")
    client.track("user-1", "Order Completed", {"total": 9.99})
"""

from typing import TYPE_CHECKING, Any

from eventspool._client import Client
from eventspool._config import JobOpts, QueueOpts, RedisOpts, SpillOpts
from eventspool._default import alias, close, flush, group, identify, init, page, screen, stats, track
from eventspool._events.scope import bind, context, current
from eventspool._exceptions import (
    ConfigError,
    DeliveryError,
    EventError,
    EventSpoolError,
    QueueError,
    QueueUnavailable,
    RefusedError,
)
from eventspool._settling.stats import ClientStats
from eventspool._settling.waiter import FlushResult
from eventspool._version import __version__

if TYPE_CHECKING:
    from eventspool._aio import AsyncClient
    from eventspool._distribution import Distribution
    from eventspool._figures import Depth, QueueStats
    from eventspool._fleet import ProcessorInfo
    from eventspool._job import Job
    from eventspool._operate.erasure import Erasure
    from eventspool._operate.look import Look
    from eventspool._operate.queue import Queue, open_queue

__all__ = [
    "Action",
    "AsyncClient",
    "Client",
    "ClientStats",
    "ConfigError",
    "DeliveryError",
    "Depth",
    "Distribution",
    "Erasure",
    "EventError",
    "EventSpoolError",
    "FlushResult",
    "Job",
    "JobOpts",
    "Look",
    "Pause",
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
    "bind",
    "close",
    "context",
    "current",
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

_LATER = {
    "Action": "_operate.trail",
    "AsyncClient": "_aio",
    "Depth": "_figures",
    "Distribution": "_distribution",
    "Erasure": "_operate.erasure",
    "Job": "_job",
    "Look": "_operate.look",
    "Pause": "_operate.trail",
    "ProcessorInfo": "_fleet",
    "Queue": "_operate.queue",
    "QueueStats": "_figures",
    "open_queue": "_operate.queue",
}
"""Names that most programs do not need (operators do), and their modules, which are imported when one is asked for."""

for _name in set(__all__) - {"__version__"} - _LATER.keys():
    globals()[
        _name
    ].__module__ = __name__  # what help, tracebacks and pickle say: the modules below may change


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from eventspool._guest.importing import importing

    with importing:
        found = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
