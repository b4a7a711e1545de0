"""How the demo shows itself: live on a terminal, in lines elsewhere, and with an account at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from eventspool._cli.output import console, format_count, key_value_table
from eventspool._config.stores import title_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from eventspool._demo import DemoResult, Incident, Progress

__all__ = ["LiveNarrator", "PlainNarrator", "QuietNarrator", "show_result"]

_BAR_WIDTH = 40


class QuietNarrator:
    """Says nothing, because a program reads the JSON at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def progress(self, progress: Progress) -> None:
        """Say nothing."""

    def incident(self, incident: Incident) -> None:
        """Say nothing."""


class PlainNarrator(QuietNarrator):
    """Writes a line for each kill and one every few seconds."""

    def __init__(self, target: Console) -> None:
        self._target = target
        self._next = 2.0

    def progress(self, progress: Progress) -> None:
        """Write how far the demo is, every two seconds."""
        if progress.elapsed >= self._next:
            self._next = progress.elapsed + 2.0
            stored, delivered = f"{progress.stored:,} stored", f"{progress.delivered:,} delivered"
            self._target.print(
                f"{progress.elapsed:6.1f} s  {stored}, {delivered}, {progress.queued:,} in the queue"
            )

    def incident(self, incident: Incident) -> None:
        """Write a line about *incident*, unless it is weather."""
        if incident.kind != "weather":
            self._target.print(f"{incident.elapsed:6.1f} s  {incident.text}")


class LiveNarrator(QuietNarrator):
    """Shows two bars and the fault of the moment; the kills stay above them as lines."""

    def __init__(self, target: Console) -> None:
        self._target = target
        self._live = Live(
            console=target,
            refresh_per_second=10,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def progress(self, progress: Progress) -> None:
        """Draw the bars anew."""
        self._live.update(_live_view(progress))

    def incident(self, incident: Incident) -> None:
        """Write a line that stays on the screen about *incident*, unless it is weather."""
        if incident.kind != "weather":
            style = "red" if incident.kind == "kill" else "default"
            line = Text.assemble((f"{incident.elapsed:5.1f} s  ", "dim"), (incident.text, style))
            self._live.console.print(line)


def _live_view(progress: Progress) -> RenderableType:
    bars = Table.grid(padding=(0, 2))
    bars.add_column(style="dim", no_wrap=True)
    bars.add_column(width=_BAR_WIDTH)
    bars.add_column(justify="right", no_wrap=True)
    for name, count in (("stored", progress.stored), ("delivered", progress.delivered)):
        bar = ProgressBar(
            progress.total, count, width=_BAR_WIDTH, complete_style="cyan", finished_style="green"
        )
        bars.add_row(name, bar, f"{count:,} of {progress.total:,}")
    bars.add_row("in queue", Text(f"{progress.queued:,}"), "")
    bars.add_row("kills", _kill_marks(progress), "")
    fair = progress.weather == "answers 200"
    bars.add_row("data plane", Text(progress.weather, style="green" if fair else "yellow"), "")
    return Group(Text(), bars)


def _kill_marks(progress: Progress) -> Text:
    if progress.kills_planned > _BAR_WIDTH // 2:
        marks = Text(f"{progress.kills} of {progress.kills_planned}")
    else:
        marks = Text("✕ " * progress.kills, style="red")
        marks.append("· " * (progress.kills_planned - progress.kills), style="dim")
    if progress.is_down:
        marks.append("  restarting", style="dim")
    return marks


def show_result(result: DemoResult) -> None:
    """Print the account and the verdict."""
    statuses = ", ".join(
        f"{'no answer' if status == 'none' else status} ({count:,})"
        for status, count in result.statuses.items()
    )
    faults = ", ".join(f"{name} ({count:,})" for name, count in result.faults.items()) or "none"
    shown = key_value_table()
    shown.columns[1].justify = "right"
    shown.add_column(style="dim", overflow="fold")
    shown.add_row("input", f"{result.total:,}", f"purchases ({result.source})")
    shown.add_row("accepted", f"{result.accepted:,}", f"acknowledged as stored in {title_of(result.queue)}")
    shown.add_row("delivered", f"{result.delivered:,}", "received by the data plane, counted by messageId")
    shown.add_row("lost", _judged(result.lost), "acknowledged but never received")
    shown.add_row("changed", _judged(result.changed), "received again with other bytes")
    shown.add_row("failed", _judged(result.failed), "left in the failed queue")
    shown.add_row(
        "duplicates", f"{result.duplicates:,}", "received again, for the receiver to drop by messageId"
    )
    shown.add_row(
        "kills", f"{result.kills:,}", f"of {result.kills_planned:,} planned, each a SIGKILL, all survived"
    )
    shown.add_row("requests", f"{result.requests:,}", statuses)
    shown.add_row("faults", f"{sum(result.faults.values()):,}", faults)
    shown.add_row(
        "time",
        f"{result.elapsed:.1f} s",
        f"{result.events_per_second:,.0f} events/s, faults and restarts included",
    )
    out = console()
    out.print()
    out.print(shown)
    out.print()
    if result.ok:
        arrived = f"{result.total:,} purchases in, {result.delivered:,} delivered"
        out.print(f"[bold green]Nothing lost.[/] {arrived}, {format_count(result.kills, 'kill')} survived.")
    else:
        out.print(f"[bold red]Not as promised:[/] {_complaint(result)}.")


def _judged(count: int) -> Text:
    return Text(f"{count:,}", style="bold red" if count else "bold green")


def _complaint(result: DemoResult) -> str:
    found = [
        f"{count:,} {what}"
        for count, what in (
            (result.lost, "lost"),
            (result.changed, "changed"),
            (result.failed, "in the failed queue"),
            (result.total - result.accepted, "not accepted"),
            (result.kills_planned - result.kills, "kills that did not happen"),
        )
        if count
    ]
    return ", ".join(found) or "delivered and accepted differ"
