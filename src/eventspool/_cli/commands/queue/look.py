"""``queue list``, ``show`` and ``failed``: look into a queue."""

from __future__ import annotations

import time
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from eventspool._cli.answer import json_of, print_json
from eventspool._cli.commands.queue.opened import opened, state_option
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
    from eventspool._cli.options import QueueAddress
    from eventspool._job import Job
    from eventspool._operate.queue import Queue

__all__ = ["failed", "list_jobs", "show"]

_LOOKED_THROUGH = 20
"""Pages of one state in which `show` looks for the job that was asked for. Its events are found in any case."""
_SAMPLED = 2
"""Pages of failed jobs in which `failed` looks for an example of each reason."""


@click.command("list")
@queue_options(required=True)
@state_option()
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@click.option("--after", metavar="JOB", help="Go on behind this job, the last one of the page before.")
@json_option
def list_jobs(address: QueueAddress, state: str, limit: int, after: str | None, *, as_json: bool) -> None:
    """
    List jobs, oldest first.

    \b
    Example:
      eventspool queue list --state delayed --limit 10
    """
    with opened(address) as queue:
        jobs = queue.jobs(state, limit, after)
    if as_json:
        print_json(Kind.JOB, [json_of(job) for job in jobs])
        return
    if not jobs:
        say(f"No {state} jobs{' behind that one' if after else ''}.")
        return
    failed = state == "failed"
    numbers = ("age", "events", "size") if failed else ("age", "events", "size", "attempts")
    shown = table("job", *numbers, "why" if failed else "due", right=numbers)
    now = time.time()
    for job in jobs:
        age = format_age(max(now - job.created_at, 0.0))
        last = (f"{job.reason}: {job.error}",) if failed else (f"{job.attempts:,}", _due(job, now))
        shown.add_row(
            Text(printable(job.id)),
            age,
            f"{job.events:,}",
            format_bytes(job.bytes),
            *(Text(printable(text)) for text in last),
        )
    console().print(shown)
    if len(jobs) == limit:
        say(f"\nThere may be more: --after {jobs[-1].id}")


def _due(job: Job, now: float) -> str:
    return (
        "now"
        if job.next_attempt_at is None or job.next_attempt_at <= now
        else f"in {format_age(job.next_attempt_at - now)}"
    )


@click.command()
@queue_options(required=True)
@click.argument("job_id", metavar="JOB")
@json_option
def show(address: QueueAddress, job_id: str, *, as_json: bool) -> None:
    """
    Show one job with its events.

    \b
    Example:
      eventspool queue show 0190c5d0a1f23b4c5d6e7f809a1b
    """
    events: list[dict[str, Any]] | None = None
    problem = ""
    with opened(address) as queue:
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
        for number, event in enumerate(events or (), start=1):
            console().print(_headline(number, event))
            print_document(event)
    if problem:
        raise click.ClickException(problem)


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
