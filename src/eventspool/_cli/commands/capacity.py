"""``eventspool capacity``: what a load asks of Redis, of the network and of Python, before there is any of it."""

from __future__ import annotations

import difflib
from dataclasses import fields, replace
from math import isnan
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from eventspool._cli.answer import print_json
from eventspool._cli.kinds import Kind
from eventspool._cli.options import gathered, json_option
from eventspool._cli.output import (
    console,
    format_age,
    format_bytes,
    format_count,
    key_value_table,
    table,
)
from eventspool._config import Ordering
from eventspool._config.variables import variable_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from eventspool._operate.capacity import Constants, Limit, Plan

__all__ = ["command"]

_WHERE = "docs/scaling.md"
"""Where the constants come from."""
_UNITS = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


class _Size(click.ParamType):  # type: ignore[type-arg]
    """A size in bytes, which may be written as 500M or 8G."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip().upper().removesuffix("B")
        unit = _UNITS.get(text[-1:], 1.0)
        try:
            size = float(text.rstrip("KMGT")) * unit
        except ValueError:
            size = 0.0
        if not 1 <= size < 1e18:
            self.fail(f"{value!r} is no size such as 500M or 8G", param, ctx)
        return size


class _Number(click.FloatRange):
    """A number in a range, which nan is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if isnan(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


_positive = _Number(0, 1e9, min_open=True)
_options = (
    click.option(
        "--events-per-second", "-r", type=_positive, required=True, help="Of all producers together."
    ),
    click.option(
        "--outage-hours",
        type=_Number(0, 24 * 365, min_open=True),
        default=1.0,
        show_default=True,
        help="How long the queue is to take events that nobody delivers.",
    ),
    click.option(
        "--event-bytes",
        type=_Size(),
        help="JSON of an event.  [default: that of the measured events]",
    ),
    click.option(
        "--stored-bytes",
        type=_Size(),
        help="Stored bytes of an event, where you know them: bytes by events of `eventspool queue status`.",
    ),
    click.option(
        "--events-per-batch",
        type=_Number(1, 1e6),
        help="Events of a job, where you know them.  [default: what the producers' flush rules make]",
    ),
    click.option(
        "--producers",
        type=click.IntRange(1, 10_000_000),
        help="Processes that track.  [default: one for each 1,000 events/s]",
    ),
    click.option("--flush-at", type=click.IntRange(1), help="The clients' option.  [default: theirs]"),
    click.option("--flush-interval", type=_positive, help="The clients' option.  [default: theirs]"),
    click.option(
        "--ordering",
        type=click.Choice([each.value for each in Ordering]),
        envvar=variable_of("ordering"),
        default=Ordering.NONE.value,
        show_default=True,
        show_envvar=True,
        help="How much order the queue keeps.",
    ),
    click.option(
        "--partitions",
        type=click.IntRange(1, 256),
        envvar=variable_of("partitions"),
        show_envvar=True,
        help="Over how many the queue is spread.  [default: as many as it takes]",
    ),
    click.option(
        "--durability",
        type=click.Choice(["buffered", "persisted", "replicated"]),
        envvar=variable_of("durability"),
        default="buffered",
        show_default=True,
        show_envvar=True,
        help="When an event method returns.",
    ),
    click.option(
        "--replicas", type=click.IntRange(0, 10), default=1, show_default=True, help="Of each node."
    ),
    click.option("--aof/--no-aof", default=True, help="Each node has an append-only file.  [default: aof]"),
    click.option(
        "--maxmemory",
        "node_bytes",
        type=_Size(),
        default="8G",
        show_default=True,
        help="maxmemory of a node.",
    ),
    click.option(
        "--max-bytes",
        type=_Size(),
        envvar=variable_of("max_bytes"),
        show_envvar=True,
        help="The queue's option.  [default: its]",
    ),
    click.option(
        "--max-jobs",
        type=click.IntRange(1),
        envvar=variable_of("max_jobs"),
        show_envvar=True,
        help="The queue's option.  [default: its]",
    ),
    click.option(
        "--spill-bytes", type=_Size(), help="What a producer's spill file may hold.  [default: there is none]"
    ),
    click.option(
        "--concurrency", type=click.IntRange(1, 10_000), help="Requests of a processor at once.  [default: 8]"
    ),
    click.option(
        "--answer-ms",
        type=_positive,
        default=50.0,
        show_default=True,
        help="What the data plane takes to answer.",
    ),
)
_ORDERS = {Ordering.NONE: "no order", Ordering.FIFO: "strict order", Ordering.PER_USER: "order per user"}
_WHOLE = {"max_bytes", "spill_bytes"}
"""Options of a load that are whole numbers, whatever unit they were given in."""


def _gather(outage_hours: float, answer_ms: float, ordering: str, **given: Any) -> dict[str, Any]:
    values = {
        name: int(value) if name in _WHOLE else value for name, value in given.items() if value is not None
    }
    return {
        "given": {
            **values,
            "outage_seconds": outage_hours * 3600,
            "answer_seconds": answer_ms / 1000,
            "ordering": Ordering(ordering),
        }
    }


@click.command(short_help="Plan Redis, partitions, network and workers for a load.")
@gathered(_gather, *_options)
@click.option(
    "--set",
    "changed",
    metavar="CONSTANT=NUMBER",
    multiple=True,
    help="Reckon with another constant, such as commit_call_us=80. May be repeated; --constants lists them.",
)
@click.option("--constants", "with_constants", is_flag=True, help="Print every constant and what it means.")
@json_option
def command(given: dict[str, Any], changed: Sequence[str], *, with_constants: bool, as_json: bool) -> None:
    """
    Say what a load needs: memory and cores of Redis, partitions, nodes, network, workers, and how long an outage may last.

    It asks no server. The numbers come from measured constants, which are printed with the plan and can be changed;
    docs/scaling.md says how they were measured, and how far the plan may be off.

    \b
    Examples:
      eventspool capacity --events-per-second 10000
      eventspool capacity -r 100000 --outage-hours 0.5 --ordering per_user --producers 200
      eventspool capacity -r 2000 --events-per-batch 20 --maxmemory 4G --set commit_call_us=80 --json
    """
    from eventspool._operate.capacity import (
        MEASURED,
        Load,
        advise,
        find_limits,
        list_constants,
        make_plan,
        settings,
    )

    constants = _change(MEASURED, changed)
    plan = make_plan(Load(**given), constants)
    limits = find_limits(plan, constants)
    if as_json:
        print_json(
            Kind.CAPACITY,
            {
                **plan.as_dict(),
                "limits": {limit.name: limit.events_per_second for limit in limits},
                "advice": advise(plan, constants),
                "settings": settings(plan),
                "constants": {each.name: each._asdict() for each in list_constants(constants)},
                "constants_from": _WHERE,
            },
        )
        return
    out = console()
    out.print(_picture(plan))
    out.print(Text("\nWhat ends first, with one of each:", style="bold"))
    out.print(_limits_table(limits, plan.load.events_per_second))
    for sentence in advise(plan, constants):
        out.print(Text(f"\n{sentence}"))
    out.print(Text("\nTo copy:\n", style="bold"))
    for line in settings(plan):
        out.print(Text(line), soft_wrap=True)
    out.print(Text("\n" + _origin(constants, MEASURED), style="dim"))
    if with_constants:
        out.print(_constants_table(constants))


def _change(constants: Constants, changed: Sequence[str]) -> Constants:
    """Return *constants* with those that ``--set`` names."""
    known = [each.name for each in fields(constants) if each.metadata]
    values: dict[str, Any] = {}
    for text in changed:
        name, _, number = text.partition("=")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "--constants lists them"
            raise click.UsageError(f"--set: there is no constant {name!r}; {hint}")
        try:
            values[name] = float(number)
        except ValueError:
            values[name] = -1.0
        if not 0 <= values[name] < 1e18:
            raise click.UsageError(f"--set: {name} takes a number, as in --set {name}=1")
    return replace(constants, **values)


def _picture(plan: Plan) -> Table:
    load, batches = plan.load, plan.batches
    shown = key_value_table()

    def row(name: str, *parts: str) -> None:
        shown.add_row(name, ", ".join(part for part in parts if part))

    row(
        "load",
        f"{_figure(load.events_per_second)} events/s of {format_count(load.resolved_producers, 'producer')}",
        _ORDERS[load.ordering],
        load.durability,
    )
    row(
        "batches",
        f"{_figure(batches.events_per_batch)} events of {plan.stored_event_bytes:.0f} stored bytes",
        f"{_figure(batches.jobs_per_second)} jobs/s",
        ""
        if load.events_per_batch or batches.wait_seconds < 0.05
        else f"flushed within {format_age(batches.wait_seconds)}",
    )
    row(
        "Redis memory",
        f"{format_bytes(plan.backlog_bytes)} after {format_age(load.outage_seconds)} of outage",
        f"maxmemory {format_bytes(plan.maxmemory_bytes)}" + (" on each node" if plan.nodes > 1 else ""),
    )
    row("Redis cores", _figure(plan.redis_cores), f"{plan.server_job_us:.0f} µs a job")
    row(
        "partitions",
        f"{plan.partitions:,}",
        f"each up to {format_bytes(plan.partition_bytes)} of payload",
    )
    row(
        "nodes",
        f"{plan.nodes:,}",
        f"{plan.nodes_by_memory:,} for memory and {plan.nodes_by_cores:,} for cores",
        f"each with {format_count(load.replicas, 'replica')}" if load.replicas else "no replicas",
    )
    row("network", f"{_bits(plan.in_bits)} in", f"{_bits(plan.out_bits)} out, with replicas")
    row("append-only file", f"{format_bytes(plan.file_bytes)}/s" if load.aof else "none")
    row("producers", f"{_figure(plan.producer_cores)} cores in all")
    row(
        "processors",
        format_count(plan.processors, "process", "processes"),
        f"{_figure(plan.processor_cores)} cores in all",
    )
    row(
        "after the outage",
        f"drained in {format_age(plan.drain_seconds)}" if plan.drain_seconds is not None else "never drained",
    )
    row(
        "bounds now",
        f"full after {format_age(plan.full_seconds)} of outage, by {plan.full_by}",
        f"then {format_age(plan.buffer_seconds)} of memory",
        f"then {format_age(plan.spill_seconds)} of spill file" if load.spill_bytes else "no spill file",
    )
    return shown


def _figure(number: float) -> str:
    """Return *number* with the digits that count, and never as a power of ten."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}"


def _bits(rate: float) -> str:
    for unit in ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"):
        if rate < 1000 or unit == "Gbit/s":
            return f"{_figure(rate)} {unit}"
        rate /= 1000
    raise AssertionError


def _limits_table(limits: Sequence[Limit], rate: float) -> Table:
    shown = table("", "events/s", right=("events/s",))
    for limit in limits:
        style = "yellow" if limit.events_per_second < rate else ""
        shown.add_row(limit.meaning, f"{limit.events_per_second:,.0f}", style=style)
    return shown


def _origin(constants: Constants, measured: Constants) -> str:
    changed = [
        f"{each.name}={getattr(constants, each.name):g}"
        for each in fields(constants)
        if getattr(constants, each.name) != getattr(measured, each.name)
    ]
    but = f" but for {', '.join(changed)}, which you gave" if changed else ""
    return f"Constants are measured ones{but}. {_WHERE} says where and how; --constants shows them, --set changes them."


def _constants_table(constants: Constants) -> Table:
    from eventspool._operate.capacity import list_constants

    shown = table("constant", "value", "meaning", right=("value",))
    for each in list_constants(constants):
        shown.add_row(each.name, f"{each.value:,.6g}", f"{each.unit}: {each.meaning}".removeprefix(": "))
    sizes = ", ".join(f"{size:g}: {stored:g}" for size, stored in constants.stored)
    shown.add_row("stored", "", f"B: events a batch and the stored bytes of each, {sizes}")
    return shown
