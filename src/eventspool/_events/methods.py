"""The six event methods, as programs call them: their signatures, and what a refused call shows to ``on_error``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from eventspool._exceptions import EventError
from eventspool._guest.process import begin_in_child, here

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eventspool._events.event import EventEncoder

    Callback = Callable[[Exception | None, str], object]

__all__ = ["EventMethods"]


class Capturing(Protocol):
    """What takes the events of all clients in place of their pipelines, for a test."""

    def take(self, client: EventMethods, encoded: bytes) -> object:
        """Take an encoded event of *client*."""

    def flush(self, client: EventMethods) -> int:
        """Return how many events of *client* were taken since this was last asked."""


capture: Capturing | None = None
"""Set by ``eventspool.testing``."""


class EventMethods(ABC):
    """The event methods of a client. Positions of the arguments are those of the Segment family."""

    _encoder: EventEncoder
    _put: Callable[[bytes], bool] | None
    """Puts an event for which no caller waits straight into the buffer; ``None`` until there is one to put it into."""

    def identify(
        self,
        user_id: Any = None,
        traits: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: Any = None,
        anonymous_id: Any = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: str | None = None,
        callback: Callback | None = None,
    ) -> str | None:
        """Say who a user is. Return the message id, or ``None`` when the event was refused."""
        if not here[0]:  # a child whose fork Python was not told of; else even message ids would repeat
            begin_in_child()
        try:
            encoded, message_id = self._encoder.identify(
                user_id, traits, context, timestamp, anonymous_id, integrations, message_id
            )
        except EventError as error:
            return self._refuse_invalid(error, "identify", locals())
        return self._accept(encoded, message_id, callback)

    def track(
        self,
        user_id: Any = None,
        event: Any = None,
        properties: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: Any = None,
        anonymous_id: Any = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: str | None = None,
        callback: Callback | None = None,
    ) -> str | None:
        """Record what a user did. Return the message id, or ``None`` when the event was refused."""
        if not here[0]:  # a child whose fork Python was not told of; else even message ids would repeat
            begin_in_child()
        try:
            encoded, message_id = self._encoder.track(
                user_id, event, properties, context, timestamp, anonymous_id, integrations, message_id
            )
        except EventError as error:
            return self._refuse_invalid(error, "track", locals())
        put = self._put
        if put is not None and callback is None and capture is None and put(encoded):
            return message_id  # what `_accept` would do, with one call less
        return self._accept(encoded, message_id, callback)

    def page(
        self,
        user_id: Any = None,
        category: str | None = None,
        name: str | None = None,
        properties: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: Any = None,
        anonymous_id: Any = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: str | None = None,
        callback: Callback | None = None,
    ) -> str | None:
        """Record a page view. Return the message id, or ``None`` when the event was refused."""
        if not here[0]:  # a child whose fork Python was not told of; else even message ids would repeat
            begin_in_child()
        try:
            encoded, message_id = self._encoder.page(
                user_id,
                category,
                name,
                properties,
                context,
                timestamp,
                anonymous_id,
                integrations,
                message_id,
            )
        except EventError as error:
            return self._refuse_invalid(error, "page", locals())
        return self._accept(encoded, message_id, callback)

    def screen(
        self,
        user_id: Any = None,
        category: str | None = None,
        name: str | None = None,
        properties: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: Any = None,
        anonymous_id: Any = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: str | None = None,
        callback: Callback | None = None,
    ) -> str | None:
        """Record a view of an app's screen. Return the message id, or ``None`` when the event was refused."""
        if not here[0]:  # a child whose fork Python was not told of; else even message ids would repeat
            begin_in_child()
        try:
            encoded, message_id = self._encoder.screen(
                user_id,
                category,
                name,
                properties,
                context,
                timestamp,
                anonymous_id,
                integrations,
                message_id,
            )
        except EventError as error:
            return self._refuse_invalid(error, "screen", locals())
        return self._accept(encoded, message_id, callback)

    def group(
        self,
        user_id: Any = None,
        group_id: Any = None,
        traits: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        timestamp: Any = None,
        anonymous_id: Any = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: str | None = None,
        callback: Callback | None = None,
    ) -> str | None:
        """Put a user into a group. Return the message id, or ``None`` when the event was refused."""
        if not here[0]:  # a child whose fork Python was not told of; else even message ids would repeat
            begin_in_child()
        try:
            encoded, message_id = self._encoder.group(
                user_id, group_id, traits, context, timestamp, anonymous_id, integrations, message_id
            )
        except EventError as error:
            return self._refuse_invalid(error, "group", locals())
        return self._accept(encoded, message_id, callback)

    def alias(
        self,
        previous_id: Any = None,
        user_id: Any = None,
        context: Mapping[str, Any] | None = None,
        timestamp: Any = None,
        integrations: Mapping[str, Any] | None = None,
        message_id: str | None = None,
        callback: Callback | None = None,
    ) -> str | None:
        """Say that two ids are one user. Return the message id, or ``None`` when the event was refused."""
        if not here[0]:  # a child whose fork Python was not told of; else even message ids would repeat
            begin_in_child()
        try:
            encoded, message_id = self._encoder.alias(
                previous_id, user_id, context, timestamp, integrations, message_id
            )
        except EventError as error:
            return self._refuse_invalid(error, "alias", locals())
        return self._accept(encoded, message_id, callback)

    @abstractmethod
    def _accept(self, encoded: bytes, message_id: str, callback: Callback | None) -> str | None:
        """Take an encoded event and return its message id, or ``None`` where it is refused."""

    @abstractmethod
    def _refuse_invalid(self, error: EventError, kind: str, arguments: dict[str, Any]) -> str | None:
        """
        Refuse a call that breaks the rules: raise *error* or return ``None``.

        Args:
            error: What is wrong.
            kind: The event's, as in ``KINDS``.
            arguments: The method's local variables: its arguments by the names of its parameters, and others.
        """
