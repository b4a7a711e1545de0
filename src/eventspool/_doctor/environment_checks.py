"""What can be wrong with the variables of the environment. Pure: from a mapping to findings, which repeat no text of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._config.environment import find_wrong
from eventspool._config.variables import find_unknown, variable_of
from eventspool._doctor.finding import Finding, error, note, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["check_environment"]


def check_environment(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is wrong with the variables that begin like ours."""
    for unknown in find_unknown(environ):
        if unknown.near:
            yield warning(
                "environment.unknown",
                f"eventspool has no variable {unknown.name}: what it says is not done",
                f"did you mean {unknown.near}?",
            )
        else:
            yield note(
                "environment.unknown",
                f"eventspool has no variable {unknown.name}",
                "docs/reference.md lists those that it has; ignore this where another program reads it",
            )
    key = variable_of("encryption_key")  # it has a check of its own
    for problem in find_wrong({name: text for name, text in environ.items() if name != key}):
        yield error(
            "environment.value", problem, "mend or unset it: with it no client of an application can be made"
        )
