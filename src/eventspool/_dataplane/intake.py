"""
What a data plane makes of one request's body: authorised, inflated, parsed, every event checked. Pure: no
sockets.

Taken is what the SDKs of the Segment family send, each in its own way: the write key by Basic auth or in the body, JSON that
is named as a form or as text, events without a time of their own, numbers as ids, one event to a path of its type.

Events are cut out of the body as they came, so that a retry whose bytes differ from the first arrival is
noticed even where both mean the same.
"""

from __future__ import annotations

import hmac
import json
import re
import zlib
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from eventspool._dataplane.wire import Refused
from eventspool._events.decoding import exact_int, plain_float
from eventspool._events.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "Batch",
    "event_error",
    "inflate",
    "parse_batch",
    "parse_event",
    "paths_of",
    "read_batch",
    "read_request",
]

MAX_EVENTS = 20_000
"""Most events in one batch; RudderStack's limit, the highest of the family."""
MAX_MESSAGE_ID_CHARS = 256
_CONTENT_TYPES = ("application/json", "text/plain", "application/x-www-form-urlencoded")
"""The second is what browsers may send unasked, the third what axios says of a compressed body. JSON it is in any case."""
_ANY_TIME = "1970-01-01"
_INFLATE_STEP_BYTES = 65_536
_skip_space = re.compile(r"[ \t\n\r]*").match


@dataclass(frozen=True, slots=True)
class Batch:
    """The events of one request; ``raw[i]`` is the text of ``events[i]`` exactly as it was sent."""

    events: list[Any]
    raw: list[str]
    sent_at: str | None
    inflated_bytes: int = 0
    write_key: str | None = field(default=None, repr=False)


def paths_of(batch_path: str) -> dict[str, str | None]:
    """
    Return the paths that events are posted to, and the type of the one event where it is not a batch.

    Beside ``…/batch`` those are ``…/import``, the same by its older name, and ``…/track`` and so on.
    """
    paths: dict[str, str | None] = {batch_path: None}
    base, _, last = batch_path.rpartition("/")
    if last == "batch":
        paths[f"{base}/import"] = None
        paths |= {f"{base}/{kind}": kind for kind in KINDS}
    return paths


def read_request(
    headers: Mapping[str, str],
    body: bytes,
    write_key: str | None,
    max_inflated_bytes: int,
    kind: str | None = None,
) -> Batch:
    """
    Return the batch in *body*, which came with *write_key* (``None``: with any).

    Basic auth decides where it is given; the key in the body counts without it.

    Raises:
        Refused: 401 for a missing or wrong key, or what ``read_batch`` raises.
    """
    if authorize(headers, write_key):
        return read_batch(headers, body, max_inflated_bytes, kind)
    try:
        batch = read_batch(headers, body, max_inflated_bytes, kind)
    except Refused:
        raise _wrong_key() from None
    given = batch.write_key
    if not given or not (write_key is None or hmac.compare_digest(given.encode(), write_key.encode())):
        raise _wrong_key()
    return batch


def authorize(headers: Mapping[str, str], write_key: str | None) -> bool:
    """
    Say whether *headers* carry *write_key* by Basic auth (``None``: any key); False where they carry no Basic auth.

    Raises:
        Refused: 401: they carry another key, or authorisation of another kind.
    """
    scheme, _, given = headers.get("authorization", "").strip().partition(" ")
    if not scheme:
        return False
    login = given.strip().encode("latin-1")
    no_key = b64encode(b":")
    accepted = login not in (b"", no_key) if write_key is None else _same(login, write_key)
    if scheme.lower() != "basic" or not accepted:
        raise _wrong_key()
    return True


def _wrong_key() -> Refused:
    return Refused(401, "the write key is missing or wrong")


def _same(login: bytes, write_key: str) -> bool:
    return hmac.compare_digest(login, b64encode(f"{write_key}:".encode()))


