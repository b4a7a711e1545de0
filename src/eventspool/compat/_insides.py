"""
What programs see of the insides of an SDK's client: its queue and its thread, of which their checks of health ask.

It is shown, not used: ``client.client`` is the ``eventspool.Client``, whose ``stats()`` and ``queue`` say more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventspool._client import Client

__all__ = ["Consumer", "Waiting"]


class Waiting:
    """
    ``client.queue`` of an SDK: how many events wait.

    Args:
        client: The client that holds them.
        maxsize: Most events that it holds in memory.
    """

    def __init__(self, client: Client, maxsize: int) -> None:
        self._client = client
        self.maxsize = maxsize

    def qsize(self) -> int:
        """Return how many events of this process are neither delivered nor given up."""
        stats = self._client.stats()
        return stats.buffered + stats.persisted

    def empty(self) -> bool:
        """Return whether there is none."""
        return self.qsize() == 0

    def full(self) -> bool:
        """Return whether there are as many as memory may hold."""
        return self.qsize() >= self.maxsize


class Consumer:
    """
    One of ``client.consumers`` of an SDK: what sends.

    Args:
        client: The client whose events it sends.
        timeout: Of a request, in seconds.
        retries: Failed attempts after the first one, before an event is given up.
    """

    def __init__(self, client: Client, timeout: float, retries: int) -> None:
        self._client = client
        self.timeout = timeout
        self.retries = retries

    def is_alive(self) -> bool:
        """Return whether events are sent: not before the first one, and not after the end."""
        beginning = self._client._beginning  # noqa: SLF001 - one package
        return beginning.ready is not None and not beginning.is_closed
