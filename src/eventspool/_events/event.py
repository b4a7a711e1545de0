"""
The six calls: rules, defaults and final bytes, all on the caller's thread.

Encoding at once keeps the promise cheap: the bytes are the snapshot of the caller's objects, their size is
known before the event is taken, and the same bytes go to the queue and onto the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import Enum
from functools import wraps
from itertools import islice
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from eventspool._events.clock import instant_text, moment_of, new_message_id, now_text
from eventspool._events.encoding import (
    FAST_OPTIONS,
    Fragment,
    dumps_fast,
    encode_exactly,
    numpy_scalar,
    type_name,
    with_leaves_encoded,
    without_surrogates,
)
from eventspool._exceptions import EventError
from eventspool._version import __version__

__all__ = ["Event", "EventEncoder"]

_MAX_MESSAGE_ID_CHARS = 255
_P = ParamSpec("_P")
_T = TypeVar("_T")

Event = tuple[bytes, str]
"""An event in its final form, compact JSON without a raw newline, and its message id. A plain tuple is the cheapest."""


def _no_other_error(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Turn what the caller's objects raise into ``EventError``. The first argument names the bad one."""

    @wraps(function)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except EventError:
            raise
        except Exception as error:  # noqa: BLE001
            kind = type_name(error)
        raise EventError(f"{args[0]}: reading it raised {kind}")

    return guarded


