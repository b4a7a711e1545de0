"""
After every test: each client of this process has each of its events in exactly one place, and has counted each call.

What ``stats()`` says is held against three other witnesses: what the event methods returned, the jobs in the ledger, and
the room that the buffer believes to have. Threads may still be at work when a test ends, so they get a moment to agree.
"""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

import pytest

import eventspool
from eventspool import _default
from eventspool._aio import AsyncClient
from eventspool._client import Client
from eventspool._reception import Awaited
from eventspool._settling.stats import Tally, find_imbalances

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["every_event_is_somewhere", "find_lies"]

_PATIENCE = 30.0

_clients: list[Client] = []
"""Those that the test has made. Weak references would lose the ones that its function alone held."""


def find_lies(client: Client, patience: float = _PATIENCE) -> list[str]:
    """Return where *client*'s counts and what is known otherwise differ, and go on differing for so many seconds."""
    deadline = time.monotonic() + patience
    while (lies := _look(client)) and time.monotonic() < deadline:
        time.sleep(0.005)
    return lies


def _look(client: Client) -> list[str]:
    returned = client._returned.counts()
    if client._beginning.pipeline is None and not returned:
        return []
    stats = client.stats()
    lies = find_imbalances(stats, calls=sum(returned.values()))
    if returned.get("id", 0) != stats.accepted + stats.discarded - stats.unconfirmed:
        lies.append(f"{returned} were returned, but {stats}")
    return lies if client._beginning.pipeline is None else lies + _recount(client)


def _recount(client: Client) -> list[str]:
    pipeline = client._beginning.pipeline
    found = pipeline.flusher.audit(_PATIENCE)
    if found is None:
        return ["the flusher does not let go of the buffer"]
    audit, taken, held, waiting = found
    counts = audit.counts
    known = audit.open + counts.delivered + counts.failed + counts.lost + counts.unfollowed
    claims = {
        "taken from the buffer": (audit.batched, taken),
        "in a job or settled": (known, taken),
        "stored": (audit.stored + counts.unfollowed, counts.stored),
        "in the spill file": (audit.spilled, counts.spilled),
    }
    if not client._beginning.is_closed:
        elsewhere = audit.stored if pipeline.backend.durable else 0
        claims["in memory"] = (waiting + audit.open - elsewhere, held)
    return [
        f"{was} events are {what}, counted are {count}"
        for what, (was, count) in claims.items()
        if was != count
    ]


def _watch(begin: Any) -> None:
    """Have every client count what its event methods return."""

    def counting(method: Any) -> Any:
        @functools.wraps(method)
        def call(client: Client, *args: Any, **kwargs: Any) -> str | None:
            message_id = method(client, *args, **kwargs)
            if not isinstance(kwargs.get("callback"), Awaited):
                client._returned.add("nothing" if message_id is None else "id")
            return message_id

        return call

    def counting_awaited(method: Any) -> Any:
        @functools.wraps(method)
        async def call(client: AsyncClient, *args: Any) -> str | None:
            message_id: str | None = "cancelled, and accepted"
            try:
                message_id = await method(client, *args)
            finally:
                client._client._returned.add("nothing" if message_id is None else "id")
            return message_id

        return call

    def begin_and_note(client: Client) -> None:
        begin(client)
        client._returned = Tally()
        _clients.append(client)

    def counting_default(function: Any) -> Any:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> str | None:
            client = _default._client  # None: a capture takes the event
            message_id = function(*args, **kwargs)
            if client is not None:
                client._returned.add("nothing" if message_id is None else "id")
            return message_id

        return call

    Client._begin = begin_and_note
    for name in ("identify", "track", "page", "screen", "group", "alias"):
        for owner in (_default, eventspool):  # they have the methods of Client as these were
            setattr(owner, name, counting_default(getattr(owner, name)))
        setattr(Client, name, counting(getattr(Client, name)))
    AsyncClient._await_stored = counting_awaited(AsyncClient._await_stored)


_watch(Client._begin)


@pytest.fixture(autouse=True)
def every_event_is_somewhere() -> Iterator[None]:
    """Fail the test whose clients' counts do not add up."""
    _clients.clear()
    yield
    clients, _clients[:] = list(_clients), []
    lies = [lie for client in clients for lie in find_lies(client)]
    assert not lies, "; ".join(lies)
