"""The files in deploy/, and the command line that they start."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest

from eventspool._cli.app import cli

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
BIN = Path(sys.executable).parent
"""Where the programs of this environment are."""


@pytest.fixture
def understand(monkeypatch):
    """Have the command line parse arguments as far as running them; return the command's name and options."""

    def understand(arguments, **env):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        group = click.Context(cli)
        name, command, rest = cli.resolve_command(group, list(arguments))
        return name, command.make_context(name, rest, parent=group).params

    return understand
