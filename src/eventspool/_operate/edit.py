"""
An edit: one event of a failed job is replaced, and goes out under the same ``messageId``.

An event's bytes never change otherwise. A data plane that refuses one event for ever, because of a value that a person can
mend, is the one case in which they do: the trail keeps both forms.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from eventspool._envelope import EnvelopeError, open_envelope, seal
from eventspool._events.decoding import decode_event, json_text
from eventspool._events.kinds import KINDS
from eventspool._exceptions import ConfigError, QueueError
from eventspool._job import Rewrite

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eventspool._backends import Backend

__all__ = ["edit_event", "editable_text", "encode_edited", "find_event"]

MAX_EVENT_BYTES: Final = 32_768
"""As clients have it by default. An event that is larger already may stay as large."""


def edit_event(
    backend: Backend, job_id: str, event: Mapping[str, Any] | str | bytes, index: int | None
) -> tuple[bytes, bytes]:
    """
    Put *event* in the place of one of the failed job's. Return that event before and after. See ``Queue.edit``.

    Raises:
        ConfigError: The event cannot go out so.
        QueueError: The job has not failed, cannot be read, or was changed meanwhile.
    """
    failure = backend.lookup([job_id]).get(job_id)
    payload = backend.payload(job_id)
    if failure is None or payload is None:
        raise QueueError(
            f"job {job_id!r} is not in the failed queue: only an event that failed can be edited"
        )
    try:
        envelope = open_envelope(payload)
        events = envelope.split()
    except EnvelopeError as error:
        raise QueueError(f"job {job_id!r} cannot be read: {error}") from None
    wanted = read_edited(event)
    place = find_event(events, wanted, index)
    before = events[place]
    after = encode_edited(wanted, before)
    events[place] = after
    cut, trace = envelope.cut, envelope.trace
    new = seal(events, cut=cut, trace=trace)
    if len(new) == len(payload):
        # A producer may still have the old payload in memory, and notices by the size alone that it was replaced.
        new = seal(events, compress=False, cut=cut, trace=trace)
    if len(new) == len(payload):
        events[place] = after[:-1] + b" }"  # JSON allows it, and the event stays the same
        new = seal(events, compress=False, cut=cut, trace=trace)
    [done] = backend.rewrite([Rewrite(job_id, payload, new, len(events), ())])
    if not done:
        raise QueueError(
            f"job {job_id!r} was changed by someone else meanwhile, so nothing was edited: look again"
        )
    return before, after


def read_edited(event: Mapping[str, Any] | str | bytes) -> dict[str, Any]:
    """Return the fields of *event*. Raises ``ConfigError`` where it is no JSON object."""
    try:
        text = event if isinstance(event, str | bytes) else json_text(event)
        return decode_event(text, is_exact=True)
    except (ValueError, RecursionError) as error:
        where = (
            f"line {error.lineno}, column {error.colno}: {error.msg}"
            if isinstance(error, json.JSONDecodeError)
            else error
        )
        raise ConfigError(f"the event is no JSON object ({where})") from None


def find_event(events: Sequence[bytes], wanted: Mapping[str, Any], index: int | None) -> int:
    """
    Return which of *events* is meant: the one at *index*, else the one with the ``messageId`` of *wanted*.

    Raises:
        ConfigError: It has another ``messageId``, or none or several have this one.
    """
    ids = [_message_id(event) for event in events]
    mine = wanted.get("messageId")
    if index is not None:
        if not 0 <= index < len(ids):
            raise ConfigError(f"the job holds {len(ids)} events: there is none at {index}")
        if ids[index] != mine:
            raise ConfigError(
                f"the messageId must stay {ids[index]!r}: by it the receiver knows an event that it has already"
            )
        return index
    places = [place for place, each in enumerate(ids) if each == mine]
    if len(places) != 1:
        found = "no event" if not places else f"{len(places)} events"
        raise ConfigError(f"the job holds {found} with the messageId {mine!r}, which must stay as it is")
    return places[0]


def _message_id(event: bytes) -> object:
    try:
        return decode_event(event).get("messageId")
    except ValueError:
        return None


def encode_edited(event: Mapping[str, Any], before: bytes) -> bytes:
    """
    Return the bytes of *event*, which takes the place of *before*.

    Raises:
        ConfigError: Its ``type`` is unknown, it is too large, or it is what was there.
    """
    kind = event.get("type")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"the event's type must be one of {', '.join(KINDS)}, not {kind!r}")
    encoded = editable_text(event).encode()
    most = max(MAX_EVENT_BYTES, len(before))
    if len(encoded) > most:
        raise ConfigError(f"the event has {len(encoded)} bytes, more than the {most} that it may have")
    if encoded in (before, _as_edited(before)):
        raise ConfigError("the event is as it was: nothing was edited")
    return encoded


def _as_edited(before: bytes) -> bytes | None:
    """Return the bytes that *before* would have after an edit that changes nothing: the same numbers, and no other spaces."""
    try:
        return editable_text(decode_event(before, is_exact=True)).encode()
    except ValueError:
        return None


def editable_text(event: object, *, indent: int | None = None) -> str:
    """Return *event* as JSON that every file can hold: half of a pair of surrogates has a form in ASCII alone."""
    text = json_text(event, indent=indent)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json_text(event, indent=indent, ascii_only=True)
    return text