class EventEncoder:
    """
    Checks and encodes the calls of one client. Immutable, so it is safe between threads and over a fork.

    Every method raises ``EventError``, and only that, for a call that breaks the rules; ``reason`` is
    ``invalid``, ``unencodable`` or ``too_large``, and the message holds no value of the caller's. Nothing of
    the caller's is changed or kept.

    Args:
        max_event_bytes: Most bytes that an encoded event may have.
        library: What ``context.library`` says.
    """

    __slots__ = ("_dumps", "_library", "_max_bytes", "_plain_context")

    def __init__(
        self,
        *,
        max_event_bytes: int = 32_768,
        library: Mapping[str, Any] | None = None,
        _fast: bool = True,
    ) -> None:
        self._max_bytes = max_event_bytes
        self._library = {"name": "eventspool", "version": __version__} if library is None else dict(library)
        context = {"library": self._library}
        self._dumps: Callable[..., bytes] | None = dumps_fast if _fast else None
        self._plain_context: Any = context
        if self._dumps is not None:
            self._plain_context = Fragment(encode_exactly(context, max_event_bytes))

    def track(
        self,
        user_id: object = None,
        event: object = None,
        properties: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: object = None,
        anonymous_id: object = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: object = None,
    ) -> Event:
        """What somebody did: *event* is its name."""
        if (  # the usual call goes the short way: the rules hold at a glance, and no other call is in between
            timestamp is None
            and anonymous_id is None
            and integrations is None
            and message_id is None
            and type(properties) is dict
            and (context is None or type(context) is dict)
            and type(event) is str
            and type(user_id) is str
            and event
            and user_id
        ):
            identity = new_message_id()
            moment = now_text()
            try:
                encoded: bytes = self._dumps(  # type: ignore[misc]
                    {
                        "type": "track",
                        "event": event,
                        "properties": properties,
                        "userId": user_id,
                        "messageId": identity,
                        "timestamp": moment,
                        "originalTimestamp": moment,
                        "channel": "server",
                        "context": self._plain_context
                        if context is None
                        else {**context, "library": self._library},
                    },
                    None,
                    FAST_OPTIONS,
                )
                if len(encoded) <= self._max_bytes and 10 not in encoded:
                    return encoded, identity
            except Exception:  # noqa: BLE001, S110 - the long way knows better, or says what is wrong
                pass
        if type(event) is not str or not event:
            event = _required_text("event", event)
        if properties is None or type(properties) is not dict:
            properties = _mapping("properties", properties)
        body: dict[str, Any] = {"type": "track", "event": event, "properties": properties}
        return self._event(body, user_id, context, timestamp, anonymous_id, integrations, message_id)

    def identify(
        self,
        user_id: object = None,
        traits: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: object = None,
        anonymous_id: object = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: object = None,
    ) -> Event:
        """Who somebody is. The traits stand in ``context.traits`` as well, over the caller's own there."""
        plain = _mapping("traits", traits)
        merged = dict(_mapping("context", context))
        if traits is not None or "traits" not in merged:
            merged["traits"] = plain
        body: dict[str, Any] = {"type": "identify", "traits": plain}
        return self._event(body, user_id, merged, timestamp, anonymous_id, integrations, message_id)

    def page(
        self,
        user_id: object = None,
        category: object = None,
        name: object = None,
        properties: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: object = None,
        anonymous_id: object = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: object = None,
    ) -> Event:
        """What page of a web site somebody saw."""
        body = _view("page", category, name, properties)
        return self._event(body, user_id, context, timestamp, anonymous_id, integrations, message_id)

    def screen(
        self,
        user_id: object = None,
        category: object = None,
        name: object = None,
        properties: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: object = None,
        anonymous_id: object = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: object = None,
    ) -> Event:
        """What screen of an app somebody saw."""
        body = _view("screen", category, name, properties)
        return self._event(body, user_id, context, timestamp, anonymous_id, integrations, message_id)

    def group(
        self,
        user_id: object = None,
        group_id: object = None,
        traits: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: object = None,
        anonymous_id: object = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: object = None,
    ) -> Event:
        """What group (a company, a team) somebody belongs to; *traits* are the group's."""
        group = _required_id("group_id", group_id)
        body: dict[str, Any] = {"type": "group", "groupId": group, "traits": _mapping("traits", traits)}
        return self._event(body, user_id, context, timestamp, anonymous_id, integrations, message_id)

    def alias(
        self,
        previous_id: object = None,
        user_id: object = None,
        context: Mapping[str, Any] | None = None,
        timestamp: object = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: object = None,
    ) -> Event:
        """Two ids are one person: what was known as *previous_id* is *user_id*."""
        body: dict[str, Any] = {"type": "alias", "previousId": _required_id("previous_id", previous_id)}
        user = _required_id("user_id", user_id)
        return self._event(body, user, context, timestamp, None, integrations, message_id)

    def _event(
        self,
        event: dict[str, Any],
        user_id: object,
        context: Mapping[str, Any] | None,
        timestamp: object,
        anonymous_id: object,
        integrations: Mapping[str, Any] | None,
        message_id: object,
    ) -> Event:
        """Add what all calls have to *event*, and encode it."""
        if user_id is not None and type(user_id) is not str:
            user_id = _id("user_id", user_id)
        if anonymous_id is not None:
            anonymous_id = _id("anonymous_id", anonymous_id)
            if anonymous_id:
                event["anonymousId"] = anonymous_id
        if user_id:
            event["userId"] = user_id
        elif not anonymous_id:
            raise EventError("user_id or anonymous_id must be given")
        moment = now_text() if timestamp is None else _moment("timestamp", timestamp)
        identity = new_message_id() if message_id is None else _message_id("message_id", message_id)
        event["messageId"] = identity
        event["timestamp"] = event["originalTimestamp"] = moment
        event["channel"] = "server"
        if context is None:
            event["context"] = self._plain_context
        else:
            event["context"] = {**_mapping("context", context), "library": self._library}
        if integrations is not None:
            event["integrations"] = _mapping("integrations", integrations)
        encoded = None
        if self._dumps is not None:
            try:  # noqa: SIM105 - a context manager costs as much as the encoding
                encoded = self._dumps(event, None, FAST_OPTIONS)
            except Exception:  # noqa: BLE001, S110 - whatever it is, the exact encoder knows better
                pass
        if encoded is None:
            encoded = self._once_more(event)
        if len(encoded) > self._max_bytes:
            size = f"{len(encoded)} bytes, more than max_event_bytes ({self._max_bytes})"
            raise EventError(f"the event has {size}", "too_large")
        if 10 in encoded:  # a newline; asking for the byte is five times as fast as for b"\n"
            raise EventError("an orjson.Fragment must not hold a raw newline", "unencodable")
        return encoded, identity

    def _once_more(self, event: dict[str, Any]) -> bytes:
        """
        Encode what the fast encoder gave up on.

        Dates and decimals right among the properties are common enough to try it again without them.
        """
        name = "traits" if "traits" in event else "properties"
        if self._dumps is not None and name in event:
            try:
                values = with_leaves_encoded(event[name])
                changed = {**event, name: values}
                context = event["context"]
                if type(context) is dict and context.get("traits") is event[name]:  # identify
                    changed["context"] = {**context, "traits": values}
                return self._dumps(changed, None, FAST_OPTIONS)
            except Exception:  # noqa: BLE001, S110 - then it is not as simple as that
                pass
        if event["context"] is self._plain_context:
            event["context"] = {"library": self._library}
        return encode_exactly(event, self._max_bytes)


