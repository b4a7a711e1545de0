"""
Writes docs/json.md: `python tools/json_page.py > docs/json.md`.

The tables are made from the JSON Schemas of the command line, and a test compares the two.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventspool._cli import kinds
from eventspool._cli.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["page"]

_SCHEMAS = Path(kinds.__file__).parent / "schemas"
_BEGIN = """\
# JSON of the command line

With `--json`, every command that prints data prints JSON to the standard output, and nothing else there. Sentences for
people go to the standard error as without it.

```
$ eventspool queue list --json --limit 1 --queue redis://localhost:6379/0
[
  {
    "schema": "job/1",
    "id": "019f1e5f3c0a8d1be2c1f29a07d4",
    "state": "failed",
    …
  }
]
$ eventspool queue list --json --queue redis://no-such-host:6379/0; echo $?
{"schema":"error/1","error":{"code":"queue_unavailable","message":"…","remedy":"try again; …"}}
1
```

- A command about one thing prints an object, one that lists prints an array of them. A command that goes on (`queue
  tail`, `queue status --watch`, `dev`, `dashboard`) prints one object a line.
- The field `schema` names the kind of a thing, and the version of its form. A version grows when a field goes away or
  means something else; fields are added without that, so ignore those that you do not know.
- A command that fails before it has anything else to say prints an object with `error`, on one line. One that fails
  afterwards prints its object with the field `command_error`. The exit status says that it failed, in both cases.
- Times are as RFC 3339 says: UTC, milliseconds, `Z` (`2026-11-24T00:15:02.113Z`); `null` for none. So are those that
  people read. In Python, `Job.created_at` and the like are seconds since the epoch. Ages and durations are seconds.
- Numbers in events are exact, also where a float cannot hold them.

`eventspool schema` lists the kinds, and `eventspool schema KIND` prints the [JSON Schema](https://json-schema.org) of
one, with all that it refers to.

| exit status | |
|---|---|
| 0 | done |
| 1 | failed, or a look that found something that needs you (`doctor`, `health`) |
| 2 | wrong usage |
| 130 | Ctrl-C |
| 141 | the program that read the output has closed it (`… \\| head -1`) |
"""


def page() -> str:
    """Return the page."""
    names = [each.partition("/")[0] for each in Kind]
    parts = sorted(file.stem for file in _SCHEMAS.glob("*.json") if file.stem not in names)
    lines = [_BEGIN, "## Kinds", ""]
    for name in names:
        lines += _section(name)
    lines += ["## Parts", "", "What stands in things of other kinds.", ""]
    for name in parts:
        lines += _section(name)
    return "\n".join(lines).rstrip() + "\n"


def _section(name: str) -> Iterator[str]:
    schema = _read(name)
    label = schema["properties"].get("schema")
    yield f"### {label['const'] if label else name}"
    yield ""
    yield schema["description"]
    yield ""
    yield "| field | type | |"
    yield "|---|---|---|"
    for field, each in schema["properties"].items():
        if field not in ("schema", "command_error"):
            optional = "" if field in schema.get("required", []) else " (may be missing)"
            yield f"| `{field}` | {_type(each)}{optional} | {each.get('description', '').replace('|', chr(92) + '|')} |"
    yield ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].removesuffix(".json")
        return f"[{name}](#{name})" if "schema" not in _read(name)["properties"] else name
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    names = schema.get("type", "any")
    names = [names] if isinstance(names, str) else names
    if schema.get("format") == "date-time":
        names = ["time", *names[1:]]
    if "array" in names and "items" in schema:
        names = [f"array of {_type(schema['items'])}", *(each for each in names if each != "array")]
    return " or ".join(names)


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((_SCHEMAS / f"{name}.json").read_text("utf-8"))
    return found


if __name__ == "__main__":
    sys.stdout.write(page())
