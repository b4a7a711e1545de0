"""What operators do by the dashboard, and what it tells of what they did. Handlers of requests, as plain functions."""

from __future__ import annotations

from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Any, Final

from eventspool._dashboard.reading import pretty, visible
from eventspool._events.decoding import decode_event
from eventspool._exceptions import ConfigError, QueueError
from eventspool._job import Job, JobState
from eventspool._operate.selection import walk
from eventspool._operate.trail import TrailAbsent, tell_selection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eventspool._operate.queue import Queue
    from eventspool._operate.trail import Action

__all__ = ["count_repeated", "edit", "find_fates", "pause", "read_trail", "resume", "tell_pause"]

_SHOWN: Final = 100
_LOOKED_AT: Final = 1000
"""Actions among which the last retries are sought: all that the trail has."""
_JUST: Final = 3600.0
"""Seconds for which a retry counts as just done."""
_LONGEST_RETRY: Final = 5.0
"""Seconds that a retry takes, as a rule. The trail has it when it is done, and its first jobs may have failed by then."""
_PAGES: Final = 10
"""Pages of failed jobs that are counted; beyond these it is enough to say that there are more."""
_MOST_IDS: Final = 100
_POSITION_DIGITS: Final = 16


def pause(queue: Queue, body: Mapping[str, Any]) -> dict[str, Any]:
    """Pause the queue, for the ``reason`` given."""
    reason = body.get("reason", "")
    if not isinstance(reason, str):
        raise ConfigError("reason must be text")
    queue.pause(reason[:500])
    return {"paused": True}


def resume(queue: Queue, body: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG001
    """End the pause."""
    queue.resume()
    return {"paused": False}


def tell_pause(queue: Queue) -> dict[str, Any] | None:
    """Return who paused the queue, since when and why, where that is known."""
    found = queue.why_paused()
    if found is None:
        return None
    return {"reason": visible(found.reason, 500), "actor": visible(found.actor), "since": found.since}


def edit(queue: Queue, body: Mapping[str, Any]) -> dict[str, Any]:
    """Put ``event``, JSON as text, in the place of the event ``index`` of the ``job``."""
    job, event, index = body.get("job"), body.get("event"), body.get("index")
    if not isinstance(job, str) or not isinstance(event, str) or type(index) is not int:
        raise ConfigError("give job, an id; index, a number; and event, JSON as text")
    queue.edit(job, event, index=index)
    return {"edited": 1}


def read_trail(queue: Queue, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the trail, the newest actions first; or, of the edit at a ``position``, the event before and after."""
    if (position := _position(query, "position")) is not None:
        return _tell_edit(queue, position)
    try:
        actions = queue.trail(_SHOWN, _position(query, "before"))
    except TrailAbsent as error:
        return {"actions": [], "next": None, "absent": str(error)}
    more = actions[-1].position if len(actions) == _SHOWN else None
    return {"actions": [_tell(action) for action in actions], "next": more, "absent": ""}


def _position(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is not None and not (text.isascii() and text.isdigit() and len(text) < _POSITION_DIGITS):
        raise ConfigError(f"{name} must be a position in the trail")
    return int(text) if text else None


def _tell(action: Action) -> dict[str, Any]:
    shown = {name: visible(getattr(action, name), 500) for name in ("action", "actor", "note")}
    counts = {name: getattr(action, name) for name in ("at", "jobs", "events", "position")}
    about = visible(tell_selection(action.selection).strip("()"), 300)
    return {**shown, **counts, "selection": about, "edited": action.after is not None}


def _tell_edit(queue: Queue, position: int) -> dict[str, Any]:
    for action in queue.trail(1, position + 1):
        if action.position == position and action.before is not None and action.after is not None:
            return {"before": _as_json(action.before), "after": _as_json(action.after)}
    raise QueueError("the trail does not have that edit any more")


def _as_json(event: str) -> str:
    try:
        return pretty(decode_event(event, is_exact=True))
    except ValueError:
        return visible(event, 100_000)


def find_fates(queue: Queue, ids: Sequence[str]) -> dict[str, Any]:
    """Say what has become of jobs that were retried: they wait, were delivered, or failed again, each for its reason."""
    if not ids or len(ids) > _MOST_IDS:
        raise ConfigError(f"give 1 to {_MOST_IDS} ids")
    found = queue.fates(ids)
    refused = [
        {"reason": visible(each.reason), "jobs": each.jobs, "error": visible(each.error, 300)}
        for each in found.refused
    ]
    return {"delivered": found.delivered, "unfinished": found.unfinished, "refused": refused}


def count_repeated(queue: Queue, reason: str | None, now: float, *, named: bool = False) -> dict[str, Any]:
    """
    Count the failed jobs, those of *reason* or all, that were there when such jobs were just retried, and failed since.

    To retry them once more would most likely repeat what was just refused. With *named*, their ids are in the answer.
    """
    retries = _recent_retries(queue, reason, now)
    again: dict[str, Action] = {}
    more = False
    # Many jobs may have failed since the first of these retries, so those since the last one are looked at by themselves.
    for since in dict.fromkeys((len(retries) - 1, 0)) if retries else ():
        pages = list(islice(walk(queue, JobState.FAILED, after=_just_before(retries[since])), _PAGES + 1))
        more = more or len(pages) > _PAGES
        for job in chain.from_iterable(pages[:_PAGES]):
            met = next((each for each in retries if _is_refused_again(job, each)), None)
            if met is not None and reason in (None, job.reason):
                again[job.id] = met
    last = max(again.values(), key=lambda each: each.at, default=None)
    return {
        "jobs": len(again),
        "more": more,
        "at": None if last is None else last.at,
        "actor": "" if last is None else visible(last.actor),
        **({"ids": list(again)} if named else {}),
    }


def _just_before(retry: Action) -> Job:
    """Return what stands in the list of failed jobs, which goes by the time of the failure, where *retry* began."""
    began = retry.at - _LONGEST_RETRY
    return Job("-", JobState.FAILED, 0, 0, 0, None, None, 0.0, None, began)


def _is_refused_again(job: Job, retry: Action) -> bool:
    """Say whether *retry* was about *job*, as far as the trail tells, and it failed since."""
    chosen = retry.selection
    # The trail keeps but a few ids of many. That the job was there and failed since says enough then.
    only = None if chosen.get("more_ids") else chosen.get("ids")
    return (
        job.created_at < retry.at
        and (job.failed_at or 0.0) > retry.at - _LONGEST_RETRY
        and chosen.get("reason") in (None, job.reason)
        and (only is None or job.id in only)
    )


def _recent_retries(queue: Queue, reason: str | None, now: float) -> list[Action]:
    """Return the retries, the last one first, of jobs that may have failed for *reason*, where they were just done."""
    try:
        actions = queue.trail(_LOOKED_AT)
    except TrailAbsent:
        return []
    return [
        each
        for each in takewhile(lambda each: now - each.at <= _JUST, actions)
        if each.action == "retry"
        and each.selection.get("state") == "failed"
        and (reason is None or each.selection.get("reason", reason) == reason)
    ]
