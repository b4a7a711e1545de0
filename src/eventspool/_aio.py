"""The client for asyncio: the same engine. Event methods never block, so only the methods that wait are awaitable."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

from eventspool._client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from eventspool._buffering.ledger import FlushResult
    from eventspool._config import ClientOptions, QueueOpts, RedisOpts
    from eventspool._queue import Queue
    from eventspool._stats import ClientStats

__all__ = ["AsyncClient"]


class AsyncClient:
    """
    ``Client`` for asyncio: event methods are plain calls; ``flush``, ``close`` and
    ``create_persistence_queue`` are awaitable.

    Takes the same arguments. With ``durability="persisted"`` an event method blocks the event loop while the
    event is stored: use ``await flush(until="persisted")`` instead.
    """

    def __init__(self, write_key: str, **options: Unpack[ClientOptions]) -> None:
        self._client = Client(write_key, **options)
        self.identify = self._client.identify
        self.track = self._client.track
        self.page = self._client.page
        self.screen = self._client.screen
        self.group = self._client.group
        self.alias = self._client.alias

    def __repr__(self) -> str:
        return repr(self._client).replace("Client", "AsyncClient", 1)

    async def create_persistence_queue(
        self,
        queue_opts: QueueOpts | Mapping[str, Any] | str | None = None,
        callback: Callable[[Exception | None], object] | None = None,
        *,
        redis_opts: RedisOpts | Mapping[str, Any] | None = None,
    ) -> None:
        """See ``Client.create_persistence_queue``."""
        await _to_thread(self._client.create_persistence_queue, queue_opts, callback, redis_opts=redis_opts)

    async def flush(
        self,
        callback: Callable[[Exception | None, FlushResult], object] | None = None,
        *,
        until: Literal["delivered", "persisted"] = "delivered",
        timeout: float | None = None,  # noqa: ASYNC109 - passing it is no error here
    ) -> FlushResult | None:
        """See ``Client.flush``."""
        result: FlushResult | None = await _to_thread(
            self._client.flush, callback, until=until, timeout=timeout
        )
        return result

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - the engine keeps it, not the event loop
        """See ``Client.close``."""
        await _to_thread(self._client.close, timeout)

    def stats(self) -> ClientStats:
        """See ``Client.stats``."""
        return self._client.stats()

    @property
    def queue(self) -> Queue:
        """See ``Client.queue``."""
        return self._client.queue

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


async def _to_thread(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """
    Call it on a thread that nobody waits for once the awaiting task is cancelled.

    The event loop would wait at its end for one of its own threads, and ``flush`` may have no end in an outage.
    """
    import asyncio  # not at the top: who never awaits never pays for it

    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if outcome.done():  # cancelled
            return
        if error is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(error)

    def run() -> None:
        result, raised = None, None
        try:
            result = call(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - it is the awaiting task's
            raised = error
        with contextlib.suppress(RuntimeError):  # the event loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, raised)

    threading.Thread(target=run, name="eventspool-await", daemon=True).start()
    return await outcome
