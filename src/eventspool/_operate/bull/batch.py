"""
Find the events in a job of the Node SDKs. Pure.

The SDKs that share the form are Hightouch's ``events-sdk-node`` 1 and RudderStack's ``rudder-sdk-node`` 1 to 3. A job's
``data`` is JSON with the member ``eventData``: the request that would deliver the batch, with the write key in it, as
JavaScript or, with ``"version": 3``, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from eventspool._envelope import MAX_TEXT_BYTES
from eventspool._events.encoding import encode_exactly
from eventspool._exceptions import EventError
from eventspool._operate.bull.literal import LiteralError, read_literal

__all__ = ["NodeBatch", "UnreadableError", "read_batch"]

_VERSION_OF_JSON = 3
_MOST_LAYERS = 32
"""How often a batch may have been compressed. The SDKs do it once more with each attempt, and give up after ten by default."""
_GZIP = 31


class UnreadableError(Exception):
    """The job stays where it is. *reason* is one of the words of ``importing.LEFT``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class NodeBatch:
    """
    The events of one job.

    Args:
        name: Names the batch, and is the same when a Node process has put it back as another job. The messageIds are part of
            it: a program that calls all of its batches the same must not have one taken for another.
        write_key: The write key that the events are meant for.
        events: The events, each as compact JSON.
        made_at: When the batch was made, milliseconds since the epoch; ``None`` where it does not say so.
    """

    name: str = field(repr=False)
    write_key: str = field(repr=False)
    events: tuple[bytes, ...] = field(repr=False)
    made_at: int | None

    def id_of_part(self, number: int, made_at: int) -> str:
        """Return the id of the job of ours that holds the part *number*: always the same, so that it is stored once."""
        digest = hashlib.sha256(f"{number}:{self.name}".encode(errors="surrogatepass")).hexdigest()
        return f"{max(self.made_at or made_at, 0) & 0xFFFFFFFFFFFF:012x}{digest[:16]}"


def read_batch(data: bytes, max_event_bytes: int) -> NodeBatch:
    """
    Return the batch in *data*, the field of that name of a job in Bull.

    Raises:
        UnreadableError: It is no batch of the SDKs, or one that cannot be taken over as a whole.
    """
    job = _read_job(data)
    try:
        name, request = job["description"], job["request"]
        write_key, body = request["auth"]["username"], _unpack(request["data"])
        batch = body["batch"]
    except (KeyError, TypeError):
        raise UnreadableError("foreign") from None
    if not (isinstance(name, str) and name and isinstance(write_key, str) and isinstance(batch, list)):
        raise UnreadableError("foreign")
    events = [event for event in batch if event is not None]  # where the SDK had lost one itself
    if not events or not all(map(_is_event, events)):
        raise UnreadableError("foreign")
    try:
        encoded = tuple(encode_exactly(event, max_event_bytes) for event in events)
    except EventError as error:
        raise UnreadableError("too_large" if error.reason == "too_large" else "unencodable") from None
    name = "\n".join([name, *(event["messageId"] for event in events)])
    return NodeBatch(name, write_key, encoded, _milliseconds(body, events[0]))


def _read_job(data: bytes) -> Any:
    try:
        stored = json.loads(data)
        text, version = stored["eventData"], stored.get("version")
        if not isinstance(text, str) or version not in (None, _VERSION_OF_JSON):
            raise UnreadableError("foreign")
        return json.loads(text) if version else read_literal(text)
    except LiteralError:
        raise UnreadableError("javascript") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UnreadableError("foreign") from None


def _unpack(body: Any) -> Any:
    """
    Return the body of a request. Where an attempt has failed, the SDKs that evaluate jobs have stored it compressed, and they
    compress it once more with each further attempt; no data plane can read it then.
    """
    for _ in range(_MOST_LAYERS):
        if not isinstance(body, dict) or body.get("type") != "Buffer" or "batch" in body:
            return body
        compressed = body.get("data")
        if not isinstance(compressed, list):  # of a number, bytes() would make that many zeros
            raise UnreadableError("foreign")
        inflater = zlib.decompressobj(_GZIP)
        try:
            body = json.loads(inflater.decompress(bytes(compressed), MAX_TEXT_BYTES))
        except (zlib.error, ValueError, TypeError, RecursionError):
            raise UnreadableError("foreign") from None
    raise UnreadableError("foreign")


def _is_event(event: Any) -> bool:
    return (
        isinstance(event, dict)
        and isinstance(event.get("type"), str)
        and isinstance(event.get("messageId"), str)
    )


def _milliseconds(body: Any, first: Any) -> int | None:
    """Return when the batch was made. This is the same when the batch was tried meanwhile, unlike ``sentAt``."""
    for value in (body.get("timestamp"), first.get("originalTimestamp")):
        try:
            return round(datetime.fromisoformat(value).timestamp() * 1000)
        except (TypeError, ValueError, OverflowError):
            continue
    return None
