"""The host's last word on each event, on the caller's thread: it may change the event, leave things out of it, or drop it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from eventspool._events.arguments import (
    mapping_of,
    message_id_of,
    moment_text,
    required_id,
    required_text,
    text_of,
)
from eventspool._events.decoding import decode_event
from eventspool._events.encoding import encode_exactly, type_name
from eventspool._events.event import Event, EventEncoder
from eventspool._events.interruption import raise_interruption
from eventspool._events.kinds import KINDS
from eventspool._exceptions import EventError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LastWordEncoder"]


_MAPPINGS = ("properties", "traits", "context", "integrations")


class _Question:
    """One call of ``before_send``. A task that it has begun has a copy of the context, and may track afterwards."""

    __slots__ = ("is_asked",)

    def __init__(self) -> None:
        self.is_asked = True


_question: ContextVar[_Question | None] = ContextVar("eventspool_before_send", default=None)


class LastWordEncoder(EventEncoder):
    """
    An encoder whose events the host's *before_send* sees last, each as a copy that it may change and return.

    Args:
        before_send: Takes the event as a dictionary, as it would be sent. Returns what is sent, ``None`` for nothing.
        max_event_bytes: Most bytes that an encoded event may have, before and after.
    """

    __slots__ = ("_before_send",)

    def __init__(
        self, before_send: Callable[[dict[str, Any]], dict[str, Any] | None], *, max_event_bytes: int
    ) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self._before_send = before_send

    def track(self, *args: Any, **kwargs: Any) -> Event:
        return self._amend(super().track(*args, **kwargs))

    def identify(self, *args: Any, **kwargs: Any) -> Event:
        return self._amend(super().identify(*args, **kwargs))

    def page(self, *args: Any, **kwargs: Any) -> Event:
        return self._amend(super().page(*args, **kwargs))

    def screen(self, *args: Any, **kwargs: Any) -> Event:
        return self._amend(super().screen(*args, **kwargs))

    def group(self, *args: Any, **kwargs: Any) -> Event:
        return self._amend(super().group(*args, **kwargs))

    def alias(self, *args: Any, **kwargs: Any) -> Event:
        return self._amend(super().alias(*args, **kwargs))

    def _amend(self, made: Event) -> Event:
        """
        Return the event that the host makes of *made*.

        Raises:
            EventError: Nothing is sent: the host's function returned ``None`` (``dropped``), or raised or returned what is
                no event (``before_send``).
        """
        asked = _question.get()
        if asked is not None and asked.is_asked:
            raise EventError(
                "before_send tracks an event itself, which it would be asked about", "before_send"
            )
        question = _Question()
        try:  # a signal handler may raise right after the variable is set, before the function is called
            _question.set(question)
            returned = self._before_send(decode_event(made[0], is_exact=True))
        except Exception as error:
            raise_interruption(error)
            raise EventError(f"before_send raised {type_name(error)}", "before_send") from error
        finally:
            question.is_asked = False
            _question.set(None)
        if returned is None:
            raise EventError("before_send dropped the event", "dropped")
        if type(returned) is not dict:
            raise EventError(f"before_send returned no event, but {type_name(returned)}", "before_send")
        event = dict(returned)  # the host's may be one that it returns each time
        try:
            identity = _check(event)
        except EventError as error:
            raise EventError(f"before_send returned no event: {error}", "before_send") from None
        except Exception as error:  # noqa: BLE001 - what the host's own values raise
            raise_interruption(error)
            raise EventError(
                f"before_send returned no event: reading it raised {type_name(error)}", "before_send"
            ) from None
        return encode_exactly(event, self._max_bytes), identity


def _check(event: dict[str, Any]) -> str:
    """
    Give the fields of *event* the form that the arguments of a call get. Return its message id.

    Raises:
        EventError: It is no event that a data plane takes.
    """
    kind = KINDS.get(event["type"]) if type(event.get("type")) is str else None
    if kind is None:
        raise EventError(f"type must be one of {', '.join(KINDS)}")
    for name in kind.needed:
        event[name] = (required_text if name == "event" else required_id)(name, event.get(name))
    given = [name for name in ("userId", "anonymousId") if name in event]
    if not given:
        raise EventError("userId or anonymousId must be given")
    event.update((name, required_id(name, event[name])) for name in given)
    event.update((name, text_of(name, event[name])) for name in ("category", "name") if name in event)
    event.update((name, mapping_of(name, event[name])) for name in _MAPPINGS if name in event)
    for name in ("timestamp", "originalTimestamp"):
        event[name] = moment_text(name, event.get(name))
    identity = event["messageId"] = message_id_of("messageId", event.get("messageId"))
    return identity
