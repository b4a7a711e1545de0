"""
The command group: it finds the commands, and turns every error into a sentence and an exit status.

The status is 0 when the command is done, 1 when it failed, 2 for wrong usage and 130 after Ctrl-C. A traceback is shown only
where EVENTSPOOL_DEBUG is set.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any

import click

from eventspool._cli import commands
from eventspool._cli.group import Group
from eventspool._cli.output import say_error
from eventspool._exceptions import ConfigError, EventSpoolError
from eventspool._version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["cli", "run"]

_ORDER = (
    "demo",
    "dev",
    "send",
    "worker",
    "queue",
    "queues",
    "top",
    "dataplane",
    "dashboard",
    "metrics",
    "doctor",
    "capacity",
)


class _Commands(Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        found = {module.name for module in pkgutil.iter_modules(commands.__path__)}
        return [name for name in _ORDER if name in found] + sorted(found - set(_ORDER))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"{commands.__name__}.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise click.UsageError(str(error)) from None
        except EventSpoolError as error:
            raise click.ClickException(str(error)) from None


@click.group(
    cls=_Commands,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="eventspool", message="%(prog)s %(version)s")
def cli() -> None:
    """
    Events that survive: send them, deliver them, look after the queue, and try it all out.

    \b
    First steps, without an account and without a server:
      eventspool demo                                 see it work, on real purchases
      eventspool dev                                  a data plane and its page, to develop against
      eventspool send events.jsonl --queue sqlite:///events.db
    """


def run(arguments: Sequence[str]) -> int:
    """Run the command that *arguments* name and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Characters that cannot be written are escaped: the id of a foreign job may be no text.
            stream.reconfigure(errors="backslashreplace")
    try:
        status = cli.main(list(arguments), prog_name="eventspool", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except click.UsageError as error:
        _show_usage_error(error)
        return 2
    except click.ClickException as error:
        say_error(error.format_message())
        return 1
    except BrokenPipeError:  # the program that read our output has closed it
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - the flush at exit must not fail
        return 1
    except OSError as error:
        say_error(f"{error.filename or 'input or output'}: {error.strerror or type(error).__name__}")
        return 1
    except Exception as error:
        if os.environ.get("EVENTSPOOL_DEBUG"):
            raise
        say_error(
            f"unexpected {type(error).__name__}. This is a bug in eventspool; "
            "run it again with EVENTSPOOL_DEBUG=1 and report what it says."
        )
        return 1
    return status if isinstance(status, int) else 0


def _show_usage_error(error: click.UsageError) -> None:
    context = error.ctx
    if context is None:
        say_error(error.format_message())
    elif isinstance(context.command, click.Group) and error.message == "Missing command.":
        click.echo(context.get_help(), err=True)
    else:
        say_error(f"{error.format_message()}  (more: {context.command_path} --help)")
