"""
Events as people read them: formatted JSON, and a line for lists. Pure.

An event may hold the text of an attacker. Characters that would reorder or hide the text beside them (bidirectional
controls, zero-width and control characters, halves of surrogate pairs) are shown as escapes, which in JSON mean the
same; joiners stay, because emoji and Persian need them. The page shows all of it as text and never as anything else.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

from eventspool._config import DEFAULT_PATH
from eventspool._events.decoding import json_text
from eventspool._events.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["as_curl", "as_python", "line", "pretty", "search_text", "visible"]

_CUT = 200
_DECEIVING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)
_OWN_DATA_PLANE = f'"$EVENTSPOOL_DATA_PLANE_URL{DEFAULT_PATH}"'
_MADE = {"type", "channel", "context", "timestamp", "originalTimestamp"}
"""Fields that no argument gives as they are: the call makes them, or takes them in another form."""


def visible(text: object, longest: int = _CUT) -> str:
    """Return *text* in one line of at most *longest* characters, with nothing hidden in it."""
    whole = text if isinstance(text, str) else "" if text is None else str(text)
    cut = whole[:longest].replace("\t", " ").replace("\n", " ")
    return _escape(cut) + ("…" if len(whole) > longest else "")


def pretty(event: object) -> str:
    """Return *event* as formatted JSON that parses back to the same."""
    return _escape(json_text(event, indent=2))


def line(event: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of *event* that a list shows; "" for those that it does not have."""
    kind = event.get("type")
    name = event.get("event") if kind == "track" else event.get("name", event.get("groupId"))
    user = event.get("userId")
    return {
        "type": visible(kind, 20),
        "name": visible(name),
        "user": visible(event.get("anonymousId") if user is None else user, 80),
        "message_id": visible(event.get("messageId"), 120),
        "timestamp": visible(event.get("timestamp"), 40),
    }


def search_text(event: object) -> str:
    """Return the text of *event* that a search looks through, in lower case."""
    return json_text(event).casefold()


def as_curl(event: Mapping[str, Any], url: str | None) -> str:
    """Return a shell command that sends *event* as it is; without a *url*, to the data plane that the environment names."""
    body = json_text({"batch": [event]}, ascii_only=True)
    key = '"$EVENTSPOOL_WRITE_KEY:"'
    return (
        f"curl -u {key} -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(body)} \\\n  {_OWN_DATA_PLANE if url is None else shlex.quote(url)}"
    )


def as_python(event: Mapping[str, Any]) -> str:
    """Return the call that tracks *event* again. Fields that a call makes are left out; those that none can give are named."""
    kind = str(event.get("type"))
    if kind not in KINDS:
        return f"# an event of unknown type\nevent = {dict(event)!a}"
    names = {"userId": "user_id", "anonymousId": "anonymous_id", **KINDS[kind].fields}
    names |= {"integrations": "integrations", "messageId": "message_id"}
    if kind == "alias":
        del names["anonymousId"]
    given = {name: event.get(key) for key, name in names.items()}
    given["context"] = _own_context(event)
    given["timestamp"] = event.get("originalTimestamp", event.get("timestamp"))
    if kind == "identify" and not given["traits"]:
        del given["traits"]  # empty traits would replace those of the context
    arguments = "".join(
        f"    {name}={_literal(value)},\n" for name, value in given.items() if value is not None
    )
    others = [ascii(key) for key in event if key not in names and key not in _MADE]
    rest = f"# besides, it has {', '.join(others)}\n" if others else ""
    return f"{rest}client.{kind}(\n{arguments})"


def _own_context(event: Mapping[str, Any]) -> object:
    """Return the context without the parts that the client adds: the library, and the copy of a user's traits."""
    context = event.get("context")
    if not isinstance(context, dict):
        return context
    own = {key: value for key, value in context.items() if key != "library"}
    if event.get("type") == "identify" and own.get("traits") == event.get("traits"):
        own.pop("traits", None)
    return own or None


def _literal(value: object) -> str:
    """Return *value* as Python source, pure ASCII, indented as an argument."""
    text = ascii(value)
    if len(text) <= 80 or not isinstance(value, dict):
        return text
    rows = "".join(f"        {key!a}: {item!a},\n" for key, item in value.items())
    return f"{{\n{rows}    }}"


def _escape(text: str) -> str:
    return _DECEIVING.sub(_as_escape, text)


def _as_escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
