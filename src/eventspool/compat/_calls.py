"""The six event calls as the SDKs of the family have them: what is wrong raises ``AssertionError``, the result is a pair."""

from __future__ import annotations

import numbers
import queue
from datetime import datetime
from typing import TYPE_CHECKING, Any

from eventspool._events.clock import instant_text, new_message_id
from eventspool._events.encoding import type_name
from eventspool._events.interruption import raise_interruption
from eventspool._events.scope import entered
from eventspool._exceptions import EventError
from eventspool._reception import waits_in_vain
from eventspool._version import __version__
from eventspool.compat._values import Reading, read_moment

if TYPE_CHECKING:
    from types import UnionType
    from typing import ClassVar

    from eventspool._client import Client
    from eventspool.compat._peer import Peer

__all__ = ["Calls", "Result"]

Result = tuple[bool, dict[str, Any]]
"""Whether the event was taken, and the event, as the SDKs return it."""

_LIBRARY = {"name": "eventspool", "version": __version__}
_ARGUMENTS = {"groupId": "group_id", "previousId": "previous_id"}
"""Fields of an event that an argument of the client has another name for."""


class Calls:
    """The event calls of one client."""

    PEER: ClassVar[Peer]
    client: Client
    """The ``eventspool.Client`` that does the work: its ``stats()`` and its ``queue`` tell more than this face."""
    send: bool
    sync_mode: bool
    timeout: float

    def identify(
        self,
        user_id: Any = None,
        traits: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        timestamp: datetime | None = None,
        anonymous_id: Any = None,
        integrations: dict[str, Any] | None = None,
        message_id: Any = None,
    ) -> Result:
        """Say who a user is. Return whether the event was taken, and the event."""
        fields = {"traits": _dict("traits", traits)}
        _require_either(user_id, anonymous_id)
        return self._enqueue(
            "identify", fields, user_id, context, timestamp, anonymous_id, integrations, message_id
        )

    def track(
        self,
        user_id: Any = None,
        event: str | None = None,
        properties: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        timestamp: datetime | None = None,
        anonymous_id: Any = None,
        integrations: dict[str, Any] | None = None,
        message_id: Any = None,
    ) -> Result:
        """Record what a user did. Return whether the event was taken, and the event."""
        _require_either(user_id, anonymous_id)
        fields = {"properties": _dict("properties", properties), "event": _require("event", event, str)}
        return self._enqueue(
            "track", fields, user_id, context, timestamp, anonymous_id, integrations, message_id
        )

    def alias(
        self,
        previous_id: Any = None,
        user_id: Any = None,
        context: dict[str, Any] | None = None,
        timestamp: datetime | None = None,
        integrations: dict[str, Any] | None = None,
        message_id: Any = None,
    ) -> Result:
        """Say that two ids are one user. Return whether the event was taken, and the event."""
        fields = {"previousId": _require_id("previous_id", previous_id)}
        _require_id("user_id", user_id)
        return self._enqueue("alias", fields, user_id, context, timestamp, None, integrations, message_id)

    def group(
        self,
        user_id: Any = None,
        group_id: Any = None,
        traits: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        timestamp: datetime | None = None,
        anonymous_id: Any = None,
        integrations: dict[str, Any] | None = None,
        message_id: Any = None,
    ) -> Result:
        """Put a user into a group. Return whether the event was taken, and the event."""
        _require_either(user_id, anonymous_id)
        fields = {"groupId": _require_id("group_id", group_id), "traits": _dict("traits", traits)}
        return self._enqueue(
            "group", fields, user_id, context, timestamp, anonymous_id, integrations, message_id
        )

    def page(
        self,
        user_id: Any = None,
        category: str | None = None,
        name: str | None = None,
        properties: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        timestamp: datetime | None = None,
        anonymous_id: Any = None,
        integrations: dict[str, Any] | None = None,
        message_id: Any = None,
    ) -> Result:
        """Record a page view. Return whether the event was taken, and the event."""
        _require_either(user_id, anonymous_id)
        fields = _view(category, name, properties)
        return self._enqueue(
            "page", fields, user_id, context, timestamp, anonymous_id, integrations, message_id
        )

    def screen(
        self,
        user_id: Any = None,
        category: str | None = None,
        name: str | None = None,
        properties: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        timestamp: datetime | None = None,
        anonymous_id: Any = None,
        integrations: dict[str, Any] | None = None,
        message_id: Any = None,
    ) -> Result:
        """Record a view of an app's screen. Return whether the event was taken, and the event."""
        _require_either(user_id, anonymous_id)
        fields = _view(category, name, properties)
        return self._enqueue(
            "screen", fields, user_id, context, timestamp, anonymous_id, integrations, message_id
        )

    def _enqueue(
        self,
        kind: str,
        fields: dict[str, Any],
        user_id: Any,
        context: dict[str, Any] | None,
        timestamp: datetime | None,
        anonymous_id: Any,
        integrations: dict[str, Any] | None,
        message_id: Any,
    ) -> Result:
        """Have the client take an event whose own *fields* are right."""
        message: dict[str, Any] = {
            "type": kind,
            **fields,
            "context": _dict("context", context),
            "integrations": _dict("integrations", integrations) or self.PEER.integrations,
            "userId": user_id,
            "anonymousId": anonymous_id,
            "messageId": message_id,
        }
        if timestamp is not None:
            _require("timestamp", timestamp, datetime)
        try:
            return self._take(message, timestamp), message
        except EventError as error:
            problem = error
        except Exception as error:  # noqa: BLE001 - what the host's objects raise costs the event, and nothing else
            raise_interruption(error)
            problem = EventError(f"reading the call raised {type_name(error)}")
        told = {name: value for name, value in message.items() if value is not None}
        self.client._refuse(problem, told)  # noqa: SLF001 - one package
        return False, message

    def _take(self, message: dict[str, Any], timestamp: datetime | None) -> bool:
        """Make *message* what is sent, and hand it to the client. Return whether the client has taken it."""
        reading = Reading(self.client._opts.max_event_bytes)  # noqa: SLF001
        for name, value in message.items():
            if type(value) is dict or isinstance(value, dict):
                message[name] = reading.mapping(value)
            elif name.endswith("Id") and value is not None:
                message[name] = value if type(value) is str else str(value)
        moment = read_moment(timestamp)
        message["timestamp"] = instant_text(moment)
        scope = entered()
        if (
            scope is not None and scope.identify is not None
        ):  # it tells repeated calls by what they say, and not by when
            timestamp = timestamp and moment
        else:
            timestamp = moment
            message["messageId"] = message["messageId"] or new_message_id()
        arguments = {
            _ARGUMENTS.get(name, name): message[name]
            for name in ("event", "properties", "traits", "category", "name", "groupId", "previousId")
            if name in message
        }
        if message["type"] != "alias":
            arguments["anonymous_id"] = message["anonymousId"]
        if message["type"] == "identify":
            self._place_traits(message, arguments)
        arguments["context"] = message["context"] or None
        message["context"] = {**message["context"], "library": _LIBRARY}
        if self.PEER.has_channel:
            message["channel"] = "server"
        arguments |= {"user_id": message["userId"], "integrations": message["integrations"]}
        message_id = message["messageId"] or None
        ok, identity = self._track(message["type"], timestamp=timestamp, message_id=message_id, **arguments)
        message["messageId"] = message_id or identity
        return ok

    def _place_traits(self, message: dict[str, Any], arguments: dict[str, Any]) -> None:
        """Have the traits of ``identify`` stand where the SDK puts them. The client puts them into both places."""
        if self.PEER.has_root_traits:
            arguments["traits"] = (
                message["traits"] or None
            )  # those of the context stay where the call gives none
        else:
            message["context"]["traits"] = message.pop("traits")

    def _track(self, kind: str, **arguments: Any) -> tuple[bool, str | None]:
        """Return whether the client has taken the event, and the event's id."""
        if not self.send and self.client._opts.enable:  # noqa: SLF001
            return True, None  # the program has switched it off by its attribute
        method = getattr(self.client, kind)
        if not (self.sync_mode and self.send) or self._waits_in_vain():
            identity = method(**arguments)
            return identity is not None, identity
        settled: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        identity = method(**arguments, callback=lambda error, _: settled.put(error))
        if identity is None:
            return False, None
        self.client.flush(lambda *_: None, timeout=self.timeout)
        try:
            return settled.get(timeout=self.timeout) is None, identity
        except queue.Empty:  # it is still tried
            return True, identity

    def _waits_in_vain(self) -> bool:
        """Whether no callback can come as long as this call waits for it: it is one of a callback, or of a thread of ours."""
        pipeline = self.client._beginning.pipeline  # noqa: SLF001
        return waits_in_vain() or (pipeline is not None and pipeline.callbacks.is_current)


