"""
AWS Lambda, and other platforms that freeze a process once it has answered.

    @eventspool.integrations.aws_lambda.handler
    def handle(event, context):
        eventspool.track("user-1", "Order Completed")

The default client is made of the environment, unless ``eventspool.init(…)`` has made one.

Between two calls such a process does not run: an event that still waits in its memory is sent with a later call, or never. So
the handler's answer waits until its events are delivered, for as long as there is time.
"""

from __future__ import annotations

import inspect
import os
import re
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from eventspool import _default
from eventspool._aio import AsyncClient
from eventspool._config.checks import require_number
from eventspool._events.interruption import raise_interruption
from eventspool._events.scope import context as scope
from eventspool._exceptions import ConfigError
from eventspool._guest.log import Log
from eventspool._guest.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._client import Client

__all__ = ["handler"]

P = ParamSpec("P")
R = TypeVar("R")

_log = Log("eventspool")
_throttle = Throttle(_log)

_TRACE = re.compile(r"Root=1-([0-9a-f]{8})-([0-9a-f]{24})(?:;Parent=([0-9a-f]{16}))?")
"""``Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1``, with more at the end perhaps."""
_UNTOLD = 2.0
"""Seconds for a flush where the platform does not say how much time is left: some end a call after three."""


@overload
def handler(handle: Callable[P, R]) -> Callable[P, R]: ...


@overload
def handler(
    *,
    reserve: float = 0.5,
    timeout: float = 10.0,
    client: Client | None = None,
    request_id: bool = True,
    trace: bool = True,
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def handler(
    handle: Callable[..., Any] | None = None,
    *,
    reserve: float = 0.5,
    timeout: float = 10.0,
    client: Client | None = None,
    request_id: bool = True,
    trace: bool = True,
) -> Any:
    """
    Have a Lambda handler answer, or raise what it raises, once its events are delivered.

    With a client that only stores (``process=False``): once they are in the queue. What is left when the time is over stays
    where it is, is counted in the log, and is sent with a later call of the same process, if there is one.

    Args:
        handle: The handler, ``handle(event, context)``, for use without parentheses.
        reserve: Seconds that are kept of the time that the platform says is left, for the answer.
        timeout: Most seconds that a flush may take, whatever time is left: while the data plane is down each call costs them.
        client: The client; ``None``: the default one (``eventspool.init``), as it is when the handler ends.
        request_id: Put ``awsRequestId`` into the context of the events that the handler tracks.
        trace: Put ``traceId`` and ``spanId``, those of the X-Ray trace in the form of W3C, into it.

    Raises:
        ConfigError: An option, or one of the environment, is wrong, or *handle* is a coroutine function or a
            generator: Lambda calls none.
    """
    require_number("reserve", reserve, 0)
    require_number("timeout", timeout, 0)
    if isinstance(client, AsyncClient):
        raise ConfigError("client must be an eventspool.Client: a handler is no coroutine")
    wrap = partial(_wrap, reserve=reserve, timeout=timeout, client=client, request_id=request_id, trace=trace)
    return wrap if handle is None else wrap(handle)


def _wrap(
    handle: Callable[P, R],
    *,
    reserve: float,
    timeout: float,
    client: Client | None,
    request_id: bool,
    trace: bool,
) -> Callable[P, R]:
    if _runs_later(handle) or _runs_later(getattr(handle, "__call__", None)):  # noqa: B004 - of an object that is called
        raise ConfigError("handler() needs a plain function, as a platform calls it")
    if client is None:
        _default.ensure_client()

    @wraps(handle)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        told = args[1] if len(args) > 1 else kwargs.get("context")  # by the platform
        try:
            with scope(context=_describe(told, request_id=request_id, trace=trace)):
                return handle(*args, **kwargs)
        finally:
            _flush(client, min(_time_left(told, reserve), timeout))

    return call


def _runs_later(handle: object) -> bool:
    """Say whether a call of *handle* only returns something whose code runs later: when the events were flushed already."""
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return any(is_one(handle) for is_one in kinds)


def _describe(told: object, *, request_id: bool, trace: bool) -> dict[str, Any]:
    """Return what the platform has *told* of this call, for the events' context."""
    described = {}
    if request_id and isinstance(identity := getattr(told, "aws_request_id", None), str):
        described["awsRequestId"] = identity
    if trace and (found := _TRACE.match(os.environ.get("_X_AMZN_TRACE_ID", ""))):
        described["traceId"] = found[1] + found[2]
        if found[3]:
            described["spanId"] = found[3]
    return described


def _time_left(told: object, reserve: float) -> float:
    """Return for how many seconds a flush may go on."""
    try:
        left: object = told.get_remaining_time_in_millis()  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - another platform: whatever it is, the handler's answer must not suffer
        return _UNTOLD
    if not isinstance(left, int | float):  # in a test it may be a mock, which cannot be compared
        return _UNTOLD
    return max(left / 1000.0 - reserve, 0.0)


def _flush(client: Client | None, timeout: float) -> None:
    """Deliver what *client* has accepted. Raises no error of ours: what the handler returns or raises goes on."""
    try:
        if client is None:
            client = _default.current_client()
        if client is None:  # then the handler has tracked nothing
            return
        only_stores = not client._opts.process  # noqa: SLF001 - it is ours
        result = client.flush(until="persisted" if only_stores else "delivered", timeout=timeout)
        if result.pending:
            _throttle.warning(
                "%d events wait when the handler ends (%s); they are sent with a later call of this process, if there is one",
                result.pending,
                result.reason,
            )
    except Exception as error:  # noqa: BLE001 - a bug on this side
        raise_interruption(error)
        _throttle.warning("flushing at the end of a handler met %s", type(error).__name__)
