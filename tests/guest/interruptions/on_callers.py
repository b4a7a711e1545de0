"""The public methods, called on the host's thread."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import pathlib
import uuid
from typing import Any

import eventspool
from eventspool import Client, EventError
from guest.interruptions.scenarios import Registry
from guest.interruptions.world import DURABLE, World

__all__ = ["ON_CALLERS"]

ON_CALLERS = Registry()
_add = ON_CALLERS.add


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Money:
    amount: decimal.Decimal
    currency: str


RICH: dict[str, Any] = {
    "when": dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
    "naive": dt.datetime(2026, 1, 2, 3, 4, 5),
    "day": dt.date(2026, 1, 2),
    "price": decimal.Decimal("12.30"),
    "id": uuid.UUID(int=7),
    "colour": Colour.RED,
    "money": Money(decimal.Decimal(1), "EUR"),
    "nested": {"list": [1, 2.5, None, True, {"deep": ("a", b"b", {"c"})}], "nan": float("nan")},
    "words": "ü" * 50,
}


def _ready(world: World, **options: Any) -> Client:
    client = world.seen["client"] = world.client(**options)
    world.track(client, "Before")
    if world.backend != "spill":
        client.flush(until="persisted" if options.get("process") is False else "delivered", timeout=10)
    return client


def _started(world: World) -> None:
    _ready(world)


def _durable(world: World) -> None:
    _ready(world, durability="persisted")


def _fresh(world: World) -> None:
    world.seen["client"] = world.client()


# -- events --------------------------------------------------------------------------------------------------------------


@_add(_started, repeats=True)
def events(world: World) -> None:
    """Every event method, with usual and rich values."""
    client, call = world.seen["client"], world.journal.call
    call(client, client.track, "u1", "E", {"a": 1})
    call(client, client.track, "u1", "Rich", RICH, {"ip": "::1"}, RICH["when"], "anonymous", {"All": True})
    call(client, client.identify, 17, {"name": "N", "money": RICH["money"]})
    call(client, client.page, "u1", "Category", "Name", {"a": 1})
    call(client, client.screen, "u1", name="Name", properties=RICH)
    call(client, client.group, "u1", "g1", {"plan": "p"})
    call(client, client.alias, "p1", "u1")


@_add(_started, repeats=True)
def refusals(world: World) -> None:
    """Calls that are refused, each for another reason; ``on_error`` is told."""
    client, call = world.seen["client"], world.journal.call
    call(client, client.track, "u1", None)
    call(client, client.track, None, "E")
    call(client, client.track, "u1", "E", {"a": object()})
    call(client, client.track, "u1", "E", {"long": "x" * 40_000})
    call(client, client.group, "u1", "")
    call(client, client.track, "u1", "E")


def _strict(world: World) -> None:
    _ready(world, strict=True)


@_add(_strict, backends=("memory",), repeats=True)
def strict_refusals(world: World) -> None:
    """A strict client says so by an exception."""
    client = world.seen["client"]
    for arguments in ((None, "E"), ("u1", None), ("u1", "E", {"a": object()})):
        with contextlib.suppress(EventError):
            client.track(*arguments)
    world.track(client)


@_add(_started, repeats=True)
def watched_events(world: World) -> None:
    """Events with a callback."""
    for _ in range(3):
        world.track(world.seen["client"], watched=True)


def _full(world: World) -> None:
    client = world.seen["client"] = world.client(max_internal_queue_size=3, flush_interval=60.0)
    world.track(client)
    client.flush(timeout=10)


@_add(_full, backends=("memory", "sqlite"))
def a_full_buffer(world: World) -> None:
    """More events than the memory may hold."""
    for _ in range(6):
        world.track(world.seen["client"])


def _disabled(world: World) -> None:
    world.seen["client"] = world.client(enable=False)


@_add(_disabled, backends=("memory", "sqlite"), ends_client=True, may_lose=99)
def a_disabled_client(world: World) -> None:
    """Nothing is sent, callbacks are called."""
    client = world.seen["client"]
    world.track(client, watched=True)
    client.flush(timeout=2)
    client.stats()
    client.close(1)


@_add()
def a_new_client(world: World) -> None:
    """It is made, and used."""
    client = world.client()
    world.track(client)


@_add(_fresh)
def the_first_event(world: World) -> None:
    """With it everything starts."""
    world.track(world.seen["client"], watched=True)


@_add(_fresh, is_cold=True)
def the_first_event_of_a_program(world: World) -> None:
    """With it modules are imported, too."""
    world.track(world.seen["client"])


@_add(_durable, backends=DURABLE, repeats=True)
def persisted_events(world: World) -> None:
    """They wait until they are stored."""
    for watched in (False, True):
        world.track(world.seen["client"], watched=watched)


# -- flush and close ---------------------------------------------------------------------------------------------------


@_add(_started, backends=("memory", *DURABLE[:-1]), repeats=True)
def flushes(world: World) -> None:
    """Until all is delivered, or for a moment."""
    client = world.seen["client"]
    world.track(client)
    client.flush(timeout=10)
    client.flush(timeout=0)


@_add(_started, backends=DURABLE, repeats=True)
def flushes_until_persisted(world: World) -> None:
    """Until all is stored."""
    client = world.seen["client"]
    world.track(client)
    client.flush(until="persisted", timeout=10)


@_add(_started, repeats=True)
def flushes_with_a_callback(world: World) -> None:
    """Which returns at once."""
    client = world.seen["client"]
    world.track(client)
    client.flush(lambda error, result: None, timeout=5)


@_add(_fresh, ends_client=True)
def close_of_a_client_that_had_no_event(world: World) -> None:
    """There is little to do."""
    world.close(world.seen["client"])


@_add(_started, ends_client=True, may_repeat=2)
def close(world: World) -> None:
    """With events that have yet to be sent; then again; and a call that comes too late."""
    client = world.seen["client"]
    world.track(client, watched=True)
    world.track(client)
    world.close(client)
    client.close(5)
    world.track(client)
    client.stats()


@_add(ends_client=True, may_repeat=2)
def a_with_block(world: World) -> None:
    """Which closes."""
    client = world.client()
    world.closed.add(id(client))
    with client:
        world.track(client)


def _storing(world: World) -> None:
    _ready(world, process=False)


@_add(_storing, backends=DURABLE, ends_client=True)
def a_client_that_only_stores(world: World) -> None:
    """Somebody else delivers."""
    client = world.seen["client"]
    world.track(client, watched=False)
    client.flush(until="persisted", timeout=5)
    world.close(client)


# -- the queue ---------------------------------------------------------------------------------------------------------


def _in_memory(world: World) -> None:
    client = world.seen["client"] = Client(
        world.plane.write_key, **{**world.options(), "persistence": None, "spill": None}
    )
    world.clients.append(client)


def _in_memory_and_used(world: World) -> None:
    _in_memory(world)
    world.plane.script("status=503,next=1")
    for _ in range(3):
        world.track(world.seen["client"], watched=True)


def _create_again(world: World) -> None:
    world.seen["client"].create_persistence_queue(world.queue_opts())


@_add(_in_memory, backends=("sqlite", "sqlite-multi", "redis", "redis-multi"), again=_create_again)
def create_persistence_queue(world: World) -> None:
    """Before the first event; a second time, too."""
    client = world.seen["client"]
    client.create_persistence_queue(world.queue_opts())
    client.create_persistence_queue(world.queue_opts())
    world.track(client)


@_add(_in_memory_and_used, backends=("sqlite", "redis"), again=_create_again, may_repeat=3)
def create_persistence_queue_amid_events(world: World) -> None:
    """What memory holds goes into it."""
    client = world.seen["client"]
    client.create_persistence_queue({"queue_opts": world.queue_opts()}, lambda error: None)
    world.track(client, watched=True)


@_add(_started, repeats=True)
def stats(world: World) -> None:
    """The counts."""
    world.seen["client"].stats().as_dict()


def _with_failures(world: World) -> None:
    world.plane.script({"reject": "events", "event": "Poison"})
    client = world.seen["client"] = world.client()
    for event in ("Good", "Poison", "Poison"):
        world.track(client, event)
        client.flush(timeout=10)
    world.plane.script()


def _steer(world: World, queue: eventspool.Queue) -> None:
    queue.stats()
    queue.processors()
    queue.failed_reasons()
    failed = queue.jobs(limit=10)
    if failed:
        queue.events(failed[0].id)
    queue.jobs("waiting")
    queue.export(pathlib.Path(world.folder) / "exported", "failed")
    queue.retry_now()
    queue.erase("nobody")
    queue.pause()
    queue.resume()


def _resume(world: World) -> None:
    with eventspool.open_queue(str(world.url), queue_name=world.queue_name) as queue:
        queue.resume()  # a pause stays one until somebody ends it


@_add(_with_failures, backends=("sqlite", "redis", "redis-multi"), again=_resume, repeats=True, may_lose=2)
def looking_into_the_queue(world: World) -> None:
    """All that changes nothing for good."""
    _steer(world, world.seen["client"].queue)


@_add(_with_failures, backends=("sqlite", "redis"), may_lose=2, may_repeat=2)
def retrying_and_purging(world: World) -> None:
    """What changes the queue."""
    queue = world.seen["client"].queue
    queue.retry_failed(reason="rejected")
    queue.purge(older_than=0)
    queue.erase("u2")


@_add(_storing, backends=("sqlite", "redis"), again=_resume, ends_client=True)
def an_opened_queue(world: World) -> None:
    """A look from elsewhere."""
    assert world.url is not None
    with eventspool.open_queue(world.url, queue_name=world.queue_name) as queue:
        _steer(world, queue)
        queue.erase("nobody", dry_run=True)


# -- other faces -------------------------------------------------------------------------------------------------------


@_add(backends=("memory", "sqlite", "redis"), ends_client=True, may_repeat=2)
def an_asynchronous_client(world: World) -> None:
    """Its awaitables."""

    async def use() -> None:
        client = world.async_client()
        if world.is_durable:
            await client.create_persistence_queue()
        world.journal.call(client, client.track, "u1", "E", watched=True)
        await client.flush(timeout=10)
        client.stats()
        await client.close()

    asyncio.run(use())


@_add(backends=("memory", "sqlite", "redis"), may_repeat=2)
def the_default_client(world: World) -> None:
    """The functions of the module."""
    client = eventspool.init(world.plane.write_key, **world.options())
    world.clients.append(client)
    world.closed.add(id(client))  # it ends, at whatever moment
    world.journal.call(client, eventspool.track, "u1", "E")
    world.journal.call(client, eventspool.identify, "u1", {"a": 1})
    eventspool.flush(timeout=10)
    eventspool.stats()
    second = eventspool.init(world.plane.write_key, **world.options())
    world.clients.append(second)
    world.closed.add(id(second))
    world.journal.call(second, eventspool.page, "u1", "C", "N")
    eventspool.close()
