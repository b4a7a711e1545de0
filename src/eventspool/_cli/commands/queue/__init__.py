"""``eventspool queue``: look into a queue, steer it, and decide about what failed."""

from __future__ import annotations

import importlib

import click

from eventspool._cli.group import Group

__all__ = ["COMMANDS", "command"]

_HOMES = {
    "status": "status",
    "list": "look",
    "show": "look",
    "tail": "tail",
    "failed": "look",
    "retry": "steer",
    "edit": "edit",
    "purge": "steer",
    "export": "export",
    "erase": "erase",
    "pause": "steer",
    "resume": "steer",
    "trail": "trail",
    "move": "move",
    "resize": "resize",
    "import-bull": "import_bull",
}
"""The module of each command, in the order in which `--help` lists them."""
COMMANDS = tuple(_HOMES)


class _Commands(Group):
    """A group that imports a command only when it is asked for, so that `status` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_HOMES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _HOMES:
            return None
        module = importlib.import_module(f"{__name__}.{_HOMES[cmd_name]}")
        command = getattr(module, "list_jobs" if cmd_name == "list" else cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101
        return command


@click.group(cls=_Commands, no_args_is_help=False)
def command() -> None:
    """
    Look into a queue and steer it; retry, purge or export what failed.

    \b
    Examples:
      eventspool queue status --watch --queue redis://localhost:6379/0
      EVENTSPOOL_QUEUE=sqlite:///events.db eventspool queue failed
    """
