"""What a request asks for: its body, and which jobs it is about. What means nothing is a ``ConfigError``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from eventspool._exceptions import ConfigError
from eventspool._operate.selection import state_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from eventspool._job import JobState

__all__ = ["choice_of", "named_in", "number_in", "read_body", "state_in"]

_MAX_BODY_BYTES = 1 << 20


async def read_body(request: Request) -> Mapping[str, Any] | None:
    """Return the request's JSON object, or ``None`` where it has none or too large a one."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > _MAX_BODY_BYTES:
            return None
    try:
        body = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def choice_of(body: Mapping[str, Any]) -> tuple[list[str] | None, str | None]:
    """Return the ids or the reason that *body* names, neither for all. A body that names nothing does not mean all."""
    ids, reason, everything = body.get("ids"), body.get("reason"), body.get("all")
    if [ids is not None, reason is not None, everything is True].count(True) != 1:
        raise ConfigError("give one of ids, reason and all")
    if ids is not None and not (isinstance(ids, list) and all(isinstance(i, str) for i in ids)):
        raise ConfigError("ids must be an array of job ids")
    if reason is not None and not isinstance(reason, str):
        raise ConfigError("reason must be text")
    return ids, reason


def named_in(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``choice_of`` does, as keyword arguments of ``Queue``."""
    ids, reason = choice_of(body)
    return {"ids": ids, "reason": reason}


def state_in(given: Mapping[str, Any]) -> JobState:
    """Return the state of the jobs that *given* is about."""
    return state_of(given.get("state", "failed"))


def number_in(request: Request, name: str, default: float) -> float:
    """Return the parameter *name* of the address, or *default* where it is not there."""
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value < 1e15:
        raise ConfigError(f"{name} must be a number")
    return value
