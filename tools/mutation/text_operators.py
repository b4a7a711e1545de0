"""Changes of SQL and Lua, which have no parser here: by the look of their tokens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mutant import Mutant

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["looks_like_sql", "mutate_lua", "mutate_sql"]

_SQL = re.compile(r"\b(select|update|insert|delete|from|and|order by|coalesce|is null|due|until)\b")
_SQL_OPERATORS = [
    (r"(?<= )<=(?= )", "<"),
    (r"(?<= )<(?= )", "<="),
    (r"(?<= )>=(?= )", ">"),
    (r"(?<= )>(?= )", ">="),
    (r"(?<= )!=(?= )", "="),
    (r"(?:where|and) \w+ (=)(?= )", "!="),
    (r"(?<= )and(?= )", "or"),
    (r"(?<= )or(?= (?!replace))", "and"),
    (r"is not null", "is null"),
    (r"is null", "is not null"),
    (r"\bmin(?=\()", "max"),
    (r"\bmax(?=\()", "min"),
    (r"(?<= )\+(?= )", "-"),
    (r"(?<= )-(?= )", "+"),
    (r"insert or replace", "insert or ignore"),
    (r"left join", "join"),
    (r"(order by \w+), \w+", r"\1"),
    (r"\b\d+\b", "+1"),
]
_LUA_OPERATORS = [
    (r"==", "~="),
    (r"~=", "=="),
    (r"(?<= )<=(?= )", "<"),
    (r"(?<= )<(?= )", "<="),
    (r"(?<= )>=(?= )", ">"),
    (r"(?<= )>(?= )", ">="),
    (r"\band\b", "or"),
    (r"\bor\b", "and"),
    (r"\bnot ", ""),
    (r"(?<= )\+(?= )", "-"),
    (r"(?<= )-(?= )", "+"),
    (r"(?<= )\*(?= )", "/"),
    (r"(?<= )/(?= )", "*"),
    (r"(?<=[(, ])-(?=[a-z])", ""),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r"\bmath\.max\b", "math.min"),
    (r"\bmath\.min\b", "math.max"),
    (r"\b\d+\b", "+1"),
    (r"(?m)(?<=^)[ ]*(?:call|wake|add_totals|tally|add|fail|created)\(.*\)$", ""),  # a statement of its own
    (r"(?<=then )(?:call|wake)\(.*?\)(?= end$)", ""),
    (r"\bbreak\b", ""),
]


def looks_like_sql(text: str) -> bool:
    """Say whether *text* is (a part of) a statement."""
    return _SQL.search(text) is not None


def _mutate(text: str, operators: list[tuple[str, str]]) -> Iterator[tuple[int, int, str]]:
    for pattern, replacement in operators:
        for found in re.finditer(pattern, text, re.MULTILINE):
            start, end = found.span(found.lastindex or 0)
            if replacement == "+1":
                number = int(text[start:end])
                # A microsecond more or less is beside the point; twice as long is not.
                yield start, end, str(number + 1 if number < 1000 else 2 * number)
            elif "\\1" in replacement:
                yield *found.span(), found.expand(replacement)
            else:
                yield start, end, replacement


def mutate_sql(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield changes of a literal as (start, end, replacement)."""
    yield from _mutate(text, _SQL_OPERATORS)


def mutate_lua(path: str, source: bytes) -> list[Mutant]:
    """Return the mutants of a script, in its order."""
    blank = re.sub(r"--.*|'[^']*'", lambda found: "_" * len(found[0]), source.decode("ascii"))
    mutants = [
        Mutant(path, (blank.count("\n", 0, start) + 1,), start, end, replacement.encode())
        for start, end, replacement in dict.fromkeys(_mutate(blank, _LUA_OPERATORS))
    ]
    first = source.index(b"call('HDEL', M, '')") if b"call('HDEL', M, '')" in source else -1
    return sorted((m for m in mutants if m.start != first), key=lambda m: m.start)
