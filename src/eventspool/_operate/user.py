"""
Find the events of one user among stored ones.

To decode an event takes ten times as long as to see that it cannot hold the user's id. So each event is first looked through
as bytes. That may only ever skip an event for certain: JSON allows each character of a text to be written in several ways, and
not every event was encoded by this library (``eventspool send`` takes files, and other programs write into queues).
"""

from __future__ import annotations

import re
from functools import cached_property

from eventspool._events.decoding import decode_event
from eventspool._events.encoding import without_surrogates

__all__ = ["User"]

_FIELDS = ("userId", "anonymousId", "previousId")
_SHORT_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_MOST_CHARACTERS = 1000
"""Characters of the longest id whose escaped forms are looked for. For a longer one each event with an escape is decoded."""


class User:
    """
    Tells which events are about a user.

    Args:
        user_id: The ``userId``, ``anonymousId`` or ``previousId`` of these events.
    """

    def __init__(self, user_id: str) -> None:
        self._id = without_surrogates(user_id)  # the id's form in stored events
        self._plain = f'"{self._id}"'.encode()

    def is_in(self, event: bytes) -> bool | None:
        """Say whether *event* is about the user; ``None`` where it cannot be read."""
        if not self._may_be_in(event):
            return False
        try:
            fields = decode_event(event)
        except ValueError:
            return None
        return any(fields.get(name) == self._id for name in _FIELDS)

    def _may_be_in(self, event: bytes) -> bool:
        """Say whether *event* may hold the id as a text, or is no JSON object in UTF-8 at first sight."""
        return (
            self._plain in event
            or (b"\\" in event and self._may_be_escaped_in(event))
            or event[:1] != b"{"
            or event[-1:] != b"}"
            or b"\0" in event  # as in UTF-16, which Python reads as JSON, too
        )

    def _may_be_escaped_in(self, event: bytes) -> bool:
        return len(self._id) > _MOST_CHARACTERS or self._any_form.search(event) is not None

    @cached_property
    def _any_form(self) -> re.Pattern[bytes]:
        """Every text in JSON that means the id."""
        return re.compile(b'"%s"' % b"".join(map(_forms_of, self._id)))


def _forms_of(character: str) -> bytes:
    """Return the pattern of all ways to write *character* in a JSON text."""
    units = character.encode("utf-16-be").hex()
    escaped = "".join(rf"\\u(?i:{units[at : at + 4]})" for at in range(0, len(units), 4))
    forms = [re.escape(character), escaped]
    if character in _SHORT_ESCAPES:
        forms.append(rf"\\{re.escape(_SHORT_ESCAPES[character])}")
    return f"(?:{'|'.join(forms)})".encode()
