"""
The command group: it finds the commands, and turns every error into a sentence and an exit status.

The status is 0 when the command is done, 1 when it failed, 2 for wrong usage, 130 after Ctrl-C and 141 where the program that
read the output went away. A traceback is shown only where EVENTSPOOL_DEBUG is set.
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
from eventspool._cli.answer import Answer
from eventspool._cli.commands.queue import COMMANDS as QUEUE_COMMANDS
from eventspool._cli.failure import Failed, WrongOption
from eventspool._cli.group import Group
from eventspool._cli.output import say_error, say_warning
from eventspool._cli.profiles import find_file, find_open_secret, read_profile
from eventspool._config import find_strays
from eventspool._exceptions import ConfigError, EventSpoolError, QueueError, QueueUnavailable
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
_WARN_THEMSELVES = ("send", "worker", "dev", "metrics", "doctor")
"""Commands that tell of misspelt variables in their own way, or whose standard error may be a log in JSON."""
_READER_GONE = 141
"""The exit status of a program that SIGPIPE ends, which shells and scripts know: ``eventspool queue list | head -1``."""


class _ReaderGoneError(Exception):
    """The program that read our output has closed it."""


class _Commands(Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        modules = pkgutil.iter_modules(commands.__path__)
        found = {module.name for module in modules if "_" not in module.name}  # others are parts of a command
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
        except BrokenPipeError:
            raise _ReaderGoneError from None  # click would make it the exit status 1
        except ConfigError as error:
            raise WrongOption(str(error)) from None
        except QueueUnavailable as error:
            raise Failed(
                str(error), "queue_unavailable", "try again; `eventspool doctor` looks for the cause"
            ) from None
        except QueueError as error:
            raise Failed(str(error), "queue") from None
        except EventSpoolError as error:
            raise Failed(str(error)) from None


@click.group(
    cls=_Commands,
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", prog_name="eventspool", message="%(prog)s %(version)s")
@click.option(
    "--profile",
    metavar="NAME",
    envvar="EVENTSPOOL_PROFILE",
    show_envvar=True,
    help="Take what is not given from this profile of the configuration file.",
)
@click.option(
    "--config",
    metavar="FILE",
    envvar="EVENTSPOOL_CONFIG",
    show_envvar=True,
    help="The configuration file.  [default: ~/.config/eventspool/config.toml]",
)
@click.pass_context
def cli(ctx: click.Context, profile: str | None, config: str | None) -> None:
    """
    Events that survive: send them, deliver them, look after the queue, and try it all out.

    \b
    First steps, without an account and without a server:
      eventspool demo                                 see it work, on real purchases
      eventspool dev                                  a data plane and its page, to develop against
      eventspool send events.jsonl --queue sqlite:///events.db
    """
    file = find_file(config, os.environ)
    if values := read_profile(file, profile):
        if advice := find_open_secret(file, values):
            say_warning(advice)
        command = ctx.command
        assert isinstance(command, _Commands)  # noqa: S101
        inner = dict.fromkeys(QUEUE_COMMANDS, values)
        ctx.default_map = {**dict.fromkeys(command.list_commands(ctx), values), "queue": inner}
    if ctx.invoked_subcommand not in _WARN_THEMSELVES:
        for stray in find_strays(os.environ):
            say_warning(stray.sentence)


def run(arguments: Sequence[str]) -> int:
    """Run the command that *arguments* name and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # Characters that cannot be written are escaped: the id of a foreign job may be no text.
            stream.reconfigure(errors="backslashreplace")
    answer = Answer(arguments)
    try:
        status = _run(arguments, answer)
        answer.give(status)
        sys.stdout.flush()
    except (BrokenPipeError, _ReaderGoneError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - the flush at exit must not fail
        return _READER_GONE
    return status


def _run(arguments: Sequence[str], answer: Answer) -> int:
    try:
        status = cli.main(list(arguments), prog_name="eventspool", standalone_mode=False, obj=answer)
    except SystemExit as done:  # the command has said all itself
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except click.UsageError as error:
        _show_usage_error(error)
        answer.fail(getattr(error, "code", "usage"), error.format_message(), _help_of(error))
        return 2
    except click.ClickException as error:
        say_error(error.format_message())
        answer.fail(getattr(error, "code", "failed"), error.format_message(), getattr(error, "remedy", None))
        return 1
    except (BrokenPipeError, _ReaderGoneError):
        raise
    except OSError as error:
        message = f"{error.filename or 'input or output'}: {error.strerror or type(error).__name__}"
        say_error(message)
        answer.fail("files", message)
        return 1
    except Exception as error:
        if os.environ.get("EVENTSPOOL_DEBUG"):
            raise
        message = f"unexpected {type(error).__name__}. This is a bug in eventspool"
        remedy = "run it again with EVENTSPOOL_DEBUG=1 and report what it says"
        say_error(f"{message}; {remedy}.")
        answer.fail("bug", message, remedy)
        return 1
    return status if isinstance(status, int) else 0


def _help_of(error: click.UsageError) -> str | None:
    return f"{error.ctx.command_path} --help" if error.ctx else None


def _show_usage_error(error: click.UsageError) -> None:
    context = error.ctx
    if context is None:
        say_error(error.format_message())
    elif isinstance(context.command, click.Group) and error.message == "Missing command.":
        click.echo(context.get_help(), err=True)
    else:
        say_error(f"{error.format_message()}  (more: {context.command_path} --help)")
