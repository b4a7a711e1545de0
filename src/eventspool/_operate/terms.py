"""
Which stored events an operator asks for: by a field's text, or by any text in them. Pure.

To decode an event takes ten times as long as to see that it cannot hold a text. So each event is first looked through as
bytes. That may only ever skip an event for certain: JSON allows each character of a text to be written in several ways, and
not every event was encoded by this library (``eventspool send`` takes files, and other programs write into queues).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from eventspool._envelope import EnvelopeError, open_envelope
from eventspool._events.decoding import decode_event
from eventspool._events.encoding import without_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["FieldIs", "Found", "HoldsText", "Terms"]

_SHORT_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_MOST_CHARACTERS = 1000
"""Characters of the longest text whose escaped forms are looked for. For a longer one each event with an escape is decoded."""
NAMES = ("event", "name")
"""Fields that hold an event's name: of a track, of a page or a screen."""
USERS = ("userId", "anonymousId", "previousId")
"""Fields that hold the id of a user."""


class _Term(Protocol):
    def is_in(self, event: bytes) -> bool | None:
        """Say whether *event* meets the term; ``None`` where it cannot be read."""


class FieldIs:
    """
    Tells which events have a text as one of some fields.

    Args:
        text: The whole text of the field.
        fields: The names of the fields. One of them must have the text.
    """

    def __init__(self, text: str, fields: Sequence[str]) -> None:
        self._text = without_surrogates(text)  # the text's form in stored events
        self._fields = fields
        self._plain = f'"{self._text}"'.encode()

    def is_in(self, event: bytes) -> bool | None:
        """Say whether *event* has the text there; ``None`` where it cannot be read."""
        if not self._may_be_in(event):
            return False
        try:
            fields = decode_event(event)
        except ValueError:
            return None
        return any(fields.get(name) == self._text for name in self._fields)

    def _may_be_in(self, event: bytes) -> bool:
        """Say whether *event* may hold the text, or is no JSON object in UTF-8 at first sight."""
        return (
            self._plain in event or (b"\\" in event and self._may_be_escaped_in(event)) or _is_foreign(event)
        )

    def _may_be_escaped_in(self, event: bytes) -> bool:
        return len(self._text) > _MOST_CHARACTERS or self._any_form.search(event) is not None

    @cached_property
    def _any_form(self) -> re.Pattern[bytes]:
        """Every text in JSON that means the text."""
        return re.compile(b'"%s"' % b"".join(map(_forms_of, self._text)))


class HoldsText:
    """
    Tells which events hold a text, in any case: in their JSON as it is stored, or in one of their texts or names of fields.

    Args:
        text: What is looked for.
    """

    def __init__(self, text: str) -> None:
        self._text = without_surrogates(text).casefold()
        self._plain = self._text.encode() if self._text.isascii() else None

    def is_in(self, event: bytes) -> bool | None:
        """Say whether *event* holds the text; ``None`` where it cannot be read."""
        if self._is_in_stored(event):
            return True
        if b"\\" not in event and not _is_foreign(event):
            return False
        try:
            fields = decode_event(event)
        except ValueError:
            return None
        return any(self._text in text.casefold() for text in _texts_in(fields))

    def _is_in_stored(self, event: bytes) -> bool:
        if event.isascii():
            return self._plain is not None and self._plain in event.lower()
        return self._text in event.decode(errors="replace").casefold()


@dataclass(frozen=True, slots=True)
class Found:
    """
    What was found in one batch.

    Args:
        places: The positions of the events that meet the terms.
        events: The events of the batch.
        is_readable: Each of them, or at least one that meets the terms, could be read.
    """

    places: tuple[int, ...] = ()
    events: Sequence[bytes] = ()
    is_readable: bool = True

    @property
    def events_there(self) -> list[bytes]:
        """The events at these places."""
        return [self.events[place] for place in self.places]


@dataclass(frozen=True)
class Terms:
    """
    What an event must have. It meets the terms where it meets each that is given.

    Args:
        event: Its name; of a page or a screen, the name of that.
        user_id: Its ``userId``, ``anonymousId`` or ``previousId``.
        message_id: Its ``messageId``.
        text: Holds this text somewhere, in any case.
    """

    event: str | None = None
    user_id: str | None = None
    message_id: str | None = None
    text: str | None = None

    def __bool__(self) -> bool:
        """At least one term is given."""
        return bool(self._given)

    @cached_property
    def _given(self) -> tuple[_Term, ...]:
        fields = ((self.message_id, ("messageId",)), (self.user_id, USERS), (self.event, NAMES))
        found: list[_Term] = [FieldIs(text, names) for text, names in fields if text is not None]
        return (*found, HoldsText(self.text)) if self.text is not None else tuple(found)

    def find_in(self, payload: bytes | None) -> Found:
        """Look through a stored batch."""
        try:
            events = open_envelope(payload or b"").split()
        except EnvelopeError:
            return Found(is_readable=False)
        answers = [self.are_met_by(event) for event in events]
        places = tuple(place for place, answer in enumerate(answers) if answer)
        return Found(places, events, bool(places) or None not in answers)

    def are_met_by(self, event: bytes) -> bool | None:
        """Say whether one event meets each term; ``None`` where it cannot be read."""
        for term in self._given:
            if not (answer := term.is_in(event)):
                return answer
        return True


def _is_foreign(event: bytes) -> bool:
    """Say whether *event* is no JSON object in UTF-8 at first sight. UTF-16 has zeros, and Python reads it as JSON, too."""
    return event[:1] != b"{" or event[-1:] != b"}" or b"\0" in event


def _texts_in(event: Mapping[str, object]) -> Iterator[str]:
    """Yield all texts and names of fields in a decoded *event*, however deep it is."""
    left: list[object] = [event]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from value
            left += value.values()
        elif isinstance(value, list):
            left += value


def _forms_of(character: str) -> bytes:
    """Return the pattern of all ways to write *character* in a JSON text."""
    units = character.encode("utf-16-be").hex()
    escaped = "".join(rf"\\u(?i:{units[at : at + 4]})" for at in range(0, len(units), 4))
    forms = [re.escape(character), escaped]
    if character in _SHORT_ESCAPES:
        forms.append(rf"\\{re.escape(_SHORT_ESCAPES[character])}")
    return f"(?:{'|'.join(forms)})".encode()
