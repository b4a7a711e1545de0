"""
How a line of JSON becomes the arguments of an event method. Pure, but for reading the stream.

A line is an event in the form that it has on the wire and that ``eventspool queue export`` writes. Only ``type`` and the
fields that this type needs must be there. A line without ``messageId`` gets one that depends only on its content and on
the number of identical lines before it, so that a file that is sent again has the same ids.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import uuid
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from eventspool._events.decoding import exact_float, exact_int
from eventspool._events.kinds import COMMON, KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MAX_LINE_BYTES", "Call", "LineError", "LineReader", "read_lines"]

MAX_LINE_BYTES = 1 << 20
"""Longest line taken; no event is nearly as large."""

_NAMESPACE = uuid.UUID("6f0b3f0e-52a5-5d0c-9a0c-5f1e3c0d7b11")
_IGNORED = {"type", "channel", "originalTimestamp", "sentAt", "receivedAt", "version"}
"""Fields of the wire form that the client makes anew."""


class LineError(ValueError):
    """A line is no event. The message says why, and holds nothing of the line."""


class Call(NamedTuple):
    """The event method to call, and its keyword arguments."""

    method: str
    arguments: dict[str, Any]


def read_lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes, bool]]:
    """Yield ``(size, line, whole)``: bytes read, the line without its end, False where it was too long and was cut."""
    first = True
    while line := stream.readline(MAX_LINE_BYTES + 1):
        piece, size = line, len(line)
        while (
            size > MAX_LINE_BYTES and not piece.endswith(b"\n") and (piece := stream.readline(MAX_LINE_BYTES))
        ):
            size += len(piece)
        whole = size <= MAX_LINE_BYTES or line.endswith(b"\n")
        if first:
            line, first = line.removeprefix(b"\xef\xbb\xbf"), False
        yield size, line.strip(), whole


class LineReader:
    """Turns lines into calls. It remembers the lines without an id, to tell identical ones apart."""

    def __init__(self) -> None:
        self._seen: Counter[bytes] = Counter()

    def read(self, line: bytes) -> Call:
        """Return the call that *line* stands for. Raises ``LineError``."""
        event = _parse(line)
        kind = event.get("type")
        if not isinstance(kind, str) or kind not in KINDS:
            raise LineError(f"type must be one of {', '.join(KINDS)}")
        names = {**COMMON, **KINDS[kind].fields}
        arguments: dict[str, Any] = {}
        for position, (field, value) in enumerate(event.items(), start=1):
            if field in names:
                arguments[names[field]] = value
            elif field not in _IGNORED:
                raise LineError(_unknown(field, position, [*names, *_IGNORED], kind))
        if kind == "alias" and arguments.pop("anonymous_id", None) is not None:
            raise LineError("alias has no anonymousId")
        if arguments.get("timestamp") is None and event.get("originalTimestamp") is not None:
            arguments["timestamp"] = event["originalTimestamp"]
        if kind == "identify" and arguments.get("traits") == {}:
            del arguments["traits"]  # given as empty, they would replace those of the context
        if arguments.get("message_id") is None:
            arguments["message_id"] = self._stable_id(line)
        return Call(kind, arguments)

    def _stable_id(self, line: bytes) -> str:
        digest = hashlib.sha256(line).digest()[:16]
        self._seen[digest] += 1
        return str(uuid.uuid5(_NAMESPACE, f"{digest.hex()}/{self._seen[digest]}"))


def _parse(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(
            line.decode("utf-8"), parse_int=exact_int, parse_float=exact_float, parse_constant=_refuse
        )
    except UnicodeDecodeError:
        raise LineError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise LineError(f"not JSON (column {error.colno})") from None
    except RecursionError:
        raise LineError("nested too deeply") from None
    except ValueError:
        raise LineError("a number that JSON does not have, or that is too long") from None
    if not isinstance(event, dict):
        raise LineError("not a JSON object")
    return event


def _refuse(_: str) -> None:
    raise ValueError


def _unknown(field: str, position: int, known: list[str], kind: str) -> str:
    words = field.split("_")
    camel = words[0] + "".join(word.capitalize() for word in words[1:])
    near = [camel] if camel in known else difflib.get_close_matches(camel, known, n=1, cutoff=0.7)
    hint = f"did you mean {near[0]}?" if near else f"{kind} has no such field"
    return f"unknown field (number {position}): {hint}"
