"""Which queues ``eventspool metrics`` exports, and how they are read: all at once, so that one that hangs delays no other."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eventspool._backends.stores import find_store
from eventspool._exceptions import ConfigError
from eventspool._operate.exposition import write_readings
from eventspool._operate.metrics import QueueReader
from eventspool._operate.queue import open_queue_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from eventspool._config import QueueOpts
    from eventspool._operate.diagnosis import Trouble
    from eventspool._operate.metrics import Reading
    from eventspool._operate.queue import Queue

__all__ = ["Exporter", "Named", "read_names"]

_LABELLED = re.compile(r"([^\s=:/?#]+)=(\w[\w+.-]*://.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Named:
    """
    A queue that is to be exported.

    Args:
        label: What its metrics call it.
        url: Where it is.
        queue_name: Its name there.
    """

    label: str
    url: str = field(repr=False)
    queue_name: str


def read_names(given: Iterable[str], queue_name: str) -> list[Named]:
    """
    Return the queues that *given* names, each as ``[LABEL=]URL[#NAME]``; without a name it is *queue_name*.

    Raises:
        ConfigError: Two of them would get the same label. The message repeats no URL, which may hold a password.
    """
    found: list[Named] = []
    for text in given:
        labelled = _LABELLED.fullmatch(text)
        url, _, name = (labelled[2] if labelled else text).partition("#")
        found.append(Named(labelled[1] if labelled else name or queue_name, url, name or queue_name))
    labels = [each.label for each in found]
    for label in labels:
        if labels.count(label) > 1:
            raise ConfigError(
                f"two queues would be called {label!r} in the metrics: tell them apart as LABEL=URL#NAME"
            )
    return found


class _Opened:
    """A queue that is opened when it is first read. A file that is not there is not made: it stays away until it is."""

    def __init__(self, opts: QueueOpts) -> None:
        self._opts = opts
        self._lock = threading.Lock()
        self._queue: Queue | None = None

    def __call__(self) -> Queue:
        with self._lock:
            if self._queue is None:
                find_store(self._opts).require_existing(self._opts.target)
                self._queue = open_queue_of(self._opts)
            return self._queue

    def close(self) -> None:
        if self._queue is not None:
            self._queue.close()


class Exporter:
    """
    Reads queues again and again. Safe between threads.

    Args:
        queues: The queues' options by their labels.
        tell: Called with a sentence when a queue cannot be read any more, and when it can again.
    """

    def __init__(self, queues: dict[str, QueueOpts], tell: Callable[[str], object]) -> None:
        self._opened = [_Opened(opts) for opts in queues.values()]
        self._readers = [
            QueueReader(label, opened, opts)
            for (label, opts), opened in zip(queues.items(), self._opened, strict=True)
        ]
        self._pool = ThreadPoolExecutor(len(self._readers), "eventspool-metrics")
        self._tell = tell
        self._told: dict[str, str] = {}

    def read(self) -> str:
        """Return the metrics of all queues in Prometheus' text format."""
        found: Sequence[list[Reading]] = list(self._pool.map(_read, self._readers))
        for reader in self._readers:
            self._tell_of(reader)
        return write_readings(reading for readings in found for reading in readings)

    @property
    def troubles(self) -> list[str]:
        """Why queues could not be read when they were last tried, one sentence each."""
        return [f"{reader.name}: {reader.trouble}" for reader in self._readers if reader.trouble]

    def not_live(self) -> str:
        """Return "": an exporter that answers is alive."""
        return ""

    def not_ready(self) -> str:
        """Return "": that a queue is away is what it is there to say."""
        return ""

    @property
    def findings(self) -> tuple[Trouble, ...]:
        """Return nothing: the metrics say what is wrong with each queue."""
        return ()

    def close(self) -> None:
        """Close all connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for close in (*(each.close for each in self._opened), *(each.close for each in self._readers)):
            close()

    def _tell_of(self, reader: QueueReader) -> None:
        before, now = self._told.get(reader.name, ""), reader.trouble
        self._told[reader.name] = now
        if now and now != before:
            self._tell(f"cannot read {reader.name}: {now}")
        elif before and not now:
            self._tell(f"{reader.name} can be read again")


def _read(reader: QueueReader) -> list[Reading]:
    return list(reader.read())
