"""How the public API looks to a type checker. Never run: `./run check` reads it, and an unused ignore is an error."""

from __future__ import annotations

from typing import Any, assert_type

import eventspool


def on_error(error: Exception, events: list[dict[str, Any]]) -> None:
    print(error, len(events))


def on_settled(error: Exception | None, message_id: str) -> None:
    print(error, message_id)


def on_flushed(error: Exception | None, result: eventspool.FlushResult) -> None:
    print(error, result.delivered)


def on_ready(error: Exception | None) -> None:
    print(error)


def the_client() -> None:
    spill = eventspool.SpillOpts(url="sqlite:///spill.db", max_bytes=1 << 20)
    with eventspool.Client("key", persistence="redis://localhost", spill=spill, on_error=on_error) as client:
        assert_type(client, eventspool.Client)
        assert_type(client.track("user", "Order Completed", {"total": 9.99}, callback=on_settled), str | None)
        assert_type(client.identify("user", {"plan": "pro"}), str | None)
        assert_type(client.page(anonymous_id="a", category="Docs", name="Start"), str | None)
        assert_type(client.screen("user", name="Home"), str | None)
        assert_type(client.group("user", "team"), str | None)
        assert_type(client.alias("old", "new"), str | None)
        client.flush(on_flushed, until="persisted", timeout=1.5)
        assert_type(client.flush(timeout=1.5), eventspool.FlushResult)
        assert_type(client.stats(), eventspool.ClientStats)
        assert_type(client.stats().accepted + client.stats().spilled, int)
        assert_type(client.queue, eventspool.Queue)

    with eventspool.context(user_id="user", context={"ip": "203.0.113.7"}):
        eventspool.bind(user_id=lambda: 7)
        assert_type(eventspool.current(), dict[str, Any])
    eventspool.Client("key", before_send=lambda event: event if event["type"] == "track" else None)

    client.flush(until="later")  # type: ignore[call-overload]
    client.track("user", "Order Completed", ["not", "a", "mapping"])  # type: ignore[arg-type]
    client.track("user", "Order Completed", callback=on_ready)  # type: ignore[arg-type]
    eventspool.Client("key", on_error=on_ready)  # type: ignore[arg-type]
    eventspool.Client()  # all options may come from the environment
    eventspool.Client("key", queueName="orders")  # type: ignore[call-arg]
    eventspool.AsyncClient("key", flush_at="20")  # type: ignore[arg-type]


def the_persistence_queue(client: eventspool.Client) -> None:
    client.create_persistence_queue({"queue_name": "orders"}, on_ready, redis_opts={"host": "localhost"})
    client.create_persistence_queue(
        eventspool.QueueOpts(
            queue_name="orders",
            is_multi_processor=True,
            redis_opts=eventspool.RedisOpts(host="localhost", port=6379),
            job_opts=eventspool.JobOpts(max_attempts=5, retry_for=3600.0),
        )
    )

    eventspool.QueueOpts(queueName="orders")  # type: ignore[call-arg]
    eventspool.JobOpts(max_attempts="5")  # type: ignore[arg-type]


def what_operators_use() -> None:
    with eventspool.open_queue("redis://localhost", queue_name="orders", encryption_key=["a", "b"]) as queue:
        assert_type(queue, eventspool.Queue)
        assert_type(queue.stats(), eventspool.QueueStats)
        assert_type(queue.stats().failed, eventspool.Depth)
        assert_type(queue.jobs(limit=10), list[eventspool.Job])
        assert_type(queue.events("id"), list[dict[str, Any]])
        assert_type(queue.retry_failed(reason="rejected"), int)
        assert_type(queue.purge(ids=["id"]), int)
        assert_type(queue.erase("user").is_complete, bool)
        assert_type(queue.export("failed.jsonl"), int)


async def the_same_for_asyncio() -> None:
    async with eventspool.AsyncClient("key", persistence="sqlite:///queue.db") as client:
        assert_type(client.track("user", "Order Completed"), str | None)
        assert_type(await client.track_persisted("user", "Order Completed", {"total": 9.99}), str | None)
        assert_type(await client.identify_persisted("user", callback=on_settled), str | None)
        assert_type(await client.flush(timeout=5), eventspool.FlushResult)
        assert_type(await client.flush(on_flushed), None)
        await client.create_persistence_queue(callback=on_ready)
        assert_type(client.stats(), eventspool.ClientStats)
    await client.close(timeout=1.0)
    await client.track_persisted("user", "Order Completed", ["no", "mapping"])  # type: ignore[arg-type]


def the_default_client() -> None:
    assert_type(eventspool.track("user", "Order Completed", {"total": 9.99}), str | None)
    assert_type(eventspool.flush(timeout=1.5), eventspool.FlushResult)
    eventspool.flush(on_flushed)

    eventspool.track("user", "Order Completed", callback=on_ready)  # type: ignore[arg-type]
    assert_type(eventspool.init("key"), eventspool.Client)
    assert_type(eventspool.track("user", "Order Completed"), str | None)
    assert_type(eventspool.identify("user"), str | None)
    eventspool.close(timeout=1.0)


def errors() -> None:
    try:
        eventspool.Client("")
    except eventspool.ConfigError as error:
        assert_type(error.args, tuple[Any, ...])
    for kind in (eventspool.EventError, eventspool.RefusedError, eventspool.DeliveryError):
        assert issubclass(kind, eventspool.EventSpoolError)
    assert issubclass(eventspool.QueueUnavailable, eventspool.QueueError)
