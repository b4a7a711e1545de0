"""The client for asyncio, around the same engine. Event methods never block, so only the methods that wait are awaitable."""

from __future__ import annotations

import contextlib
import time
from functools import partial, wraps
from inspect import signature
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Self, cast, overload

from eventspool._client import Client
from eventspool._config.signature import constructing
from eventspool._guest.executor import carry_out, start_apart
from eventspool._guest.thread import NoThread
from eventspool._reception import ALARM_INTERVAL, Awaited

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Mapping
    from types import TracebackType

    from eventspool._config import QueueOpts, RedisOpts
    from eventspool._events.methods import Callback
    from eventspool._operate.queue import Queue
    from eventspool._settling.stats import ClientStats
    from eventspool._settling.waiter import FlushResult

__all__ = ["AsyncClient"]

P = ParamSpec("P")
_STORED = """``{}``, and wait until the event is stored in the queue, as with ``durability="persisted"``;
        where the client's durability is ``"replicated"``, until replicas have it, too.

        The event loop goes on meanwhile. Return the message id, or ``None`` when the event was refused, or was not stored
        within the client's *timeout* and may still arrive. Cancelling the call leaves its event on the way.
        """


def _awaiting_storage(
    method: Callable[Concatenate[Client, P], str | None],
) -> Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, str | None]]:
    """Return *method* as one to await: until the event is stored in the queue."""

    place = list(signature(method).parameters).index("callback") - 1  # without self

    @wraps(method)
    async def call(self: AsyncClient, *args: P.args, **kwargs: P.kwargs) -> str | None:
        plain = getattr(self._client, method.__name__)
        if len(args) > place + ("callback" not in kwargs):
            plain(*args, **kwargs)  # it says with a TypeError what is too much
        given: dict[str, Any] = {"callback": None, **kwargs}
        callback: Any = args[place] if len(args) > place else given["callback"]
        del given["callback"]
        return await self._await_stored(partial(plain, *args[:place], **given), callback)

    call.__name__ = f"{method.__name__}_persisted"
    call.__qualname__ = f"AsyncClient.{call.__name__}"
    call.__doc__ = _STORED.format(method.__name__)
    return cast("Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, str | None]]", call)


class AsyncClient:
    """
    ``Client`` for asyncio: event methods are plain calls; ``flush``, ``close`` and
    ``create_persistence_queue`` are awaitable.

    It takes the same arguments. Callbacks and ``on_error`` may be ``async def``: they run on the event loop that last awaited
    one of these methods, or on which the client was made.

    With ``durability="persisted"`` or ``"replicated"`` an event method blocks the event loop while the event is stored. Await
    ``track_persisted`` and the like instead, whatever the client's durability is.
    """

    identify_persisted = _awaiting_storage(Client.identify)
    track_persisted = _awaiting_storage(Client.track)
    page_persisted = _awaiting_storage(Client.page)
    screen_persisted = _awaiting_storage(Client.screen)
    group_persisted = _awaiting_storage(Client.group)
    alias_persisted = _awaiting_storage(Client.alias)

    @constructing(Client)
    def __init__(self, *args: Any, **options: Any) -> None:
        self._client = Client(*args, **options)
        with contextlib.suppress(RuntimeError):  # made outside of an event loop
            self._running_loop()
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
        await self._apart(self._client.create_persistence_queue, queue_opts, callback, redis_opts=redis_opts)

    @overload
    async def flush(
        self,
        callback: None = None,
        *,
        until: Literal["delivered", "persisted"] = "delivered",
        timeout: float | None = None,  # noqa: ASYNC109 - passing it is no error here
    ) -> FlushResult: ...

    @overload
    async def flush(
        self,
        callback: Callable[[Exception | None, FlushResult], object],
        *,
        until: Literal["delivered", "persisted"] = "delivered",
        timeout: float | None = None,  # noqa: ASYNC109 - passing it is no error here
    ) -> None: ...

    async def flush(
        self,
        callback: Callable[[Exception | None, FlushResult], object] | None = None,
        *,
        until: Literal["delivered", "persisted"] = "delivered",
        timeout: float | None = None,  # noqa: ASYNC109 - passing it is no error here
    ) -> FlushResult | None:
        """See ``Client.flush``. However many calls wait, and are cancelled, no thread waits for them."""
        outcome: asyncio.Future[FlushResult] = self._running_loop().create_future()
        settle = _settler(outcome)

        def tell(error: Exception | None, result: FlushResult) -> None:
            settle(result, error)

        self._client.flush(tell if callback is None else callback, until=until, timeout=timeout)
        return None if callback is not None else await outcome

    async def close(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - the engine keeps it, not the event loop
        """See ``Client.close``."""
        self._client.end()
        await self._apart(self._client._close, timeout)  # noqa: SLF001 - it is ours

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

    async def _await_stored(self, call: Callable[..., str | None], callback: Callback | None) -> str | None:
        import asyncio

        outcome: asyncio.Future[bool] = self._running_loop().create_future()
        settle = _settler(outcome)
        awaited = Awaited(lambda stored: settle(stored, None), callback)
        message_id = call(callback=awaited)
        pipeline = awaited.pipeline
        if message_id is None or pipeline is None:
            return message_id
        if not self._client._opts.calls_wait:  # noqa: SLF001 - it is ours
            # The flusher would wait for company. Its locks are for threads of ours: a signal handler may run amid this one.
            carry_out(lambda: pipeline.flusher.hasten(pipeline.buffer.accepted))
        deadline = time.monotonic() + self._client._find_patience()  # noqa: SLF001 - it is ours
        while (left := deadline - time.monotonic()) > 0:
            done, _ = await asyncio.wait([outcome], timeout=min(left, ALARM_INTERVAL))
            if done:
                break
            pipeline.buffer.alarm()
        if outcome.done() and outcome.result():
            return message_id
        self._client.leave_unconfirmed()
        return None

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """Return the running event loop, on which callbacks may run from now on."""
        import asyncio  # not at the top: a program that never awaits does not pay for it

        loop = self._client._reporter.loop = asyncio.get_running_loop()  # noqa: SLF001 - it is ours
        return loop

    async def _apart(self, call: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """
        Run *call* on a thread of its own, which no thread waits for once the awaiting task is cancelled.

        A thread of the event loop's executor would not do: the loop waits for those at its end. Where the system grants no
        thread, the event loop's thread runs the call.
        """
        outcome: asyncio.Future[None] = self._running_loop().create_future()
        settle = _settler(outcome)

        def run() -> None:
            raised = None
            try:
                call(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - the awaiting task gets it
                raised = error
            settle(None, raised)

        try:
            start_apart(run)
        except NoThread:
            call(*args, **kwargs)
        else:
            await outcome


def _settler(outcome: asyncio.Future[Any]) -> Callable[[Any, BaseException | None], None]:
    """Return what ends *outcome* from another thread, unless its event loop has ended or its task was cancelled."""

    def settle(result: Any, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(error)

    def settle_soon(result: Any, error: BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended meanwhile
            outcome.get_loop().call_soon_threadsafe(settle, result, error)

    return settle_soon


AsyncClient.__module__ = "eventspool"  # what help, tracebacks and pickle say: this module may change
