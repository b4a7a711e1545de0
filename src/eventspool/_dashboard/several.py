"""
Several queues in one dashboard, perhaps on several servers: which there are, and how each stands.

All are looked at side by side, and a server that does not answer holds up none of the others: the list names its queues as
not answering, and goes on without them.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import log10
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from starlette.responses import PlainTextResponse

from eventspool._dashboard.api import Api, as_json
from eventspool._dashboard.reading import visible
from eventspool._dashboard.visitor import is_read_only
from eventspool._exceptions import ConfigError, EventSpoolError
from eventspool._guest.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

    from eventspool._dashboard.dataplane import LocalDataPlane
    from eventspool._operate.queue import Queue

__all__ = ["Several", "addresses"]

_PATIENCE_SECONDS = 1.0
"""For how long the list waits for a queue. Looks that take longer go on, and the next request takes what they found."""
_STALE_SECONDS = 15.0
"""A look that nobody asked for since it ended, so long ago, is begun anew."""
_LEVELS = ("bad", "warn", "ok", "idle")
_AT_ONCE = 8
"""Looks that are under way at the same time."""
_log = Log("eventspool")


@dataclass(frozen=True, slots=True)
class _Found:
    """What a look at a queue found, and when, by the event loop's clock."""

    told: dict[str, Any]
    at: float


class Several:
    """
    Args:
        queues: By the names under which they are shown, or in a list.
        read_only: As in ``Api``.
        dataplane: As in ``Api``.

    Raises:
        ConfigError: There is no queue, or a list holds two of one name.
    """

    def __init__(
        self,
        queues: Mapping[str, Queue] | Sequence[Queue],
        *,
        read_only: bool,
        dataplane: LocalDataPlane | None,
    ) -> None:
        named = dict(queues) if isinstance(queues, Mapping) else _by_name(queues)
        if not named:
            raise ConfigError("the dashboard needs a queue to show")
        self._read_only = read_only
        keys = addresses(named)
        self._apis = {
            keys[name]: Api(
                queue, name=name, read_only=read_only, dataplane=dataplane, is_one_of_several=True
            )
            for name, queue in named.items()
        }
        self._limiter: anyio.CapacityLimiter | None = None
        self._looks: dict[str, asyncio.Task[_Found]] = {}

    async def list(self, request: Request) -> Response:
        """Answer how every queue stands."""
        asked = {key: self._look(key, api) for key, api in self._apis.items()}
        done, _ = await asyncio.wait(asked.values(), timeout=_PATIENCE_SECONDS)
        for key, task in asked.items():
            if task in done and self._looks.get(key) is task:
                del self._looks[key]
        queues = [
            {"key": key, "name": visible(self._apis[key].name), **_outcome(task)}
            for key, task in asked.items()
        ]
        queues.sort(key=_badness)
        return as_json(
            {"now": time.time(), "read_only": self._read_only or is_read_only(request), "queues": queues}
        )

    def of_each(self, make: Callable[[Api], ASGIApp]) -> ASGIApp:
        """Return the app that answers with what *make* returned for the queue that the path names by its ``key``."""
        apps = {key: make(api) for key, api in self._apis.items()}

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            app = apps.get(scope["path_params"]["key"]) or PlainTextResponse("there is no such queue\n", 404)
            await app(scope, receive, send)

        return answer

    def _look(self, key: str, api: Api) -> asyncio.Task[_Found]:
        """
        Return the look at a queue of which no answer has told yet, or begin one.

        One that ended after its request was answered is what the next request tells: a queue that is slow to look at would
        otherwise have no answer for ever.
        """
        task = self._looks.get(key)
        if task is None or (
            task.done() and task.result().at < asyncio.get_running_loop().time() - _STALE_SECONDS
        ):
            task = self._looks[key] = asyncio.ensure_future(self._ask(api))
        return task

    async def _ask(self, api: Api) -> _Found:
        if self._limiter is None:  # it belongs to the event loop, which runs only now
            self._limiter = anyio.CapacityLimiter(_AT_ONCE)
        told = await anyio.to_thread.run_sync(
            partial(_answer, api), abandon_on_cancel=True, limiter=self._limiter
        )
        return _Found(told, asyncio.get_running_loop().time())


def _badness(queue: dict[str, Any]) -> tuple[Any, ...]:
    """Return what the list is sorted by, the worst first; in steps, so that rows keep their places."""
    verdict = queue.get("verdict")
    level = _LEVELS.index(verdict["level"]) if verdict else -1
    age = int(log10(max(queue.get("oldest_age", 0.0), 1.0)))
    return level, -int((queue.get("fill") or 0.0) * 10), -age, queue["name"]


def _answer(api: Api) -> dict[str, Any]:
    try:
        return api.summary()
    except EventSpoolError as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - a fault of ours with one queue, beside which the others are shown
        _log.error("The dashboard cannot look at the queue %r: %s", api.name, type(error).__name__)
        return {"error": f"it cannot be looked at: {type(error).__name__}"}


def _outcome(task: asyncio.Task[_Found]) -> dict[str, Any]:
    return task.result().told if task.done() else {"error": "its server has not answered yet"}


def addresses(names: Iterable[str]) -> dict[str, str]:
    """
    Return, by name, what stands for each queue in the dashboard's addresses.

    A name that can stand there stands for itself, so that an address which was kept leads to the same queue after a restart.
    """
    plain = {name: re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "queue" for name in names}
    times = Counter(plain.values())
    return {
        name: key
        if times[key] == 1 or key == name
        else f"{key}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
        for name, key in plain.items()
    }


def _by_name(queues: Sequence[Queue]) -> dict[str, Queue]:
    named = {queue.name: queue for queue in queues}
    if len(named) < len(queues):
        raise ConfigError(
            "two of these queues have the same name: give them in a mapping, by names that differ"
        )
    return named