def read_batch(
    headers: Mapping[str, str], body: bytes, max_inflated_bytes: int, kind: str | None = None
) -> Batch:
    """
    Return the batch in *body*, or the one event of type *kind* as one.

    Raises:
        Refused: 415 for a foreign content type or encoding, 413 for too much, 400 for what is no batch.
    """
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in _CONTENT_TYPES:
        raise Refused(415, "the Content-Type must be application/json")
    encoding = headers.get("content-encoding", "identity").lower()
    if encoding in ("gzip", "x-gzip"):
        body = inflate(body, max_inflated_bytes)
    elif encoding != "identity":
        raise Refused(415, "the Content-Encoding must be gzip or none")
    elif len(body) > max_inflated_bytes:
        raise Refused(413, f"the batch is larger than {max_inflated_bytes} bytes")
    return parse_batch(body) if kind is None else parse_event(body, kind)


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
    return _parsed(body, lambda walker: walker.batch(len(body)))


def parse_event(body: bytes, kind: str) -> Batch:
    """Return the one event of type *kind* that *body* is the JSON of, as a batch. Raises ``Refused`` (400)."""
    return _parsed(body, lambda walker: walker.event(kind, len(body)))


def _parsed(body: bytes, read: Callable[[_Walker], Batch]) -> Batch:
    try:
        return read(_Walker(body.decode()))
    except RecursionError:
        raise Refused(400, "the JSON is nested too deeply") from None
    except ValueError:  # also UnicodeDecodeError
        raise Refused(400, "the body is no JSON object") from None


def event_error(event: object) -> str | None:
    """Say what the protocol misses in *event*, or return ``None`` where it is complete."""
    if not isinstance(event, dict):
        return "an event must be an object"
    kind = event.get("type")
    message_id = event.get("messageId")
    if not isinstance(message_id, str) or not 0 < len(message_id) <= MAX_MESSAGE_ID_CHARS:
        return f"messageId must be a string of 1 to {MAX_MESSAGE_ID_CHARS} characters"
    moment = event.get("timestamp")
    try:  # without one, an event is of the time when it was sent
        datetime.fromisoformat(event.get("originalTimestamp", _ANY_TIME) if moment is None else moment)
    except (TypeError, ValueError):
        return "timestamp must be an ISO 8601 string"
    if not isinstance(kind, str) or kind not in KINDS:
        return f"type must be one of {', '.join(KINDS)}"
    for name in KINDS[kind].needed:
        if not (_filled(event.get(name)) if name == "event" else _names(event.get(name))):
            return f"{name} must be a non-empty string"
    if not _names(event.get("userId")) and not _names(event.get("anonymousId")):
        return "userId or anonymousId must be a non-empty string"
    return None


def _filled(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _names(value: object) -> bool:
    """Say whether *value* is an id: text, or a number, which some SDKs send as it is."""
    return _filled(value) or (isinstance(value, int | float) and not isinstance(value, bool))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _refuse_constant(_: str) -> None:
    raise ValueError  # NaN and Infinity are no JSON


_decode = json.JSONDecoder(
    parse_int=exact_int, parse_float=plain_float, parse_constant=_refuse_constant
).raw_decode


class _Walker:
    """Reads the outer object by hand, and the values with the C decoder, which says where each one ends."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def batch(self, size_bytes: int) -> Batch:
        events: list[Any] | None = None
        raw: list[str] = []
        sent_at = write_key = None
        for _ in self._items("{", "}"):
            if self._peek() != '"':
                raise ValueError
            key = self._value()
            self._expect(":")
            if key != "batch":
                value = self._value()
                sent_at = _text(value) if key == "sentAt" else sent_at
                write_key = _text(value) if key == "writeKey" else write_key
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
        self._expect_end()
        if not events:
            raise Refused(400, "batch must be a non-empty array")
        return Batch(events, raw, sent_at, size_bytes, write_key)

    def event(self, kind: str, size_bytes: int) -> Batch:
        self._peek()
        event = self._value()
        self._expect_end()
        if not isinstance(event, dict):
            raise ValueError  # noqa: TRY004 - of wrong text
        event.setdefault("type", kind)
        if event["type"] != kind:
            raise Refused(400, f"this path takes events of type {kind}")
        sent_at, write_key = _text(event.get("sentAt")), _text(event.pop("writeKey", None))
        return Batch([event], [self._text.strip()], sent_at, size_bytes, write_key)

    def _expect_end(self) -> None:
        if _skip_space(self._text, self._at).end() != len(self._text):  # type: ignore[union-attr]
            raise ValueError

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
