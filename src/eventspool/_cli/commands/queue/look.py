"""``queue list``, ``show`` and ``failed``: look into a queue."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from eventspool._cli.answer import json_of, print_json
from eventspool._cli.commands.queue.opened import STATES, opened, selection_options
from eventspool._cli.commands.queue.searching import Searching
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option, queue_options
from eventspool._cli.output import (
    console,
    format_age,
    format_bytes,
    format_count,
    format_moment,
    key_value_table,
    print_document,
    printable,
    say,
    table,
)
from eventspool._exceptions import QueueError
from eventspool._job import JobState
from eventspool._operate.selection import walk
from eventspool._reasons import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from eventspool._cli.options import QueueAddress
    from eventspool._job import Job
    from eventspool._operate.look import Look
    from eventspool._operate.queue import Queue
    from eventspool._operate.selection import Selection

__all__ = ["failed", "list_jobs", "show"]

_LOOKED_THROUGH = 20
"""Pages of one state in which `show` looks for the job that was asked for. Its events are found in any case."""
_SAMPLED = 2
"""Pages of failed jobs in which `failed` looks for an example of each reason."""


@click.command("list")
@queue_options(required=True)
@selection_options([*STATES, "all"], "Which jobs.", limit=50)
@click.option("--after", metavar="JOB", help="Go on behind this job, the last one of the page before.")
@json_option
def list_jobs(address: QueueAddress, chosen: Selection, after: str | None, *, as_json: bool) -> None:
    """
    List jobs, oldest first: all of a state, or those that match.

    \b
    Examples:
      eventspool queue list --state delayed --limit 10
      eventspool queue list --state all --event "Order Completed" --user-id user-17
    """
    if after is not None and len(chosen.states) > 1:
        raise click.UsageError("--after goes on in one list: give its --state")
    rows = _Rows(chosen)
    with opened(address) as queue:
        searching = Searching(queue, chosen, after)
        searching.run(lambda look: rows.add(look, print_now=not as_json))
    if as_json:
        print_json(Kind.JOB, rows.as_dicts())
    is_filtered = not _is_everything(chosen)
    if is_filtered:
        searching.say_how_far()
    elif not rows.last and not as_json:
        state = "" if len(chosen.states) > 1 else f"{chosen.states[0]} "
        say(f"No {state}jobs{' behind that one' if after else ''}.")
    if not as_json and rows.last and searching.found == chosen.limit and len(chosen.states) == 1:
        say(f"\nThere may be more: --after {rows.last}")


class _Rows:
    """Jobs as rows of one table, which is printed as they are found; so its columns have widths of their own."""

    def __init__(self, chosen: Selection) -> None:
        self._chosen = chosen
        self._is_headed = True
        self._found: list[dict[str, Any]] = []
        self.last = ""

    def add(self, look: Look, *, print_now: bool) -> None:
        self.last = look.jobs[-1].id
        if print_now:
            console().print(self._table(look), end="")
            self._is_headed = False
            return
        for job in look.jobs:
            more = {"matching_events": len(look.places[job.id])} if look.places else {}
            self._found.append({**json_of(job), **more})

    def as_dicts(self) -> list[dict[str, Any]]:
        return self._found

    def _table(self, look: Look) -> Table:
        states = self._chosen.states
        numbers = ["age", "events", "size"]
        if self._chosen.terms:
            numbers.insert(1, "match")
        if states != (JobState.FAILED,):
            numbers.append("attempts")
        last = "why" if states == (JobState.FAILED,) else "due" if len(states) == 1 else "state"
        shown = table("job", *numbers, last, right=tuple(numbers))
        shown.show_header = self._is_headed
        for column in shown.columns:
            column.min_width = _WIDTHS.get(str(column.header), 8)
        now = time.time()
        for job in look.jobs:
            row = [format_age(max(now - job.created_at, 0.0)), f"{job.events:,}", format_bytes(job.bytes)]
            if self._chosen.terms:
                row.insert(1, f"{len(look.places[job.id]):,}")
            if states != (JobState.FAILED,):
                row.append(f"{job.attempts:,}")
            why = f"{job.reason}: {job.error}" if job.state is JobState.FAILED else _due(job, now)
            if len(states) > 1 and job.state is not JobState.FAILED:
                why = f"{job.state}, {why}"
            shown.add_row(Text(printable(job.id)), *row, Text(printable(why)))
        return shown


_WIDTHS = {"job": 28, "age": 7, "match": 5, "events": 6}


def _is_everything(chosen: Selection) -> bool:
    """No condition is given but the state and how many."""
    return replace(chosen, limit=None).is_everything


def _due(job: Job, now: float) -> str:
    return (
        "now"
        if job.next_attempt_at is None or job.next_attempt_at <= now
        else f"in {format_age(job.next_attempt_at - now)}"
    )


@click.command()
@queue_options(required=True)
@click.argument("job_id", metavar="[JOB]", required=False)
@selection_options([*STATES, "all"], "Among which jobs.", state="all", limit=10)
@json_option
def show(address: QueueAddress, job_id: str | None, chosen: Selection, *, as_json: bool) -> None:
    """
    Show one job with its events; or, without JOB, the jobs that match, with the events that do.

    \b
    Examples:
      eventspool queue show 0190c5d0a1f23b4c5d6e7f809a1b
      eventspool queue show --message-id order-17
    """
    if job_id is None and _is_everything(chosen):
        raise click.UsageError(
            "name a JOB, or say what is looked for: --event, --user-id, --message-id, --text …"
        )
    if job_id is not None and not _is_everything(chosen):
        raise click.UsageError("JOB names one job: it does not go with options that look for jobs")
    with opened(address) as queue:
        if job_id is not None:
            _show_one(queue, job_id, as_json=as_json)
        else:
            _show_found(queue, chosen, as_json=as_json)


def _show_one(queue: Queue, job_id: str, *, as_json: bool) -> None:
    events: list[dict[str, Any]] | None = None
    problem = ""
    job = _find(queue, job_id)
    try:
        events = queue.events(job_id)
    except QueueError as error:
        if job is None:
            raise QueueError(
                f"there is no job {job_id!r} in this queue; `eventspool queue list` shows them"
            ) from None
        problem = str(error)
    if as_json:
        print_json(
            Kind.JOB,
            {
                **(json_of(job) if job else {"id": job_id}),
                "payload": events,
                "payload_error": problem or None,
            },
        )
    else:
        _show_job(job_id, job)
        _show_events(enumerate(events or (), start=1))
    if problem:
        raise click.ClickException(problem)


def _show_found(queue: Queue, chosen: Selection, *, as_json: bool) -> None:
    found: list[dict[str, Any]] = []
    searching = Searching(queue, chosen)

    def tell(look: Look) -> None:
        for job in look.jobs:
            problem = ""
            try:
                events = queue.events(job.id)
            except QueueError as error:
                events, problem = [], str(error)
            places = look.places.get(job.id) or range(len(events))
            matching = [(place + 1, events[place]) for place in places if place < len(events)]
            if as_json:
                payload = None if problem else [event for _, event in matching]
                found.append({**json_of(job), "payload": payload, "payload_error": problem or None})
                continue
            _show_job(job.id, job)
            if problem:
                say(problem)
            _show_events(matching)
            console().print()

    searching.run(tell)
    if as_json:
        print_json(Kind.JOB, found)
    searching.say_how_far()


def _show_events(numbered: Iterable[tuple[int, dict[str, Any]]]) -> None:
    for number, event in numbered:
        console().print(_headline(number, event))
        print_document(event)


def _headline(number: int, event: dict[str, Any]) -> Text:
    """Return one line about an event: its kind, its name, its user and its time."""
    name = event.get("event") or event.get("name") or event.get("groupId") or ""
    who = event.get("userId") or event.get("anonymousId") or "-"
    kind, when = event.get("type", "?"), event.get("timestamp", "")
    text = Text.assemble((printable(f"{number}. {kind}"), "bold"), printable(f" {name}".rstrip()))
    return text.append(printable(f"  {who}  {when}"), style="dim")


def _show_job(job_id: str, job: Job | None) -> None:
    facts = key_value_table()
    facts.add_row("job", Text(printable(job_id)))
    if job is not None:
        facts.add_row("state", job.state.value)
        facts.add_row("events", f"{job.events:,} ({format_bytes(job.bytes)} stored)")
        facts.add_row("created", format_moment(job.created_at))
        facts.add_row("attempts", f"{job.attempts:,}")
        if job.failed_at:
            facts.add_row("failed", format_moment(job.failed_at))
        if job.next_attempt_at:
            facts.add_row("next attempt", format_moment(job.next_attempt_at))
        if job.reason:
            facts.add_row("reason", Text(printable(job.reason)))
            facts.add_row("error", Text(printable(job.error or "-")))
    out = console()
    out.print(facts)
    out.print()


def _find(queue: Queue, job_id: str) -> Job | None:
    for state in (JobState.FAILED, JobState.DELAYED, JobState.LEASED, JobState.WAITING):
        for job in chain.from_iterable(islice(walk(queue, state), _LOOKED_THROUGH)):
            if job.id == job_id:
                return job
    return None


@click.command()
@queue_options(required=True)
@json_option
def failed(address: QueueAddress, *, as_json: bool) -> None:
    """
    Group what failed by reason, and say what to do about each.

    \b
    Example:
      eventspool queue failed --queue redis://localhost:6379/0
    """
    with opened(address) as queue:
        reasons = queue.failed_reasons()
        samples: dict[str, Job] = {}
        for job in chain.from_iterable(islice(walk(queue, JobState.FAILED), _SAMPLED if reasons else 0)):
            samples.setdefault(job.reason or "", job)
    ordered = sorted(reasons.items(), key=lambda item: -item[1].events)
    if as_json:
        print_json(
            Kind.FAILURES,
            [
                {
                    "reason": reason,
                    **json_of(depth),
                    "error": samples[reason].error if reason in samples else None,
                    "advice": FAILED[reason].advice if reason in FAILED else None,
                }
                for reason, depth in ordered
            ],
        )
        return
    if not ordered:
        say("Nothing failed.")
        return
    shown = table("reason", "jobs", "events", "size", "one of them says", right=("jobs", "events", "size"))
    for reason, depth in ordered:
        example = samples[reason].error if reason in samples else "-"
        shown.add_row(
            Text(printable(reason)),
            f"{depth.jobs:,}",
            f"{depth.events:,}",
            format_bytes(depth.bytes),
            Text(printable(example or "-")),
        )
    console().print(shown)
    for reason, _ in ordered:
        if reason in FAILED:
            say(f"\n{reason}: {FAILED[reason].meaning} What to do: {FAILED[reason].advice}.")
    count = sum(depth.jobs for _, depth in ordered)
    say(f"\n{format_count(count, 'job')}: `eventspool queue retry --reason …`, or `export` and `purge`.")
