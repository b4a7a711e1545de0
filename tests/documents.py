"""
Says whether what --json printed is as its schema says. A field that the schema does not name is wrong, too.

It knows as much of JSON Schema as the schemas use, so that it runs where no library for that is installed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import eventspool

__all__ = ["SCHEMAS", "find_wrong", "require_valid"]

SCHEMAS = Path(eventspool.__file__).parent / "_cli" / "schemas"
_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def require_valid(document: Any) -> None:
    """Fail unless *document*, or each thing in the list that it is, is as its schema says."""
    for each in document if isinstance(document, list) else [document]:
        assert isinstance(each, dict), each
        assert "schema" in each, (
            f"use eventspool._cli.answer.print_json, which says of what kind this is: {each}"
        )
        wrong = find_wrong(each, each["schema"].partition("/")[0])
        assert not wrong, f"{wrong} (the schemas are in {SCHEMAS})"


def find_wrong(value: Any, kind: str) -> list[str]:
    """Return what is wrong with *value*, a thing of *kind*."""
    return list(_wrong(value, _read(kind), kind))


def _read(kind: str) -> dict[str, Any]:
    return json.loads((SCHEMAS / f"{kind}.json").read_text("utf-8"))


def _wrong(value: Any, schema: dict[str, Any], where: str) -> Any:
    if "$ref" in schema:
        yield from _wrong(value, _read(schema["$ref"].removesuffix(".json")), where)
    if "anyOf" in schema and all(list(_wrong(value, each, where)) for each in schema["anyOf"]):
        yield f"{where} is none of what it may be: {value!r}"
    if "const" in schema and value != schema["const"]:
        yield f"{where} is {value!r} and not {schema['const']!r}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{where} is {value!r}"
    if "type" in schema:
        names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        allowed = any(isinstance(value, _TYPES[name]) for name in names)
        if not allowed or (isinstance(value, bool) and "boolean" not in names):
            yield f"{where} is no {' or '.join(names)}: {value!r}"
            return
    if schema.get("format") == "date-time" and value is not None and not _MOMENT.fullmatch(value):
        yield f"{where} is no time: {value!r}"
    if "minimum" in schema and value is not None and value < schema["minimum"]:
        yield f"{where} is too small: {value!r}"
    if isinstance(value, list) and "items" in schema:
        for position, each in enumerate(value):
            yield from _wrong(each, schema["items"], f"{where}[{position}]")
    if isinstance(value, dict):
        yield from _wrong_members(value, schema, where)


def _wrong_members(value: dict[str, Any], schema: dict[str, Any], where: str) -> Any:
    for name in schema.get("required", []):
        if name not in value:
            yield f"{where} lacks {name}"
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", not known)
    for name, each in value.items():
        if name in known:
            yield from _wrong(each, known[name], f"{where}.{name}")
        elif isinstance(others, dict):
            yield from _wrong(each, others, f"{where}.{name}")
        elif not others:
            yield f"the schema of {where} does not name {name}"
