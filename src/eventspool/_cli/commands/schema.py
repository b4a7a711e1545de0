"""``eventspool schema``: the JSON Schemas of what --json prints."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import click

from eventspool._cli.answer import print_json
from eventspool._cli.kinds import Kind
from eventspool._cli.options import json_option
from eventspool._cli.output import console, print_document, table

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["command"]


@click.command(short_help="Print the JSON Schema of what --json prints.")
@click.argument("kind", type=click.Choice([each.value.partition("/")[0] for each in Kind]), required=False)
@json_option
def command(kind: str | None, *, as_json: bool) -> None:
    """
    Print the JSON Schema of documents of KIND, with all that it refers to; without KIND, list the kinds.

    The field `schema` of a document names its kind and the version of its form.

    \b
    Examples:
      eventspool schema
      eventspool schema job > job.schema.json
    """
    if kind is not None:
        print_document(_whole(kind))
        return
    kinds = [(each, _read(each.partition("/")[0])["description"]) for each in Kind]
    if as_json:
        print_json(Kind.KIND, [{"kind": each, "description": text} for each, text in kinds])
        return
    shown = table("kind", "what it is")
    for each, text in kinds:
        shown.add_row(each, text)
    console().print(shown, markup=False)


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        files("eventspool._cli").joinpath("schemas", f"{name}.json").read_text("utf-8")
    )
    return found


def _whole(name: str) -> dict[str, Any]:
    """Return the schema of *name* with the schemas that it refers to in it, found by their ``$id``."""
    schema = _read(name)
    parts: dict[str, Any] = {}
    wanted = [*_references(schema)]
    while wanted:
        part = wanted.pop().removesuffix(".json")
        if part not in parts:
            parts[part] = _read(part)
            wanted += _references(parts[part])
    return {**schema, "$defs": parts} if parts else schema


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        schema = list(schema.values())
    if isinstance(schema, list):
        for each in schema:
            yield from _references(each)
