"""
The Lua scripts: package data, read when a queue is first opened.

Each is sent as one text: the limits that it shares with Python, ``lua/prelude.lua``, the files that only some scripts share,
and the script's own file. A server runs all of that text in each call, so a script takes along only the files that it uses.
"""

from __future__ import annotations

import hashlib
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
    "claim": ("lanes", "keeping", "fleet", "claiming"),
    "claim_fifo": ("lanes", "keeping", "queue_lease", "fleet", "claiming"),
    "claim_lanes": ("lanes", "keeping", "fleet", "claiming"),
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
    "renew": ("lanes", "keeping", "queue_lease"),
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
_COMMITTING: Final = ("commit", "commit_failed")
"""What these read comes before everything else."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script's whole text, and the digest by which the server knows it."""

    source: str
    sha: str


@cache
def script(name: str) -> Script:
    """Return the script *name*."""
    folder = files("eventspool._backends.redis").joinpath("lua")
    source = "\n".join(
        (
            *(f"local {limit} = {value}" for limit, value in _LIMITS.items()),
            "" if name in _COMMITTING else "local all_before",
            *(
                folder.joinpath(f"{part}.lua").read_text(encoding="utf-8")
                for part in (
                    *(("totals_before",) if name in _COMMITTING else ()),
                    "prelude",
                    *_SHARED[name],
                    name,
                )
            ),
        )
    )
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


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
