"""The events that a test's code tracked, and what a test asserts of them."""

from __future__ import annotations

import contextlib
import json
import weakref
from collections import Counter, deque
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple

from eventspool._events.decoding import decode_event
from eventspool.testing._differences import find_differences, join_few, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from eventspool._events.methods import EventMethods

__all__ = ["Capture", "Recorder"]

_CHANGING = ("messageId", "timestamp", "originalTimestamp", "context.library")
"""What differs from run to run, or with the version."""
_MOST_NAMES = 10
"""Names that a message lists."""


class _Kind(NamedTuple):
    """How a message speaks of the events of one type, and the fields by which it names one."""

    done: str
    named_by: tuple[str, ...]


_KINDS = {
    "track": _Kind("tracked", ("event",)),
    "identify": _Kind("identified", ("userId", "anonymousId")),
    "group": _Kind("grouped", ("groupId",)),
    "page": _Kind("paged", ("name",)),
    "screen": _Kind("screened", ("name",)),
    "alias": _Kind("aliased", ("previousId",)),
}


class Capture(list[dict[str, Any]]):
    """
    The events that were accepted, in order, each as it would have been sent. A list, with assertions.

    Each assertion returns the first event of its kind that has everything that was given; what is ``None`` may be anything.
    ``…_contains`` names what must be among the properties, traits or context with these values, as they were given to
    the client: a ``Decimal`` is equal to the number that is sent for it. An ``AssertionError`` says what came closest.
    """

    @property
    def events(self) -> list[dict[str, Any]]:
        """A copy of the events so far."""
        return list(self)

    def assert_tracked(
        self,
        event: str | None = None,
        *,
        user_id: object = None,
        anonymous_id: object = None,
        properties_contains: Mapping[str, Any] | None = None,
        context_contains: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the first ``track`` event called *event* that has everything else that was given."""
        fields = {"event": event, "userId": user_id, "anonymousId": anonymous_id}
        return self._find("track", fields, properties=properties_contains, context=context_contains)

    def assert_not_tracked(
        self,
        event: str | None = None,
        *,
        user_id: object = None,
        anonymous_id: object = None,
        properties_contains: Mapping[str, Any] | None = None,
        context_contains: Mapping[str, Any] | None = None,
    ) -> None:
        """Fail where a ``track`` event called *event* (``None``: any) has everything else that was given."""
        fields = {"event": event, "userId": user_id, "anonymousId": anonymous_id}
        wanted = _Wanted("track", fields, {"properties": properties_contains, "context": context_contains})
        found = [each for each in self if each["type"] == "track" and not wanted.find_missing(each)]
        if found:
            names = Counter(show(each["event"]) for each in found)
            told = [f"{name} {times} times" if times > 1 else name for name, times in sorted(names.items())]
            who = next(
                f"{field} {show(found[0][field])}" for field in ("userId", "anonymousId") if field in found[0]
            )
            raise AssertionError(f"tracked: {join_few(told, ', ', _MOST_NAMES)}, the first of {who}")

    def assert_identified(
        self,
        user_id: object = None,
        *,
        anonymous_id: object = None,
        traits_contains: Mapping[str, Any] | None = None,
        context_contains: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the first ``identify`` event of this user that has everything else that was given."""
        fields = {"userId": user_id, "anonymousId": anonymous_id}
        return self._find("identify", fields, traits=traits_contains, context=context_contains)

    def assert_grouped(
        self,
        group_id: object = None,
        *,
        user_id: object = None,
        anonymous_id: object = None,
        traits_contains: Mapping[str, Any] | None = None,
        context_contains: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the first ``group`` event of this group that has everything else that was given."""
        fields = {"groupId": group_id, "userId": user_id, "anonymousId": anonymous_id}
        return self._find("group", fields, traits=traits_contains, context=context_contains)

    def assert_paged(
        self,
        name: str | None = None,
        *,
        category: str | None = None,
        user_id: object = None,
        anonymous_id: object = None,
        properties_contains: Mapping[str, Any] | None = None,
        context_contains: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the first ``page`` event called *name* that has everything else that was given."""
        fields = {"name": name, "category": category, "userId": user_id, "anonymousId": anonymous_id}
        return self._find("page", fields, properties=properties_contains, context=context_contains)

    def assert_screened(
        self,
        name: str | None = None,
        *,
        category: str | None = None,
        user_id: object = None,
        anonymous_id: object = None,
        properties_contains: Mapping[str, Any] | None = None,
        context_contains: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the first ``screen`` event called *name* that has everything else that was given."""
        fields = {"name": name, "category": category, "userId": user_id, "anonymousId": anonymous_id}
        return self._find("screen", fields, properties=properties_contains, context=context_contains)

    def assert_aliased(
        self,
        previous_id: object = None,
        user_id: object = None,
        *,
        context_contains: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the first ``alias`` event of these two ids."""
        fields = {"previousId": previous_id, "userId": user_id}
        return self._find("alias", fields, context=context_contains)

    def snapshot(self, *, without: Iterable[str] = (), ordered: bool = True) -> list[dict[str, Any]]:
        """
        Return the events without what changes from run to run: to be compared with what they are to be, or kept in a file.

        Left out are ``messageId``, ``timestamp``, ``originalTimestamp`` and ``context.library``; a context with
        nothing else in it, too.

        Args:
            without: More fields to leave out, such as ``"context.requestId"`` or ``"properties.total"``.
            ordered: ``False``: for code that tracks on several threads. The events are sorted by what they hold.
        """
        copies: list[dict[str, Any]] = [deepcopy(each) for each in self]
        for each in copies:
            for path in (*_CHANGING, *without):
                _leave_out(each, path.split("."))
            if not each.get("context", True):
                del each["context"]
        return (
            copies
            if ordered
            else sorted(copies, key=lambda each: json.dumps(each, sort_keys=True, default=str))
        )

    def _find(
        self, kind: str, fields: Mapping[str, object], **contains: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        wanted = _Wanted(kind, fields, contains)
        of_kind = [each for each in self if each["type"] == kind]
        named = [each for each in of_kind if not wanted.find_misnamed(each)]
        closest: list[str] | None = None
        for each in named:
            missing = wanted.find_missing(each)
            if not missing:
                return each
            if closest is None or len(missing) < len(closest):
                closest = missing
        raise AssertionError(wanted.explain(of_kind, closest))


Capture.__module__ = "eventspool.testing"  # what help, tracebacks and pickle say: this module may change


class _Wanted:
    """What a test asks for: fields with one value each, and mappings that hold some values."""

    def __init__(
        self, kind: str, fields: Mapping[str, object], contains: Mapping[str, Mapping[str, Any] | None]
    ) -> None:
        self._kind = _KINDS[kind]
        # Numbers that are ids become text on their way.
        given = {
            name: value if isinstance(value, str) else str(value)
            for name, value in fields.items()
            if value is not None
        }
        named_by = self._kind.named_by
        self._name = {name: value for name, value in given.items() if name in named_by}
        self._others = {name: value for name, value in given.items() if name not in named_by}
        self._contains = {name: values for name, values in contains.items() if values}

    def find_misnamed(self, event: Mapping[str, Any]) -> list[str]:
        """Return in what *event* has another name."""
        return find_differences(self._name, event)

    def find_missing(self, event: Mapping[str, Any]) -> list[str]:
        """Return in what *event* differs from what is asked for."""
        missing = self.find_misnamed(event) + find_differences(self._others, event)
        for name, values in self._contains.items():
            missing += find_differences(values, event.get(name, {}), f"{name}.")
        return missing

    def explain(self, of_kind: list[dict[str, Any]], closest: list[str] | None) -> str:
        """Return why there is none among *of_kind*. *closest*: what the closest one of that name lacks."""
        done, name = self._kind.done, ", ".join(map(show, self._name.values()))
        if closest is not None and name:
            return f"{name} was {done}, but in the closest one {join_few(closest)}"
        if closest is not None:
            return f"nothing {done} is what was asked for: in the closest one {join_few(closest)}"
        names = {show(each.get(next(filter(each.get, self._kind.named_by), ""))) for each in of_kind}
        what = f"{name} was not {done}" if name else f"nothing was {done}"
        return f"{what}; {done}: {join_few(sorted(names), ', ', _MOST_NAMES) or 'nothing'}"


def _leave_out(event: dict[str, Any], path: list[str]) -> None:
    *outer, last = path
    for name in outer:
        inner = event.get(name)
        if not isinstance(inner, dict):
            return
        event = inner
    event.pop(last, None)


class Recorder:
    """Takes events in the place of all clients' pipelines."""

    def __init__(self, captured: Capture) -> None:
        self._captured = captured
        # By client: one entry for each event that no flush has counted. Threads append to it, and never lock.
        self._unflushed: weakref.WeakKeyDictionary[EventMethods, deque[None]] = weakref.WeakKeyDictionary()

    def take(self, client: EventMethods, encoded: bytes) -> None:
        """Take an encoded event of *client*."""
        self._captured.append(decode_event(encoded))
        self._unflushed.setdefault(client, deque()).append(None)

    def flush(self, client: EventMethods) -> int:
        """Return how many events of *client* were taken since this was last asked."""
        unflushed, count = self._unflushed.get(client, deque()), 0
        for _ in range(len(unflushed)):
            with contextlib.suppress(IndexError):  # another flush was faster
                unflushed.popleft()
                count += 1
        return count
