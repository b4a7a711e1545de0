"""
The six kinds of events, from the arguments of a call to the final bytes, all on the caller's thread.

An event is encoded at once. The bytes are a snapshot, so the caller may change the objects afterwards; their size is known
before the event is taken; and the same bytes go to the queue and onto the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventspool._events.arguments import (
    id_of,
    mapping_of,
    message_id_of,
    moment_text,
    required_id,
    required_text,
    text_of,
)
from eventspool._events.clock import new_message_id, now_text
from eventspool._events.encoding import (
    FAST_OPTIONS,
    Fragment,
    dumps_fast,
    encode_exactly,
    with_leaves_encoded,
)
from eventspool._events.interruption import raise_interruption
from eventspool._events.scope import entered
from eventspool._exceptions import EventError
from eventspool._version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Event", "EventEncoder"]

Event = tuple[bytes, str]
"""An event in its final form, which is compact JSON without a raw newline, and its message id. A tuple costs least."""


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
        """Encode what a user did; *event* is its name."""
        if (  # the usual call takes a short way: these tests show that the rules hold, without any other call
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
            and entered() is None
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
            except Exception as error:  # noqa: BLE001 - the long way takes the value, or says what is wrong
                raise_interruption(error)
        if type(event) is not str or not event:
            event = required_text("event", event)
        if (scope := entered()) is not None:
            properties = scope.properties_of(properties)
        if properties is None or type(properties) is not dict:
            properties = mapping_of("properties", properties)
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
        """Encode who a user is. *traits* stand in ``context.traits``, too, and replace the caller's there."""
        plain = mapping_of("traits", traits)
        merged = dict(mapping_of("context", context))
        scope = entered()
        is_bound = traits is None and scope is not None and "traits" in scope.context
        if not is_bound and (traits is not None or "traits" not in merged):
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
        """Encode which page of a web site a user saw."""
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
        """Encode which screen of an app a user saw."""
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
        """Encode which group (a company, a team) a user belongs to; *traits* are the group's."""
        group = required_id("group_id", group_id)
        body: dict[str, Any] = {"type": "group", "groupId": group, "traits": mapping_of("traits", traits)}
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
        """Encode that two ids are one user: *previous_id* is now known as *user_id*."""
        body: dict[str, Any] = {"type": "alias", "previousId": required_id("previous_id", previous_id)}
        if user_id is None and (scope := entered()) is not None:
            user_id, _ = scope.ids_of(None, None)
        user = required_id("user_id", user_id)
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
        if (scope := entered()) is not None:
            user_id, anonymous = scope.ids_of(user_id, anonymous_id)
            anonymous_id = None if event["type"] == "alias" else anonymous  # an alias has none
            context = scope.context_of(context)
        if user_id is not None and type(user_id) is not str:
            user_id = id_of("user_id", user_id)
        if anonymous_id is not None:
            anonymous_id = id_of("anonymous_id", anonymous_id)
            if anonymous_id:
                event["anonymousId"] = anonymous_id
        if user_id:
            event["userId"] = user_id
        elif not anonymous_id:
            raise EventError("user_id or anonymous_id must be given")
        moment = now_text() if timestamp is None else moment_text("timestamp", timestamp)
        if message_id is not None:
            identity = message_id_of("message_id", message_id)
        elif scope is not None and scope.identify is not None:
            given = None if timestamp is None else moment
            identity = scope.identify(self._content(event, context, given, integrations))
        else:
            identity = new_message_id()
        event["messageId"] = identity
        event["timestamp"] = event["originalTimestamp"] = moment
        event["channel"] = "server"
        if context is None:
            event["context"] = self._plain_context
        else:
            event["context"] = {**mapping_of("context", context), "library": self._library}
        if integrations is not None:
            event["integrations"] = mapping_of("integrations", integrations)
        encoded = self._encode(event)
        if len(encoded) > self._max_bytes:
            size = f"{len(encoded)} bytes, more than max_event_bytes ({self._max_bytes})"
            raise EventError(f"the event has {size}", "too_large")
        if 10 in encoded:  # a newline; asking for the byte is five times as fast as for b"\n"
            raise EventError("an orjson.Fragment must not hold a raw newline", "unencodable")
        return encoded, identity

    def _content(
        self,
        event: dict[str, Any],
        context: Mapping[str, Any] | None,
        moment: str | None,
        integrations: Mapping[str, Any] | None,
    ) -> bytes:
        """Return what a call says, the same for each call that says the same: without the present moment and the library."""
        said = {
            name: mapping_of(name, given)
            for name, given in (("context", context), ("integrations", integrations))
        }
        return self._encode({**event, **said, "timestamp": moment})

    def _encode(self, event: dict[str, Any]) -> bytes:
        if self._dumps is not None:
            try:
                return self._dumps(event, None, FAST_OPTIONS)
            except Exception as error:  # noqa: BLE001 - the exact encoder takes the value, or says what is wrong
                raise_interruption(error)
        return self._once_more(event)

    def _once_more(self, event: dict[str, Any]) -> bytes:
        """
        Encode an event that the fast encoder did not take.

        Dates and decimals right among the properties are common: they are encoded here, and the fast encoder gets the rest.
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
            except Exception as error:  # noqa: BLE001 - the exact encoder takes the value, or says what is wrong
                raise_interruption(error)
        if event["context"] is self._plain_context:
            event["context"] = {"library": self._library}
        return encode_exactly(event, self._max_bytes)


def _view(kind: str, category: object, name: object, properties: Mapping[str, Any] | None) -> dict[str, Any]:
    if (scope := entered()) is not None:
        properties = scope.properties_of(properties)
    body: dict[str, Any] = {"type": kind, "properties": mapping_of("properties", properties)}
    for field, value in (("category", category), ("name", name)):
        text = None if value is None else text_of(field, value)
        if text is not None:
            body[field] = text
    return body
