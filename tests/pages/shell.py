"""Reads a shell block: which commands it gives, and whether the `eventspool` among them has such commands and options."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import TYPE_CHECKING

import click

from eventspool._cli.app import cli
from pages.blocks import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
RUN = ROOT.joinpath("run").read_text(encoding="utf-8")
SEPARATORS = {"|", "||", "&&", ";", "&"}
VARIABLE = re.compile(r"([A-Za-z_]\w*)=")


def split_commands(code: str) -> Iterator[tuple[dict[str, str], list[str]]]:
    """Yield the environment and the words of each command. Where there are prompts, only lines that have one are commands."""
    lines = code.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    for line in lines:
        words = shlex.split(re.sub(r"\$\([^)]*\)", "X", line), comments=True)
        while words:
            end = next((number for number, word in enumerate(words) if word in SEPARATORS), len(words))
            command, words = words[:end], words[end + 1 :]
            if command and command[0] in {"export", "env"}:
                command = command[1:]
            given = {}
            while command and (match := VARIABLE.match(command[0])):
                given[match[1]] = command.pop(0)[match.end() :]
            yield given, [word.rstrip(";") for word in command]


def complain_of(code: str, variables: set[str]) -> list[str]:
    """Return what is wrong with the commands of a block. *variables* are those of the environment that eventspool reads."""
    found = []
    for given, words in split_commands(code):
        found += [
            f"{name} is no variable"
            for name in given
            if name.startswith("EVENTSPOOL_") and name not in variables
        ]
        if not words:
            continue
        if words[:3] == ["python", "manage.py", "eventspool"]:  # Django's: the same command
            words = words[2:]
        if words[0] == "eventspool":
            found += _complain_of_eventspool(words[1:])
        elif (
            words[0] == "./run" and len(words) > 1 and not re.search(rf"^    {words[1]}\b", RUN, re.MULTILINE)
        ):
            found.append(f"./run has no {words[1]}")
        elif "pip" in words and "install" in words:
            found += _complain_of_extras(words)
    return found


def _complain_of_eventspool(words: list[str]) -> list[str]:
    command: click.Command = cli
    context = click.Context(cli, info_name="eventspool")
    words = [word for word in words if not re.match(r"\d?[<>]", word)]
    try:
        while True:
            given, words, _ = command.make_parser(context).parse_args(args=list(words))
            for parameter in command.params:
                if parameter.name in given and isinstance(parameter.type, click.Choice):
                    parameter.type_cast_value(context, given[parameter.name])
            if not isinstance(command, click.Group) or not words:
                break
            name, found, words = command.resolve_command(context, words)
            assert found is not None
            context = click.Context(found, info_name=name, parent=context)
            command = found
    except click.UsageError as error:
        return [f"{context.command_path}: {error.format_message()}"]
    if isinstance(command, click.Group) and not command.invoke_without_command and command is not cli:
        return [f"{context.command_path}: which command?"]
    return []


def _complain_of_extras(words: list[str]) -> list[str]:
    extras = {
        extra
        for word in words
        if (match := re.match(r"eventspool\[([\w,-]+)\]", word))
        for extra in match[1].split(",")
    }
    return [f"there is no extra {extra}" for extra in extras - set(PROJECT["optional-dependencies"])]


def variables_of_commands(command: click.Command = cli) -> set[str]:
    """Return the variables of the environment that the commands read."""
    found = {
        name
        for parameter in command.params
        if parameter.envvar
        for name in ([parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar)
    }
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            found |= variables_of_commands(below)
    return found