def _mapping(name: str, value: object) -> dict[str, Any]:
    if type(value) is dict:
        return value
    return {} if value is None else _mapping_of(name, value)


@_no_other_error
def _mapping_of(name: str, value: object) -> dict[str, Any]:
    kind = type(value)
    if issubclass(kind, dict):
        return dict(dict.items(value))  # type: ignore[arg-type]
    if issubclass(kind, Mapping):
        return dict(islice(value.items(), 1_000_000))  # type: ignore[attr-defined]
    raise EventError(f"{name}: must be a mapping, not {type_name(value)}")


@_no_other_error
def _id(name: str, value: object) -> str | None:
    """Return an id as text, ``None`` where there is none."""
    if isinstance(value, Enum):
        value = value.value
    item = getattr(value, "item", None)
    if item is not None and type(value).__module__ == "numpy":
        value = item()
    if value is None or type(value).__name__ == "NAType":
        return None
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        if value - value != 0:
            raise EventError(f"{name}: must be a string or a finite number")
        return int.__repr__(int(value)) if value == int(value) else float.__repr__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    if isinstance(value, Decimal) and value.is_finite():
        return Decimal.__str__(value)
    if isinstance(value, UUID) or type(value).__module__ == "uuid_utils":
        return str(value)
    raise EventError(f"{name}: must be a string or a number, not {type_name(value)}")


def _required_id(name: str, value: object) -> str:
    text = value if type(value) is str else _id(name, value)
    if not text:
        raise EventError(f"{name} must be given")
    return text


@_no_other_error
def _text(name: str, value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    if not isinstance(value, str):
        raise EventError(f"{name}: must be a string, not {type_name(value)}")
    return str.__str__(value)


def _required_text(name: str, value: object) -> str:
    text = None if value is None else _text(name, value)
    if not text:
        raise EventError(f"{name} must be given")
    return text


def _view(kind: str, category: object, name: object, properties: Mapping[str, Any] | None) -> dict[str, Any]:
    body: dict[str, Any] = {"type": kind, "properties": _mapping("properties", properties)}
    if category is not None:
        body["category"] = _text("category", category)
    if name is not None:
        body["name"] = _text("name", name)
    return body


@_no_other_error
def _moment(name: str, value: object) -> str:
    if getattr(value, "item", None) is not None and type(value).__module__ == "numpy":
        value = numpy_scalar(value)
    moment = moment_of(value)
    if not isinstance(moment, datetime):
        raise EventError(
            f"{name}: must be a datetime, ISO 8601 text or seconds since 1970, not {type_name(value)}"
        )
    return instant_text(moment)


@_no_other_error
def _message_id(name: str, value: object) -> str:
    text = _id(name, value)
    if not text or len(text) > _MAX_MESSAGE_ID_CHARS:
        raise EventError(f"{name}: must be a string of 1 to {_MAX_MESSAGE_ID_CHARS} characters")
    return without_surrogates(text)
