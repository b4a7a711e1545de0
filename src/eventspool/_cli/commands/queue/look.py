"""``queue list``, ``show`` and ``failed``: what is in a queue."""

from __future__ import annotations

import time
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from eventspool._cli.commands.queue.opened import PAGE, STATES, opened, walk
from eventspool._cli.options import json_option, queue_options
from eventspool._cli.output import (
    console,
    format_age,
    format_bytes,
    format_count,
    format_moment,
    key_value_table,
    print_json,
    printable,
    say,
    table,
)
from eventspool._exceptions import QueueError

if TYPE_CHECKING:
    from eventspool._job import Job
    from eventspool._queue import Queue

__all__ = ["failed", "list_jobs", "show"]

_LOOKED_THROUGH = 20 * PAGE
"""Jobs of one state in which `show` looks for the one asked for; its events are found in any case."""
_SAMPLED = 2 * PAGE
_ADVICE = {
    "rejected": "the data plane refused the events: mend what makes them, then `eventspool queue export --purge FILE`",
    "max_attempts": "it was down for longer than the attempts lasted: retry; give workers --retry-for",
    "stalled": "a worker died on them again and again: look at one, then retry",
    "too_large": "one event is larger than the data plane takes: `eventspool queue export --purge FILE`",
    "corrupt": "their bytes were damaged: purge",
    "unsupported": "a newer eventspool wrote them: upgrade the workers, then retry",
    "encrypted": "the workers lack the key: set EVENTSPOOL_ENCRYPTION_KEY, then retry",
    "missing": "their payloads are gone: find out what deletes keys, then purge",
}


@click.command("list")
@queue_options(required=True)
@click.option("--state", type=click.Choice(STATES), default="failed", show_default=True, help="Which jobs.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many at most.")
@click.option("--after", metavar="JOB", help="Go on behind this job: the last one of the page before.")
@json_option
def list_jobs(
    queue_url: str, queue_name: str, prefix: str, state: str, limit: int, after: str | None, *, as_json: bool
) -> None:
    """
    List jobs, oldest first.

    \b
    Example:
      eventspool queue list --state delayed --limit 10
    """
    with opened(queue_url, queue_name, prefix) as queue:
        jobs = queue.jobs(state, limit, after)
    if as_json:
        print_json([asdict(job) for job in jobs])
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
def show(queue_url: str, queue_name: str, prefix: str, job_id: str, *, as_json: bool) -> None:
    """
    Show one job with its events.

    \b
    Example:
      eventspool queue show 0190c5d0a1f23b4c5d6e7f809a1b
    """
    events: list[dict[str, Any]] | None = None
    problem = ""
    with opened(queue_url, queue_name, prefix) as queue:
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
            {**(asdict(job) if job else {"id": job_id}), "payload": events, "payload_error": problem or None}
        )
    else:
        _show_job(job_id, job)
        for number, event in enumerate(events or (), start=1):
            console().print(_headline(number, event))
            print_json(event)
    if problem:
        raise click.ClickException(problem)


def _headline(number: int, event: dict[str, Any]) -> Text:
    """Return one line that says what an event is: its kind, its name, whose it is and when."""
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
    for state in ("failed", "delayed", "leased", "waiting"):
        for job in islice(walk(queue, state), _LOOKED_THROUGH):
            if job.id == job_id:
                return job
    return None


@click.command()
@queue_options(required=True)
@json_option
def failed(queue_url: str, queue_name: str, prefix: str, *, as_json: bool) -> None:
    """
    Group what failed by reason, and say what to do about each.

    \b
    Example:
      eventspool queue failed --queue redis://localhost:6379/0
    """
    with opened(queue_url, queue_name, prefix) as queue:
        reasons = queue.failed_reasons()
        samples: dict[str, Job] = {}
        for job in islice(walk(queue, "failed"), _SAMPLED if reasons else 0):
            samples.setdefault(job.reason or "", job)
    ordered = sorted(reasons.items(), key=lambda item: -item[1].events)
    if as_json:
        print_json(
            [
                {
                    "reason": reason,
                    **asdict(depth),
                    "error": samples[reason].error if reason in samples else None,
                    "advice": _ADVICE.get(reason),
                }
                for reason, depth in ordered
            ]
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
        if reason in _ADVICE:
            say(f"\n{reason}: {_ADVICE[reason]}")
    count = sum(depth.jobs for _, depth in ordered)
    say(f"\n{format_count(count, 'job')}: `eventspool queue retry --reason …`, or `export` and `purge`.")
