"""``manage.py eventspool worker``: the command line of eventspool, with the options of the settings."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from eventspool import _default
from eventspool._config.variables import list_variables
from eventspool._exceptions import ConfigError
from eventspool.integrations.django.addresses import environment_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Command"]

_DJANGOS = ("--settings", "--pythonpath")
"""Options that Django itself has read before, wherever they stand."""


class Command(BaseCommand):
    """Hands over to the command line."""

    help = "The command line of eventspool with the options of your settings: worker, doctor, queue, send, …"
    requires_system_checks: list[str] = []  # noqa: RUF012 - as Django has it. `doctor` says it better

    def add_arguments(self, parser: Any) -> None:
        """Take whatever follows, for the command line to read."""
        parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="COMMAND …")

    def handle(self, *args: str, arguments: list[str] | None = None, **_: Any) -> None:
        """
        Run the command line.

        Raises:
            CommandError: Its packages are missing, or there is no client.
            SystemExit: It did not end well.
        """
        try:
            import click  # noqa: F401
            import rich  # noqa: F401
        except ImportError:
            raise CommandError(
                "the command line needs two more packages: pip install 'eventspool[cli]'"
            ) from None
        from eventspool._cli.app import run

        given = [*args, *(arguments or ())]
        with self._environment():
            try:
                status: object = run(list(_without_djangos(given)))
            except SystemExit as ended:  # some commands exit, also when all is well
                status = ended.code
        if status:
            sys.exit(status)  # type: ignore[arg-type] # a status, or what another one exited with

    @contextlib.contextmanager
    def _environment(self) -> Iterator[None]:
        """Have the options of the default client stand where the command line looks for them."""
        client = _default.current_client()
        before = dict(os.environ)
        try:
            if client is not None and client._opts.enable:  # noqa: SLF001
                options = environment_of(client._opts, client._beginning.queue_opts)  # noqa: SLF001
                for variable in list_variables():  # what the settings go before
                    os.environ.pop(variable.name, None)
                os.environ.update(options)
                client.stand_down()  # or else it would work on the queue beside the command
            yield
        except ConfigError as error:
            raise CommandError(str(error)) from None
        finally:
            os.environ.clear()
            os.environ.update(before)


def _without_djangos(arguments: list[str]) -> Iterator[str]:
    is_value = False
    for argument in arguments:
        if is_value or argument.startswith(tuple(f"{name}=" for name in _DJANGOS)):
            is_value = False
        elif argument in _DJANGOS:
            is_value = True
        else:
            yield argument
