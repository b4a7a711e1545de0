"""
The trail of a queue: who did what to it, and when. It stands in the queue itself, so that every tool and machine sees it.

It tells operators of each other. It is no proof against one of them: who may write into the queue's store may write there what
they like. An action counts more than its entry: where the trail cannot be written, the action stands, and the log says so.

The values by which an operator chose a user's events are left out, since they name the user. Only an edit keeps what was in an
event, before and after; ``redact`` takes that out again where the user is erased.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import socket
import time
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final

from eventspool._backends.journals import keeps_journals
from eventspool._exceptions import QueueError
from eventspool._guest.log import Log
from eventspool._job import JobState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from eventspool._backends import Backend
    from eventspool._backends.journals import JournalEntry
    from eventspool._operate.selection import Selection
    from eventspool._operate.user import User

__all__ = [
    "KEPT",
    "Action",
    "Counted",
    "Pause",
    "Trail",
    "TrailAbsent",
    "describe",
    "find_actor",
    "read_pause",
    "tell_selection",
    "write_pause",
]

KEPT: Final = 1000
"""Actions that a queue remembers, the last ones."""
_PAUSE: Final = "pause"
_TRAIL: Final = "trail"
_UNREADABLE: Final = "unreadable"
_PAGE: Final = 200
_MOST_IDS: Final = 10
_RECENT: Final = 20
"""Actions among which one that is to be recorded once is sought."""
_ONCE: Final = 60.0
"""Seconds for which it is not recorded again."""
_log = Log("eventspool.queue")


class TrailAbsent(QueueError):  # noqa: N818 - it says what is the case
    """The store of the queue keeps no trail."""


@dataclass(frozen=True, slots=True)
class Action:
    """
    One thing that an operator did to a queue.

    Args:
        action: ``pause``, ``resume``, ``retry``, ``purge``, ``erase``, ``export``, ``edit``, ``move``, ``resize``,
            ``import``, ``token added``, ``token revoked``.
        actor: Who: ``user@host`` of a process, or the name of a dashboard's token.
        at: When, in seconds since the epoch by the store's clock.
        jobs: How many jobs it changed; ``None`` where it is about no jobs.
        events: How many events, where that was counted.
        selection: By which conditions the jobs were chosen. A condition that names a user stands there without its value.
        note: What the operator gave as the reason, or what else there is to say.
        before: Of an edit: the event as it was, in JSON. ``None`` where its user was erased since.
        after: Of an edit: the event as it is sent now.
        position: The place in the trail: a later action has a higher one.
    """

    action: str
    actor: str = ""
    at: float = 0.0
    jobs: int | None = None
    events: int | None = None
    selection: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    before: str | None = None
    after: str | None = None
    position: int = 0

    def to_bytes(self) -> bytes:
        """Return it as it is stored: without what the store itself keeps of an entry."""
        said = {name: value for name, value in asdict(self).items() if value not in (None, "", {})}
        del said["action"]
        stored = {"action": self.action, **said}
        return json.dumps({n: v for n, v in stored.items() if n not in ("at", "position")}).encode()

    @classmethod
    def from_entry(cls, entry: JournalEntry) -> Action:
        """Return what *entry* says. What no release of ours wrote, or no key given here opens, is an ``unreadable`` action."""
        try:
            said = json.loads(entry.body)
            known = {name: said[name] for name in _TYPES if isinstance(said.get(name), _TYPES[name])}
            return cls(**{"action": _UNREADABLE, **known}, at=entry.at, position=entry.position)
        except (ValueError, TypeError, AttributeError, RecursionError):
            return cls(_UNREADABLE, at=entry.at, position=entry.position)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


_TYPES: Final[Mapping[str, type]] = {
    "action": str,
    "actor": str,
    "jobs": int,
    "events": int,
    "selection": dict,
    "note": str,
    "before": str,
    "after": str,
}


@dataclass(slots=True)
class Counted:
    """What an action has done so far."""

    jobs: int = 0
    events: int | None = None

    def add(self, jobs: int, events: int) -> None:
        """Count more."""
        self.jobs += jobs
        self.events = (self.events or 0) + events


class Trail:
    """
    The trail of one queue.

    Args:
        backend: The queue.
        actor: Who acts; ``None`` for the user of this process.
    """

    def __init__(self, backend: Backend, actor: str | None = None) -> None:
        self._backend = backend
        self._actor = actor

    @property
    def actor(self) -> str:
        """Who acts."""
        if self._actor is None:
            self._actor = find_actor()
        return self._actor

    def record(self, action: Action) -> None:
        """Append *action*. Where that is not possible, log it instead."""
        if not keeps_journals(self._backend):
            return
        try:
            self._backend.append(_TRAIL, replace(action, actor=self.actor).to_bytes(), most=KEPT)
        except QueueError as error:
            _log.warning(
                "%s did this, and the queue's trail could not be told of it: %s (%s jobs). %s",
                self.actor,
                action.action,
                action.jobs,
                error,
            )

    def record_once(self, action: Action) -> None:
        """
        Append *action*, unless the same one by the same actor was recorded in the last minute.

        It is for what changes nothing: who may only look could otherwise repeat it until what others did is out of the trail.
        """
        said = (action.action, self.actor, action.selection)
        with contextlib.suppress(QueueError):  # `record` tells the log of it
            for each in self.read(_RECENT):
                if (each.action, each.actor, each.selection) == said and abs(time.time() - each.at) < _ONCE:
                    return
        self.record(action)

    @contextlib.contextmanager
    def recording(self, action: str, selection: Mapping[str, Any]) -> Iterator[Counted]:
        """Record *action* when the block is over, also where an exception ends it half done; nothing where it did nothing."""
        done = Counted()
        try:
            yield done
        finally:
            if done.jobs or done.events:
                self.record(Action(action, jobs=done.jobs, events=done.events, selection=dict(selection)))

    def read(self, limit: int, before: int | None = None) -> list[Action]:
        """Return the last actions, the newest first. Raises ``QueueError`` where the store keeps none."""
        if not keeps_journals(self._backend):
            raise TrailAbsent("the store of this queue keeps no trail")
        entries = self._backend.journal(_TRAIL, limit=limit, before=before)
        return [Action.from_entry(entry) for entry in entries]

    def redact(self, user: User) -> tuple[int, int]:
        """Take the events of *user* out of the edits. Return out of how many, and how many entries cannot be read."""
        done = unreadable = 0
        for entry in self._entries():
            action = Action.from_entry(entry)
            unreadable += action.action == _UNREADABLE
            done += self._redact(entry, action, user)
        return done, unreadable

    def _entries(self) -> Iterator[JournalEntry]:
        before = None
        while keeps_journals(self._backend) and (
            page := self._backend.journal(_TRAIL, limit=_PAGE, before=before)
        ):
            yield from page
            before = page[-1].position

    def _redact(self, entry: JournalEntry, action: Action, user: User) -> bool:
        events = [each.encode(errors="replace") for each in (action.before, action.after) if each is not None]
        if all(user.is_in(event) is False for event in events):
            return False
        rest = replace(action, before=None, after=None, note="the events were erased since")
        if self._backend.amend(_TRAIL, entry.position, entry.body, rest.to_bytes()):
            return True
        # The entry was dropped since, or another erasure has changed it.
        found = self._backend.journal(_TRAIL, limit=1, before=entry.position + 1)
        again = [each for each in found if each.position == entry.position and each.body != entry.body]
        return any(self._redact(each, Action.from_entry(each), user) for each in again)


def describe(chosen: Selection) -> dict[str, Any]:
    """Return the conditions of *chosen* as the trail keeps them."""
    states = dict.fromkeys(chosen.states)
    said: dict[str, Any] = {} if len(states) == len(JobState) else {"state": ",".join(states)}
    if chosen.ids is not None:
        said["ids"] = [str(each) for each in chosen.ids[:_MOST_IDS]]
        if len(chosen.ids) > _MOST_IDS:
            said["more_ids"] = len(chosen.ids) - _MOST_IDS
    for each in fields(chosen):
        value = getattr(chosen, each.name)
        if each.name not in _NO_CONDITIONS and value is not None:
            said[each.name] = value if each.name in _PLAIN else "…"
    return said


def tell_selection(selection: Mapping[str, Any]) -> str:
    """Return the conditions of a selection in words; "" for all jobs."""
    said = {name: value for name, value in selection.items() if name != "more_ids"}
    ids = said.pop("ids", None)
    words = [f"{name.replace('_', ' ')} {value}" for name, value in said.items()]
    if isinstance(ids, list):
        more = selection.get("more_ids")
        words.append(" ".join(["job", *map(str, ids), *([f"and {more} more"] if more else [])]))
    return f"({', '.join(words)})" if words else ""


_NO_CONDITIONS: Final = frozenset(("states", "ids", "now", "most"))
_PLAIN: Final = frozenset(("reason", "older_than", "newer_than", "limit"))
"""Conditions that name no user. The value of any other one may, and is left out."""


@dataclass(frozen=True, slots=True)
class Pause:
    """
    Why a queue is paused.

    Args:
        reason: What the operator gave as the reason; "" for none.
        actor: Who paused it.
        since: Since when, in seconds since the epoch.
    """

    reason: str
    actor: str
    since: float


def write_pause(backend: Backend, actor: str, reason: str | None) -> None:
    """Note why the queue is paused; with ``None``, that it is not. Where that cannot be written, log it."""
    if not keeps_journals(backend):
        return
    body = {} if reason is None else {"reason": reason, "actor": actor}
    try:
        backend.append(_PAUSE, json.dumps(body).encode(), most=1)
    except QueueError as error:
        _log.warning("The queue could not be told why it is paused: %s", error)


def read_pause(backend: Backend) -> Pause | None:
    """Return why the queue was paused last; ``None`` where that was not noted, or it was resumed since."""
    for entry in backend.journal(_PAUSE, limit=1) if keeps_journals(backend) else ():
        with contextlib.suppress(ValueError, TypeError, KeyError):
            said = json.loads(entry.body)
            return Pause(str(said["reason"]), str(said["actor"]), entry.at)
    return None


def find_actor(environ: Mapping[str, str] = os.environ) -> str:
    """Return who this process acts for: ``EVENTSPOOL_ACTOR``, or the user of the system and the machine."""
    if given := environ.get("EVENTSPOOL_ACTOR", "").strip():
        return given
    return f"{_first(getpass.getuser, lambda: str(os.getuid()))}@{_first(socket.gethostname)}"


def _first(*ways: Callable[[], str]) -> str:
    """Return what the first of *ways* tells: a container may have no name for its user."""
    for way in ways:
        with contextlib.suppress(Exception):
            return way()
    return "unknown"


for _public in (Action, Pause):
    _public.__module__ = "eventspool"  # what help, tracebacks and pickle say: this module may change
