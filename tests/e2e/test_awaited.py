"""Event calls of asyncio that are awaited until their event is stored. No thread waits for them."""

from __future__ import annotations

import asyncio
import threading

import pytest

from e2e.harness import PATIENCE
from eventspool import AsyncClient
from eventspool.testing import capture_events


@pytest.fixture
def options(plane, store):
    """Of a client that stores and does not deliver."""
    return {
        "write_key": plane.write_key,
        "data_plane_url": plane.url,
        "persistence": store.opts(is_multi_processor=True),
        "process": False,
        "flush_interval": 3600.0,
        "timeout": PATIENCE,
    }


@pytest.mark.parametrize("durability", ["buffered", "persisted"])
def test_it_returns_with_the_event_stored(options, store, durability):
    async def use():
        async with AsyncClient(**options, durability=durability) as client:
            calls = {
                "track": client.track_persisted("u", "e", {"n": 1}),
                "identify": client.identify_persisted("u", {"plan": "pro"}),
                "page": client.page_persisted("u", name="Start"),
                "screen": client.screen_persisted("u"),
                "group": client.group_persisted("u", "g"),
                "alias": client.alias_persisted("old", "u"),
            }
            for number, call in enumerate(calls.values()):
                assert await call
                assert store.stored_events() == number + 1
            return client.stats()

    stats = asyncio.run(use())
    assert (stats.accepted, stats.persisted, stats.unconfirmed) == (6, 6, 0)


def test_many_wait_without_a_thread_each(options, store):
    async def use():
        async with AsyncClient(**options) as client:
            assert await client.track_persisted("u", "first")
            before = threading.active_count()
            calls = [asyncio.create_task(client.track_persisted("u", "e")) for _ in range(200)]
            await asyncio.sleep(0)
            most = threading.active_count()
            assert len(set(await asyncio.gather(*calls)) - {None}) == 200
            assert store.stored_events() == 201
            return most - before

    assert asyncio.run(use()) <= 1  # what moves calls off the event loop's thread may have begun


def test_the_callback_of_the_call_is_called_too(options):
    options["process"] = True
    told = []

    async def use():
        async with AsyncClient(**options) as client:
            by_name = await client.track_persisted("u", "e", callback=lambda *args: told.append(args))
            by_position = await client.track_persisted(
                "u", "e", None, None, None, None, None, None, lambda *args: told.append(args)
            )
            assert (await client.flush(timeout=PATIENCE)).pending == 0
            return {(None, by_name), (None, by_position)}

    assert asyncio.run(use()) == set(told)


def test_a_refused_event_is_not_waited_for(options):
    async def use():
        async with AsyncClient(**options) as client:
            assert await client.track_persisted(None, "e") is None
            return client.stats()

    stats = asyncio.run(use())
    assert (stats.refused, stats.unconfirmed) == ({"invalid": 1}, 0)


def test_without_a_queue_the_event_is_refused():
    async def use():
        async with AsyncClient("key", data_plane_url="http://127.0.0.1:9") as client:
            assert await client.track_persisted("u", "e") is None
            return client.stats()

    stats = asyncio.run(use())
    assert stats.refused == {"no_queue": 1}


def test_where_events_are_captured_or_forgotten_it_returns_at_once(options):
    async def use(**more):
        told = []
        async with AsyncClient(**options, **more) as client:
            assert await client.track_persisted("u", "e", callback=lambda *args: told.append(args))
            await client.close()
        return told

    with capture_events() as captured:
        told = asyncio.run(use())
    assert [(None, event["messageId"]) for event in captured] == told
    assert len(asyncio.run(use(enable=False))) == 1


def test_a_forgotten_event_starts_no_thread(options):
    async def use():
        before = set(threading.enumerate())
        async with AsyncClient(**options, enable=False) as client:
            assert await client.track_persisted("u", "e")
            with capture_events():
                assert await client.page_persisted("u")
            return set(threading.enumerate()) - before

    assert asyncio.run(use()) == set()


def test_arguments_that_the_plain_call_does_not_take_are_an_error_here_too(options):
    async def use():
        async with AsyncClient(**options, enable=False) as client:
            arguments = ("u", "e", None, None, None, None, None, None)
            for wrong in (
                lambda: client.track_persisted(*arguments, None, "too many"),
                lambda: client.track_persisted(*arguments, print, callback=print),
            ):
                with pytest.raises(TypeError):
                    await wrong()

    asyncio.run(use())


def test_what_takes_too_long_says_none_and_is_counted(plane, redis_server):
    """The event stays on its way."""
    options = {"persistence": redis_server.url, "process": False, "flush_interval": 3600.0, "timeout": 1.0}

    async def use():
        async with AsyncClient(plane.write_key, data_plane_url=plane.url, **options) as client:
            assert await client.track_persisted("u", "first")
            redis_server.kill()
            assert await client.track_persisted("u", "second") is None
            redis_server.start()
            await client.flush(until="persisted", timeout=PATIENCE)
            return client.stats()

    stats = asyncio.run(use())
    assert (stats.accepted, stats.unconfirmed, stats.buffered) == (2, 1, 0)


def test_a_cancelled_call_leaves_its_event_on_the_way(options, store):
    async def use():
        async with AsyncClient(**options) as client:
            call = asyncio.create_task(client.track_persisted("u", "e"))
            await asyncio.sleep(0)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await client.flush(until="persisted", timeout=PATIENCE)
            return client.stats()

    assert asyncio.run(use()).persisted == 1
    assert store.stored_events() == 1
