"""The host's ``on_error`` and callbacks, plain or ``async def``, and what ``on_error`` must not be told of."""

from __future__ import annotations

from contextvars import ContextVar
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from eventspool._guest.log import Log

    OnError = Callable[[Exception, list[dict[str, Any]]], object]

__all__ = ["Reporter"]

_reporting: ContextVar[bool] = ContextVar("eventspool_reporting", default=False)


class Reporter:
    """
    Tells ``on_error``, on the thread of the callbacks.

    Args:
        on_error: The host's, or ``None``.
        log: Where it is said, by its type alone, that an ``async def`` callback raised.
    """

    def __init__(self, on_error: OnError | None, log: Log) -> None:
        self.on_error = on_error
        self.loop: asyncio.AbstractEventLoop | None = None
        """The host's event loop, where ``async def`` callbacks run; where there is none, they run on the callbacks' thread."""
        self.last_failure = ""
        """Why events were last given up."""
        self._log = log

    def begin_in_child(self) -> None:
        """In a forked child: the parent's event loop says that it runs, and does not run here."""
        self.loop = None
        self.last_failure = ""

    @property
    def is_reporting(self) -> bool:
        """Whether ``on_error`` is at work here, also by a task that took its context along: it must not hear of itself."""
        return _reporting.get()

    def report(self, error: Exception, events: list[dict[str, Any]]) -> None:
        """Call ``on_error``."""
        if self.on_error is not None:
            before = _reporting.set(True)
            try:
                self.finish(self.on_error(error, events))
            finally:
                _reporting.reset(before)

    def finish(self, result: object) -> None:
        """Run what a callback has returned, where it is a coroutine."""
        if not iscoroutine(result):
            return
        loop = self.loop
        if loop is not None and loop.is_running():
            import asyncio

            asyncio.run_coroutine_threadsafe(self._watched(result), loop)
        else:
            _run(result)

    async def _watched(self, callback: Coroutine[Any, Any, object]) -> None:
        try:
            await callback
        except Exception as error:  # noqa: BLE001 - as of any callback: it harms nothing
            self._log.warning("a callback raised %s", type(error).__name__)


def _run(callback: Coroutine[Any, Any, object]) -> None:
    import asyncio  # not at the top: a program without such a callback never pays for it

    asyncio.run(callback)
