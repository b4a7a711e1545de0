"""A store that eventspool knows nothing of: queues in this process's memory, by name, as ``toy://NAME``."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from eventspool._backends import Store
from eventspool._backends.memory import MemoryBackend
from eventspool._config import StoreKind, register_store
from eventspool._doctor.finding import warning
from eventspool._exceptions import ConfigError, QueueError

BOXES = {}
"""The queues that there are, by name."""


@dataclass(frozen=True)
class ToyOpts:
    """Where a toy queue is."""

    name: str


class ToyBackend(MemoryBackend):
    """Outlives each client, as a queue on a server does."""

    durable = True
    shared = True


class ToyStore(Store[ToyOpts]):
    """The toy queues of this process."""

    def create_backend(self, target, queue, *, observe):
        return BOXES.setdefault(target.name, ToyBackend(ordering=queue.resolved_ordering))

    def require_existing(self, target):
        if target.name not in BOXES:
            raise QueueError(f"there is no toy called {target.name}")


def read_toy_url(url):
    """Return what *url* says."""
    name = urlsplit(url).netloc
    if not name:
        raise ConfigError("a toy URL has a name, as in toy://NAME")
    return ToyOpts(name)


def examine_toy(queue):
    """Return what is wrong with the toy of *queue*, and whether it can be asked."""
    there = queue.target.name in BOXES
    return [] if there else [warning("toy.missing", "there is no such toy", "make one")], there


TOY = StoreKind(
    name="toy",
    title="a toy",
    urls=("toy://",),
    forms=("toy://NAME",),
    is_local=True,
    read_url=read_toy_url,
    store="toy_store:ToyStore",
    doctor="toy_store:examine_toy",
)
register_store(TOY)
