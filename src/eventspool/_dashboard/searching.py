"""
A search over HTTP, in steps: each request looks for a moment, and answers with what it has found and where the next goes on.

Nothing is kept between the requests, so a search that a page abandons costs nothing any more.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from eventspool._dashboard.reading import line, visible
from eventspool._events.decoding import decode_event
from eventspool._exceptions import ConfigError
from eventspool._job import Job, JobState
from eventspool._operate.selection import STATES, Selection, state_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eventspool._operate.look import Look
    from eventspool._operate.queue import Queue
    from eventspool._operate.selection import Conditions

__all__ = ["conditions_of", "read_conditions", "search_on"]

_SECONDS = 0.15
"""For how long one request looks. It ends with the step that is under way then."""
_FOUND = 50
"""Jobs after which a request answers, so that the first ones are shown at once."""
_TEXTS = ("error", "event", "user_id", "message_id", "text")
_AGES = ("older_than", "newer_than")
_LONGEST = 1000
"""Characters of the longest text that is looked for."""


def read_conditions(given: Mapping[str, str]) -> Conditions:
    """
    Return the conditions in an address. An empty one is none.

    Raises:
        ConfigError: An age is no number, or a text is too long.
    """
    found: dict[str, Any] = {name: given[name] for name in _TEXTS if given.get(name)}
    if any(len(text) > _LONGEST for text in found.values()):
        raise ConfigError(f"a search is for a text of at most {_LONGEST} characters")
    for name in _AGES:
        if given.get(name):
            try:
                found[name] = float(given[name])
            except ValueError:
                raise ConfigError(f"{name} must be a number of seconds") from None
    return cast("Conditions", found)


def conditions_of(given: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the conditions with the reason, as keyword arguments of ``Queue``."""
    return {**read_conditions(given), "reason": given.get("reason") or None}


@dataclass
class _Step:
    """What one request has found so far."""

    jobs: list[dict[str, Any]] = field(default_factory=list)
    groups: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    looked_at: int = 0
    found: int = 0
    unreadable: int = 0

    def add(self, look: Look, as_json: Callable[[Job], dict[str, Any]], *, grouped: bool) -> None:
        self.looked_at += look.looked_at
        self.found += len(look.jobs)
        self.unreadable += len(look.unreadable)
        for job in look.jobs:
            events = look.events.get(job.id, ())
            if grouped:
                self._group(job, events)
            else:
                first = _line(events[0]) if events else None
                self.jobs.append(
                    {**as_json(job), "matching": len(look.places.get(job.id, ())), "first": first}
                )

    def _group(self, job: Job, events: Sequence[bytes]) -> None:
        """Count the job with each name that its events have: it is one of the jobs in which that has failed."""
        at = job.failed_at or job.created_at
        # What cannot be read has failed, too.
        names: dict[tuple[str, str], int] = {} if events else {("", ""): job.events}
        for event in events:
            name = _names(event)
            names[name] = names.get(name, 0) + 1
        for (shown, text), number in names.items():
            key = (job.state, job.reason or "", job.error or "", shown, text)
            group = self.groups.setdefault(
                key,
                {
                    "state": job.state,
                    "reason": key[1],
                    "error": visible(key[2], 500),
                    "error_text": key[2][:_LONGEST],
                    "event": shown,
                    "event_text": text,
                    "jobs": 0,
                    "events": 0,
                    "first": at,
                    "last": at,
                },
            )
            group["jobs"] += 1
            group["events"] += number
            group["first"] = min(group["first"], at)
            group["last"] = max(group["last"], at)


def search_on(
    queue: Queue,
    given: Mapping[str, str],
    as_json: Callable[[Job], dict[str, Any]],
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """
    Look on from the cursor that is given, for a moment.

    Args:
        queue: What is looked through.
        given: The parameters of the request: ``state`` (or "all"), the conditions, ``job`` for one id, ``cursor``, and
            ``grouped`` where groups are wanted instead of jobs.
        as_json: Returns a job as the page takes it.
        clock: Seconds, of any beginning.
    """
    state = given.get("state") or "failed"
    conditions = conditions_of(given)
    states = list(STATES) if state == "all" else [state_of(state)]
    if Selection(
        (JobState.FAILED,), reason=conditions["reason"], error=conditions.get("error")
    ).is_only_failed:
        states = [each for each in states if each is JobState.FAILED]
    wanted = given.get("job") or None
    at, after = _read_cursor(given.get("cursor") or "", states)
    grouped = bool(given.get("grouped"))
    end, step = clock() + _SECONDS, _Step()
    following: str | None = None
    for place, each in enumerate(states[at:], start=at):
        looks = queue.search(each, after=after, with_events=wanted is None, **conditions)
        after = None
        for look in looks:
            if wanted is not None:
                look = replace(look, jobs=[job for job in look.jobs if job.id == wanted])  # noqa: PLW2901
            step.add(look, as_json, grouped=grouped)
            if wanted is not None and step.jobs:
                break
            if look.until is not None and (clock() >= end or len(step.jobs) >= _FOUND):
                following = _write_cursor(look.until)
                break
        if following is not None or (wanted is not None and step.jobs):
            break
        if clock() >= end and place + 1 < len(states):
            following = json.dumps([states[place + 1], "", None])
            break
    stats = queue.stats()
    return {
        "now": time.time(),
        "jobs": step.jobs,
        "groups": list(step.groups.values()),
        "found": step.found,
        "looked_at": step.looked_at,
        "unreadable": step.unreadable,
        "of": sum(getattr(stats, each.value).jobs for each in states),
        "next": following,
    }


def _write_cursor(job: Job) -> str:
    return json.dumps([job.state, job.id, job.next_attempt_at if job.failed_at is None else job.failed_at])


def _read_cursor(cursor: str, states: Sequence[JobState]) -> tuple[int, Job | None]:
    """Return the place in *states* where the search goes on, and the job behind which it does."""
    if not cursor:
        return 0, None
    try:
        name, job_id, at = json.loads(cursor)
        state = state_of(name)
        place = states.index(state)
        time_there = None if at is None else float(at)
    except (ValueError, TypeError):
        raise ConfigError("the cursor is none of an earlier answer") from None
    if not isinstance(job_id, str) or not job_id:
        return place, None
    is_failed = state is JobState.FAILED
    stood = (None, time_there) if is_failed else (time_there, None)
    return place, Job(job_id, state, 0, 0, 0, None, None, 0.0, *stood)


def _names(event: bytes) -> tuple[str, str]:
    """Return what a list calls *event*, and the whole name by which a search finds it: "" where it finds it by none."""
    try:
        fields = decode_event(event)
    except ValueError:
        return "", ""
    name = fields.get("event" if fields.get("type") == "track" else "name")
    return line(fields)["name"], name if isinstance(name, str) and len(name) <= _LONGEST else ""


def _line(event: bytes) -> dict[str, str] | None:
    try:
        return line(decode_event(event))
    except ValueError:
        return None
