"""
Whose event it is, told from its bytes: which user's order it belongs to.

To decode an event takes ten times as long as to find one text in it, and where order per user is kept, every event is asked.
So the usual event is read by a short way, and only where that could be mistaken is the whole event decoded.
"""

from __future__ import annotations

import re

from eventspool._events.decoding import decode_event

__all__ = ["owner_of"]

_USER = b'"userId"'
_ANONYMOUS = b'"anonymousId"'
_VALUE = b':"'
_BOTH = re.compile(rb'"anonymousId":"[^"\\]*","userId":"([^"\\]+)"')


def owner_of(event: bytes) -> bytes:
    """
    Return the ``userId`` of *event*, else its ``anonymousId``, in UTF-8; nothing where it has neither, or cannot be read.

    An ``alias`` is its new id's (``userId``), a ``group`` its user's.
    """
    # Each event has one of the two ids at its top. So where only one of the two names stands in the event, and once, that is
    # its own and not a field of its properties.
    at = event.find(_USER)
    if at < 0:
        return _sole_value(event, event.find(_ANONYMOUS), _ANONYMOUS) or _decoded_owner(event)
    if event.find(_ANONYMOUS) < 0:
        return _sole_value(event, at, _USER) or _decoded_owner(event)
    # Where both stand once and side by side, they belong to the same object, and so to the event.
    found = _BOTH.search(event)
    if found is not None and event.count(_USER) == 1 and event.count(_ANONYMOUS) == 1:
        return found[1]
    return _decoded_owner(event)


def _sole_value(event: bytes, at: int, name: bytes) -> bytes:
    """Return the text behind *name*, which stands in *event* at *at*; nothing where that is no plain text, or stands twice."""
    start = at + len(name) + len(_VALUE)
    if at < 0 or not event.startswith(_VALUE, start - len(_VALUE)) or event.find(name, start) >= 0:
        return b""
    value = event[start : event.find(b'"', start)]
    return b"" if b"\\" in value else bytes(value)


def _decoded_owner(event: bytes) -> bytes:
    try:
        fields = decode_event(event)
    except ValueError:
        return b""
    owner = fields.get("userId") or fields.get("anonymousId") or ""
    return str(owner).encode(errors="surrogatepass")
