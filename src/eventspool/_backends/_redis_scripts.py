"""The Lua scripts: package data, read when a queue is first opened."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["Script", "script", "scripts"]

_NAMES = (
    "ack", "audit", "claim", "claim_fifo", "commit", "expedite", "jobs", "leave", "lookup", "pause", "processors", "purge",
    "reasons", "reasons_page", "recount", "reindex", "renew", "replay", "rewrite", "settle", "stats",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Script:
    """A script's source, behind the prelude that all share, and the digest by which the server knows it."""

    source: str
    sha: str


@cache
def script(name: str) -> Script:
    """Return the script *name*."""
    folder = files("eventspool._backends").joinpath("lua")
    source = "\n".join(
        folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in ("prelude", name)
    )
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def scripts() -> list[Script]:
    """Return all of them."""
    return [script(name) for name in _NAMES]
