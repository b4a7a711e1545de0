"""
What a data plane makes of one request's body: authorised, inflated, parsed, every event checked. Pure: no
sockets.

Events are cut out of the body as they came, so that a retry whose bytes differ from the first arrival is
noticed even where both mean the same.
"""

from __future__ import annotations

import hmac
import json
import re
import zlib
from base64 import b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from eventspool._dataplane.wire import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Batch", "authorize", "event_error", "inflate", "parse_batch", "read_batch"]

MAX_EVENTS = 20_000
"""Most events in one batch; RudderStack's limit, the highest of the family."""
MAX_MESSAGE_ID_CHARS = 256
_INFLATE_STEP_BYTES = 65_536
_skip_space = re.compile(r"[ \t\n\r]*").match


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one request; ``raw[i]`` is the text of ``events[i]`` exactly as it was sent."""

    events: list[Any]
    raw: list[str]
    sent_at: str | None
    inflated_bytes: int = 0


def authorize(headers: Mapping[str, str], write_key: str | None) -> None:
    """Raise ``Refused`` (401) unless *headers* carry *write_key* by Basic auth; for ``None``, any write key."""
    scheme, _, given = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "basic":
        login = given.strip().encode("latin-1")
        no_key = b64encode(b":")
        accepted = login not in (b"", no_key) if write_key is None else _same(login, write_key)
        if accepted:
            return
    raise Refused(401, "the write key is missing or wrong")


def _same(login: bytes, write_key: str) -> bool:
    return hmac.compare_digest(login, b64encode(f"{write_key}:".encode()))


def read_batch(headers: Mapping[str, str], body: bytes, max_inflated_bytes: int) -> Batch:
    """
    Return the batch in *body*.

    Raises:
        Refused: 415 for a foreign content type or encoding, 413 for too much, 400 for what is no batch.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Refused(415, "the Content-Type must be application/json")
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding in ("gzip", "x-gzip"):
        body = inflate(body, max_inflated_bytes)
    elif encoding != "identity":
        raise Refused(415, "the Content-Encoding must be gzip or none")
    elif len(body) > max_inflated_bytes:
        raise Refused(413, f"the batch is larger than {max_inflated_bytes} bytes")
    return parse_batch(body)


def inflate(body: bytes, limit_bytes: int) -> bytes:
    """Return gunzipped *body*; holds at most *limit_bytes* and one step of output. Raises ``Refused``."""
    blocks: list[bytes] = []
    total = 0
    while True:  # a gzip file may have several members
        inflater = zlib.decompressobj(31)
        rest = body
        try:
            while not inflater.eof:
                block = inflater.decompress(rest, _INFLATE_STEP_BYTES)
                rest = inflater.unconsumed_tail
                total += len(block)
                if total > limit_bytes:
                    raise Refused(413, f"the batch inflates to more than {limit_bytes} bytes")
                if not block and not rest and not inflater.eof:
                    raise Refused(400, "the gzip body ends early")
                blocks.append(block)
        except zlib.error:
            raise Refused(400, "the body is no gzip") from None
        body = inflater.unused_data
        if not body:
            return b"".join(blocks)


def parse_batch(body: bytes) -> Batch:
    """Return the batch that *body* is the JSON of. Raises ``Refused`` (400, or 413 beyond ``MAX_EVENTS``)."""
    try:
        return _Walker(body.decode()).batch(len(body))
    except RecursionError:
        raise Refused(400, "the JSON is nested too deeply") from None
    except ValueError:  # also UnicodeDecodeError and integers of thousands of digits
        raise Refused(400, "the body is no JSON object") from None


def event_error(event: object) -> str | None:
    """Say what the contract misses in *event*, or return ``None`` where it is complete."""
    if not isinstance(event, dict):
        return "an event must be an object"
    kind = event.get("type")
    message_id = event.get("messageId")
    if not isinstance(message_id, str) or not 0 < len(message_id) <= MAX_MESSAGE_ID_CHARS:
        return f"messageId must be a string of 1 to {MAX_MESSAGE_ID_CHARS} characters"
    try:
        datetime.fromisoformat(event.get("timestamp"))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "timestamp must be an ISO 8601 string"
    if not isinstance(kind, str) or (needed := _NEEDED.get(kind)) is None:
        return f"type must be one of {', '.join(_NEEDED)}"
    for name in needed:
        if not _filled(event.get(name)):
            return f"{name} must be a non-empty string"
    if not _filled(event.get("userId")) and not _filled(event.get("anonymousId")):
        return "userId or anonymousId must be a non-empty string"
    return None


_NEEDED = {
    "identify": (),
    "track": ("event",),
    "page": (),
    "screen": (),
    "group": ("groupId",),
    "alias": ("previousId", "userId"),
}


def _filled(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _refuse_constant(_: str) -> None:
    raise ValueError  # NaN and Infinity are no JSON


_decode = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode


class _Walker:
    """Reads the outer object by hand, and the values with the C decoder, which says where each one ends."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def batch(self, size_bytes: int) -> Batch:
        events: list[Any] | None = None
        raw: list[str] = []
        sent_at: object = None
        for _ in self._items("{", "}"):
            if self._peek() != '"':
                raise ValueError
            key = self._value()
            self._expect(":")
            if key != "batch":
                value = self._value()
                sent_at = value if key == "sentAt" else sent_at
                continue
            if events is not None:
                raise Refused(400, "batch came twice")
            events = []
            for _ in self._items("[", "]"):
                if len(events) == MAX_EVENTS:
                    raise Refused(413, f"the batch has more than {MAX_EVENTS} events")
                start = self._at
                events.append(self._value())
                raw.append(self._text[start : self._at])
        if _skip_space(self._text, self._at).end() != len(self._text):  # type: ignore[union-attr]
            raise ValueError
        if not events:
            raise Refused(400, "batch must be a non-empty array")
        return Batch(events, raw, sent_at if isinstance(sent_at, str) else None, size_bytes)

    def _items(self, opening: str, closing: str) -> Any:
        self._expect(opening)
        if self._peek() == closing:
            self._at += 1
            return
        while True:
            self._peek()
            yield
            mark = self._peek()
            self._at += 1
            if mark == closing:
                return
            if mark != ",":
                raise ValueError

    def _peek(self) -> str:
        mark = self._text[self._at : self._at + 1]
        if mark > " ":  # compact JSON, the usual case
            return mark
        self._at = _skip_space(self._text, self._at).end()  # type: ignore[union-attr]
        return self._text[self._at : self._at + 1]

    def _expect(self, mark: str) -> None:
        if self._peek() != mark:
            raise ValueError
        self._at += 1
        self._peek()

    def _value(self) -> Any:
        value, self._at = _decode(self._text, self._at)
        return value
