"""
The Lua scripts: package data, read when a queue is first opened.

A server runs all of a script's text in each call, and a durable call waits for that. So each script is put together from what
it uses, and from nothing else: the limits that it shares with Python, the fields of META that it reads, ``lua/prelude.lua``,
the files that only some scripts share, and the script's own file. Functions that it does not call are left out.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from eventspool._backends.redis.codec import MAX_IDS, micros
from eventspool._backends.redis.errors import find_refusal
from eventspool._backends.rules import (
    AGE_DEPTH,
    BURST,
    FAILURES,
    LIMITED_POLL,
    LONGEST_HOLD,
    PROBE_DEPTH,
    PROBE_PAUSE,
    PROBE_PERMIT,
    PROBE_POLL,
    PROBE_SPREAD,
    PROCESSOR_TTL,
    QUEUE_LEASE,
)
from eventspool._job import PURGED_FOR, PURGED_KEPT

__all__ = ["Script", "load_scripts", "script", "scripts"]

PRODUCERS_KEPT: Final = 4000
"""Producers whose last commits a server remembers, at some hundred bytes each: each process that stores is one."""
PRODUCERS_SLACK: Final = 1000
"""As many more are there before the oldest ones are forgotten together."""

_LIMITS: Final = {
    "AGE_DEPTH": AGE_DEPTH,
    "BURST": micros(BURST),
    "FAILURES": FAILURES,
    "LIMITED_POLL": micros(LIMITED_POLL),
    "LONGEST_HOLD": micros(LONGEST_HOLD),
    "MAX_IDS": MAX_IDS,
    "PROBE_DEPTH": PROBE_DEPTH,
    "PROBE_PAUSE": micros(PROBE_PAUSE),
    "PROBE_PERMIT": micros(PROBE_PERMIT),
    "PROBE_POLL": micros(PROBE_POLL),
    "PROBE_SPREAD": micros(PROBE_SPREAD),
    "PROCESSOR_TTL": micros(PROCESSOR_TTL),
    "PRODUCERS_KEPT": PRODUCERS_KEPT,
    "PRODUCERS_SLACK": PRODUCERS_SLACK,
    "PURGED_FOR": micros(PURGED_FOR),
    "PURGED_KEPT": PURGED_KEPT,
    "QUEUE_LEASE": micros(QUEUE_LEASE),
}
_SHARED: Final[dict[str, tuple[str, ...]]] = {
    "ack": ("lanes", "totals", "failure_counts", "forgetting"),
    "amend": ("journals",),
    "append": ("journals",),
    "audit": (),
    "claim": ("lanes", "keeping", "fleet", "sweeping", "claiming"),
    "claim_fifo": ("lanes", "keeping", "queue_lease", "fleet", "sweeping", "claiming"),
    "claim_lanes": ("lanes", "keeping", "fleet", "sweeping", "claiming", "front", "heads"),
    "commit": ("lanes", "keeping", "places", "numbering", "committing"),
    "commit_failed": ("totals", "failure_counts", "numbering", "committing"),
    "divide": ("sealing",),
    "expedite": ("looking",),
    "hold": ("fleet",),
    "index_lanes": ("lanes",),
    "jobs": (),
    "journal": ("journals",),
    "leave": ("lanes", "places", "queue_lease", "fleet"),
    "lookup": (),
    "pass_on": ("lanes", "totals", "failure_counts", "forgetting"),
    "pause": (),
    "processors": ("looking",),
    "purge": ("looking", "lanes", "totals", "failure_counts", "forgetting"),
    "reasons": ("failure_counts",),
    "reasons_page": ("failure_counts",),
    "recount": ("looking", "sealing"),
    "reindex": ("lanes", "places", "totals"),
    "renew": ("lanes", "keeping", "queue_lease", "sweeping"),
    "replay": ("lanes", "places", "totals", "failure_counts"),
    "retire": ("lanes", "totals", "failure_counts", "forgetting", "sealing"),
    "rewrite": ("lanes", "totals", "failure_counts", "forgetting"),
    "seal": ("sealing",),
    "sizes": (),
    "settle": ("lanes", "places", "totals", "queue_lease", "failure_counts"),
    "spend": (),
    "standing": ("looking",),
    "stats": ("looking", "fleet"),
}
"""The scripts, and the files that each of them shares with others, in their order."""
_FUNCTION: Final = re.compile(r"^local function (\w+)(?:.* end|(?:.*\n)+?end)$", re.MULTILINE)
_WORDS: Final = str.maketrans(dict.fromkeys("()[]{},;:.=~<>+-*/%#^'\"", " "))
"""What stands between words."""
_FIELD: Final = "meta_"
"""Begins the names of variables that have a field of META. One command reads all that a script names (``prelude.lua``)."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script's whole text, and the digest by which the server knows it."""

    source: str
    sha: str


@dataclass(frozen=True, slots=True)
class _Piece:
    """A function of a file, or what stands between two of them; with all words in it."""

    name: str
    text: str
    words: frozenset[str]

    @classmethod
    def make(cls, name: str, text: str) -> _Piece:
        """Return the piece *text*."""
        return cls(name, text.strip("\n"), frozenset(text.translate(_WORDS).split()))


@cache
def script(name: str) -> Script:
    """Return the script *name*."""
    pieces = [piece for file in ("prelude", *_SHARED[name], name) for piece in _read(file)]
    kept: list[str] = []
    used: set[str] = set()
    for piece in reversed(pieces):  # a function is called from behind it alone
        if not piece.name or piece.name in used:
            kept.append(piece.text)
            used |= piece.words
    source = "\n".join((*_begin(used), *reversed(kept)))
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


@cache
def _read(file: str) -> list[_Piece]:
    """Return the pieces of a file, without the lines that are comments."""
    text = files("eventspool._backends.redis").joinpath("lua", f"{file}.lua").read_text(encoding="utf-8")
    code = "\n".join([line for line in text.split("\n") if not line.lstrip().startswith("--")])
    pieces: list[_Piece] = []
    end = 0
    for found in _FUNCTION.finditer(code):
        pieces += (_Piece.make("", code[end : found.start()]), _Piece.make(found[1], found[0]))
        end = found.end()
    return [*pieces, _Piece.make("", code[end:])]


def _begin(used: set[str]) -> list[str]:
    """Return the first lines of a script that uses these words: limits, and fields of META (``KEYS[8]``)."""
    names = sorted(word for word in used if word.startswith(_FIELD))
    fields = [f"'{name.removeprefix(_FIELD)}'" for name in names]
    return [
        *(f"local {limit} = {value}" for limit, value in _LIMITS.items() if limit in used),
        f"local {', '.join(names)} = unpack(redis.call('HMGET', KEYS[8], {', '.join(fields)}))",
    ]


def scripts() -> list[Script]:
    """Return all of them."""
    return [script(name) for name in _SHARED]


def load_scripts(client: Any) -> None:
    """Load the scripts into the server. Where it refuses that, each is sent along when it is needed."""
    pipeline = client.pipeline(transaction=False)
    for each in scripts():
        pipeline.script_load(each.source)
    try:
        pipeline.execute()
    except Exception as error:
        if find_refusal(error) is None:
            raise
