"""
What our own threads do, in such a way that many of their lines are visited.

Nothing here may raise: what happens on a thread of ours is no business of the host's calls.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from eventspool import Client
from guest.interruptions.scenarios import Registry
from guest.interruptions.world import DURABLE, World

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ON_OURS"]

ON_OURS = Registry()
_PATIENCE = 20.0
_ANSWERING = ("memory", "sqlite", "sqlite-multi", "redis", "redis-multi")
_EVENTS = 6
"""Of a scenario; as many may arrive twice when an acknowledgement was interrupted."""


def _add(*, backends: Sequence[str], **how: Any) -> Any:
    return ON_OURS.add(backends=tuple(backends), **{"may_repeat": _EVENTS, **how})


def _track(world: World, client: Client, events: int = 3, *, kind: str = "E") -> None:
    for number in range(events):
        world.track(client, kind, watched=number % 2 == 0)


def _settle(client: Client) -> None:
    client.flush(timeout=_PATIENCE)


@_add(backends=_ANSWERING)
def a_flow(world: World) -> None:
    """Events with and without callbacks, a batch of each."""
    client = world.client()
    _track(world, client)
    _settle(client)
    _track(world, client, 2)
    client.stats()
    _settle(client)


@_add(backends=_ANSWERING)
def an_outage_of_the_data_plane(world: World) -> None:
    """Retries, then the breaker."""
    world.plane.script("status=503,next=2", "drop=after,next=1")
    client = world.client()
    _track(world, client)
    _settle(client)


@_add(backends=("memory", "sqlite", "redis-multi"))
def a_refused_key(world: World) -> None:
    """The queue is paused, and probed."""
    world.plane.script("status=401,next=1")
    client = world.client()
    _track(world, client)
    _settle(client)


@_add(backends=("memory", "sqlite", "redis-multi"), may_lose=1)
def a_poisoned_batch(world: World) -> None:
    """It is cut until the poison is alone."""
    world.plane.script({"reject": "batch", "event": "Poison"})
    client = world.client()
    _track(world, client, 3)
    world.track(client, "Poison", watched=True)
    _track(world, client, 1)
    _settle(client)


@_add(backends=("memory", "sqlite", "redis"), may_lose=1)
def a_partial_answer(world: World) -> None:
    """The data plane names what it rejects; another batch is too large for it."""
    world.plane.script({"reject": "events", "event": "Poison"}, {"max_events": 2})
    client = world.client()
    world.track(client, "Poison", watched=True)
    _track(world, client)
    _settle(client)


@_add(backends=DURABLE)
def persisted_events(world: World) -> None:
    """The caller waits for our threads."""
    client = world.client(durability="persisted")
    _track(world, client, 2)
    _settle(client) if world.backend != "spill" else None


@_add(backends=("memory", "sqlite", "redis-multi"), ends_client=True)
def a_close_amid_requests(world: World) -> None:
    """While a request is answered late."""
    world.plane.script("latency=0.3,next=1")
    client = world.client()
    _track(world, client)
    time.sleep(0.1)
    _track(world, client, 2)
    world.close(client, 8.0)


@_add(backends=("spill",))
def a_spill(world: World) -> None:
    """Redis is away; when it is back what was spilled goes into it."""
    client = world.client()
    _track(world, client)
    deadline = time.monotonic() + _PATIENCE
    while not client.stats().spilled and time.monotonic() < deadline:
        time.sleep(0.02)
    world.bring_back()
    _settle(client)


@_add(backends=("redis", "redis-multi"))
def an_outage_of_redis(world: World) -> None:
    """Events wait in memory meanwhile."""
    world.take_away()
    client = world.client()
    _track(world, client)
    time.sleep(0.4)
    world.bring_back()
    _settle(client)


@_add(backends=("sqlite", "redis"))
def a_queue_that_comes_later(world: World) -> None:
    """What memory holds is handed over."""
    world.plane.script("status=503,next=1")
    client = Client(world.plane.write_key, **{**world.options(), "persistence": None})
    world.clients.append(client)
    _track(world, client)
    client.create_persistence_queue(world.queue_opts())
    _track(world, client, 2)
    _settle(client)


@_add(backends=("sqlite-multi", "redis-multi"))
def another_process_delivers(world: World) -> None:
    """A client that only stores asks the queue what became of its events."""
    producer, worker = world.client(process=False), world.client()
    _track(world, producer)
    worker.flush(timeout=0)
    world.track(worker)
    _settle(worker)
    if id(worker) not in world.closed:  # otherwise the oracle has another process come
        _settle(producer)


@_add(backends=("sqlite", "redis"))
def leases_that_are_renewed(world: World) -> None:
    """A request takes longer than a lease lasts."""
    world.plane.script("latency=1.3,next=1")
    client = world.client(jobs={"visibility_timeout": 1.0})
    _track(world, client)
    _settle(client)


@_add(backends=("sqlite", "redis"))
def flushes_that_call_back(world: World) -> None:
    """And those that are awaited."""
    results: list[Any] = []

    async def use() -> None:
        client = world.async_client()
        world.journal.call(client, client.track, "u1", "E", watched=True)
        await client.flush(lambda error, result: results.append(result), timeout=10)
        await client.flush(timeout=10)

    asyncio.run(use())
    deadline = time.monotonic() + _PATIENCE
    while not results and time.monotonic() < deadline:
        time.sleep(0.01)
    if not results:
        raise AssertionError("the callback of flush() was never called")
