"""``eventspool queue``: look into a queue, steer it, and decide about what failed."""

from __future__ import annotations

import click

from eventspool._cli.commands.queue.export import export
from eventspool._cli.commands.queue.look import failed, list_jobs, show
from eventspool._cli.commands.queue.move import move
from eventspool._cli.commands.queue.status import status
from eventspool._cli.commands.queue.steer import pause, purge, resume, retry
from eventspool._cli.commands.queue.tail import tail

__all__ = ["command"]


class _InOrder(click.Group):
    """Lists its commands as one needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(
    cls=_InOrder,
    no_args_is_help=False,
    commands=[status, list_jobs, show, tail, failed, retry, purge, export, pause, resume, move],
)
def command() -> None:
    """
    Look into a queue and steer it; retry, purge or export what failed.

    \b
    Examples:
      eventspool queue status --watch --queue redis://localhost:6379/0
      EVENTSPOOL_QUEUE=sqlite:///events.db eventspool queue failed
    """
