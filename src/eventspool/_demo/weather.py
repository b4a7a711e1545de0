"""When the data plane fails, and how: a sequence of fair and foul weather, drawn from a seed. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eventspool._dataplane import Rule, parse_rule

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CLEAR", "OUTAGE", "Spell", "fault_name", "forecast"]


@dataclass(frozen=True, slots=True)
class Spell:
    """
    A stretch of time with the same faults.

    Args:
        title: What the data plane does, as the demo shows it.
        seconds: About how long it lasts.
        rules: The faults.
    """

    title: str
    seconds: float
    rules: tuple[Rule, ...] = ()


def _spell(title: str, seconds: float, *rules: str) -> Spell:
    return Spell(title, seconds, tuple(map(parse_rule, rules)))


CLEAR = _spell("answers 200", 0.3)
OUTAGE = _spell("is out: nothing listens", 0.8, "outage")
_FOUL = (
    _spell("answers 503 now and then", 0.5, "status=503,p=0.3"),
    _spell("answers 429 with Retry-After", 0.5, "status=429,retry_after=1,p=0.3"),
    _spell("answers slowly", 0.5, "latency=0.05..0.4,p=0.6"),
    _spell("drops connections after the body", 0.5, "drop=after,record,p=0.25", "drop=before,p=0.1"),
    OUTAGE,
)
_NAMES = {
    "status=503": "503",
    "status=429": "429 Retry-After",
    "latency": "slow answer",
    "drop=after": "dropped after the body",
    "drop=before": "dropped before the body",
    "outage": "outage",
}


def fault_name(rule: str) -> str:
    """Return the short name of a rule given in its text form."""
    return next((name for start, name in _NAMES.items() if rule.startswith(start)), rule)


def forecast(seed: int) -> Iterator[Spell]:
    """Yield the weather without end: every kind of trouble in a random order, with fair weather in between."""
    chance = random.Random(f"weather/{seed}")
    while True:
        for spell in chance.sample(_FOUL, len(_FOUL)):
            yield CLEAR
            yield Spell(spell.title, spell.seconds * chance.uniform(0.8, 1.2), spell.rules)
