"""The six event methods, as programs call them: their signatures, and what a refusal tells of the call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from eventspool._exceptions import EventError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eventspool._events.event import EventEncoder

    Callback = Callable[[Exception | None, str], object]

__all__ = ["EventMethods"]

capture: Callable[[bytes], object] | None = None
"""Set by ``eventspool.testing``: takes every encoded event in place of the pipeline."""


class EventMethods(ABC):
    """The event methods of a client (contract, section 1). Positions are those of the Segment family."""

    _encoder: EventEncoder
    _put: Callable[[bytes], bool] | None
    """The short way into the buffer, of events that nobody waits for; ``None`` until it is open."""

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
        try:
            encoded, message_id = self._encoder.identify(
                user_id, traits, context, timestamp, anonymous_id, integrations, message_id
            )
        except EventError as error:
            return self._refuse_invalid(
                error,
                type="identify",
                userId=user_id,
                traits=traits,
                context=context,
                timestamp=timestamp,
                anonymousId=anonymous_id,
                integrations=integrations,
                messageId=message_id,
            )
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
        try:
            encoded, message_id = self._encoder.track(
                user_id, event, properties, context, timestamp, anonymous_id, integrations, message_id
            )
        except EventError as error:
            return self._refuse_invalid(
                error,
                type="track",
                userId=user_id,
                event=event,
                properties=properties,
                context=context,
                timestamp=timestamp,
                anonymousId=anonymous_id,
                integrations=integrations,
                messageId=message_id,
            )
        put = self._put
        if put is not None and callback is None and capture is None and put(encoded):
            return message_id  # as `_accept` would, with one call less
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
            return self._refuse_invalid(
                error,
                type="page",
                userId=user_id,
                category=category,
                name=name,
                properties=properties,
                context=context,
                timestamp=timestamp,
                anonymousId=anonymous_id,
                integrations=integrations,
                messageId=message_id,
            )
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
            return self._refuse_invalid(
                error,
                type="screen",
                userId=user_id,
                category=category,
                name=name,
                properties=properties,
                context=context,
                timestamp=timestamp,
                anonymousId=anonymous_id,
                integrations=integrations,
                messageId=message_id,
            )
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
        try:
            encoded, message_id = self._encoder.group(
                user_id, group_id, traits, context, timestamp, anonymous_id, integrations, message_id
            )
        except EventError as error:
            return self._refuse_invalid(
                error,
                type="group",
                userId=user_id,
                groupId=group_id,
                traits=traits,
                context=context,
                timestamp=timestamp,
                anonymousId=anonymous_id,
                integrations=integrations,
                messageId=message_id,
            )
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
        try:
            encoded, message_id = self._encoder.alias(
                previous_id, user_id, context, timestamp, integrations, message_id
            )
        except EventError as error:
            return self._refuse_invalid(
                error,
                type="alias",
                previousId=previous_id,
                userId=user_id,
                context=context,
                timestamp=timestamp,
                integrations=integrations,
                messageId=message_id,
            )
        return self._accept(encoded, message_id, callback)

    @abstractmethod
    def _accept(self, encoded: bytes, message_id: str, callback: Callback | None) -> str | None:
        """Take an encoded event and return its message id, or ``None`` where it is refused."""

    @abstractmethod
    def _refuse_invalid(self, error: EventError, **given: Any) -> str | None:
        """Refuse a call that breaks the rules: raise *error* or return ``None``."""