def _is_a(value: object, kind: type | UnionType) -> bool:
    """Say whether *value* is of a *kind*, or stands for such. An object that raises where it is asked is of none."""
    try:
        return isinstance(value, kind)
    except Exception as error:  # noqa: BLE001
        raise_interruption(error)
        return False


def _require(name: str, value: Any, kind: type) -> Any:
    if not _is_a(value, kind):
        raise AssertionError(f"{name} must be {kind.__name__}, not {type_name(value)}")
    return value


def _require_id(name: str, value: Any) -> Any:
    if not _is_a(value, str | numbers.Number):
        raise AssertionError(f"{name} must be a string or a number, not {type_name(value)}")
    return value


def _require_either(user_id: Any, anonymous_id: Any) -> None:
    """Raise where there is no id: neither here, nor in the scope that ``eventspool.context`` has entered."""
    given, scope = _first(user_id, anonymous_id), entered()
    if given is None and scope is not None and not (scope.user_id is None and scope.anonymous_id is None):
        return
    _require_id("user_id or anonymous_id", given)


def _first(value: Any, other: Any) -> Any:
    """Return ``value or other``. An object that is neither true nor false is no id."""
    try:
        return value or other
    except Exception as error:  # noqa: BLE001
        raise_interruption(error)
        return None


def _dict(name: str, value: Any) -> dict[str, Any]:
    return dict(_require(name, _first(value, {}), dict))


def _view(category: Any, name: Any, properties: Any) -> dict[str, Any]:
    return {
        "category": _text_or_none("category", category),
        "name": _text_or_none("name", name),
        "properties": _dict("properties", properties),
    }


def _text_or_none(name: str, value: Any) -> Any:
    if _is_a(value, str):
        return value
    return _first(value, None) and _require(name, value, str)
