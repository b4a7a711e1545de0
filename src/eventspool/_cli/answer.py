"""
What a command that was called with --json puts on the standard output: one document, or one a line while it runs.

It is put there at the end. So a command that fails after it has made its document still prints one, with the error in
it; and one that fails before prints the error alone. The sentence for people goes to the standard error in both cases.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import click

from eventspool._cli.kinds import Kind
from eventspool._cli.output import json_line, moment_text, print_document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Answer", "json_of", "print_json", "print_json_line"]

_INTERRUPTED = 130
_MOMENTS = frozenset({"at", "held_until", "since"})
"""Fields that hold a time, and whose names do not end in ``_at``."""


class Answer:
    """
    Collects what is to be printed.

    Args:
        arguments: Those of the command line.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        before = arguments[: arguments.index("--")] if "--" in arguments else arguments
        self._is_wanted = "--json" in before
        self._document: Any = None
        self._error: dict[str, Any] | None = None
        self._has_lines = False

    def put(self, document: Any) -> None:
        """Take the command's document."""
        self._document = document

    def put_line(self) -> None:
        """Note that the command has printed a document on a line of its own."""
        self._has_lines = True

    def fail(self, code: str, message: str, remedy: str | None = None) -> None:
        """Note why the command failed."""
        self._error = {"code": code, "message": message, "remedy": remedy}

    def give(self, status: int) -> None:
        """Print the document of a command that ended with the exit *status*."""
        if self._error is None and status and self._document is None and not self._has_lines:
            interrupted = status == _INTERRUPTED
            self.fail(
                "interrupted" if interrupted else "failed",
                "interrupted" if interrupted else "see the standard error",
            )
        error = self._error if self._is_wanted else None
        if isinstance(self._document, dict):
            print_document({**self._document, "command_error": error} if error else self._document)
        elif self._document is not None and error is None:
            print_document(self._document)
        elif error is not None:
            click.echo(json_line({"schema": Kind.ERROR, "error": error}))


def print_json(kind: Kind, data: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
    """Print *data*, one thing or a list of things, as one JSON document when the command ends."""
    document: Any = (
        [_labelled(kind, each) for each in data] if not hasattr(data, "keys") else _labelled(kind, data)
    )
    context = click.get_current_context(silent=True)
    answer = context.find_object(Answer) if context else None
    if answer is None:
        print_document(document)
    else:
        answer.put(document)


def print_json_line(kind: Kind, data: Mapping[str, Any]) -> None:
    """Print *data* now, as one line of JSON, in a command that goes on."""
    context = click.get_current_context(silent=True)
    answer = context.find_object(Answer) if context else None
    if answer is not None:
        answer.put_line()
    print(json_line(_labelled(kind, data)), flush=True)  # noqa: T201 - data, one line each


def _labelled(kind: Kind, data: Any) -> dict[str, Any]:
    return {"schema": kind, **data}


def json_of(value: Any) -> Any:
    """
    Return *value* with the dataclasses in it as dictionaries, and their times as RFC 3339 says.

    Other mappings, such as the events of a job, stay as they are.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _field(field.name, getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, list | tuple):
        return [json_of(each) for each in value]
    return value


def _field(name: str, value: Any) -> Any:
    if (name.endswith("_at") or name in _MOMENTS) and isinstance(value, float | int | None):
        return moment_text(value)
    return json_of(value)
