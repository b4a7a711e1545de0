"""A search on a terminal: what is found is shown at once, and below it how far the search has looked."""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from eventspool._cli.commands.queue.opened import look_through, most, say_unreadable
from eventspool._cli.output import err_console, format_count, on_terminal, say
from eventspool._operate.selection import PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eventspool._operate.look import Look
    from eventspool._operate.queue import Queue
    from eventspool._operate.selection import Selection

__all__ = ["Searching"]


class Searching:
    """
    One search, step by step; afterwards it knows what came of it.

    Args:
        queue: What is looked through.
        chosen: What is looked for.
        after: The id of the job behind which it begins.
    """

    def __init__(self, queue: Queue, chosen: Selection, after: str | None = None) -> None:
        self._looks = look_through(queue, chosen, after)
        self._of = most(queue, chosen)
        self.looked_at = 0
        self.found = 0
        self.unreadable = 0

    def run(self, show: Callable[[Look], object]) -> None:
        """Have *show* print what each step has found."""
        with _bar(self._of) as bar:
            for look in self._looks:
                self.looked_at += look.looked_at
                self.found += len(look.jobs)
                self.unreadable += len(look.unreadable)
                if look.jobs:
                    bar.aside(partial(show, look))
                bar.move(look.looked_at, self.found)

    def say_how_far(self) -> None:
        """Say what was looked at."""
        of = f"{self.looked_at:,} of " if self.looked_at < self._of else ""
        jobs = format_count(max(self.looked_at, self._of), "job")
        say(f"Looked at {of}{jobs}, found {format_count(self.found, 'job')}.")
        say_unreadable(self.unreadable)


class _NoBar:
    def move(self, looked_at: int, found: int) -> None:
        pass

    def aside(self, print_it: Callable[[], object]) -> None:
        print_it()


class _Bar(_NoBar):
    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(
            *columns, console=err_console(), transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self._task = self._bar.add_task("searching", total=total)
        self._bar.start()

    def move(self, looked_at: int, found: int) -> None:
        self._bar.update(self._task, advance=looked_at, description=f"searching, {found:,} found")

    def aside(self, print_it: Callable[[], object]) -> None:
        # The lines go to the standard output, of which the bar on the standard error does not know.
        self._bar.stop()
        print_it()
        self._bar.start()

    def stop(self) -> None:
        self._bar.stop()


@contextlib.contextmanager
def _bar(total: int) -> Iterator[_NoBar]:
    if total <= PAGE or not on_terminal():  # one step shows no progress
        yield _NoBar()
        return
    bar = _Bar(total)
    try:
        yield bar
    finally:
        bar.stop()
