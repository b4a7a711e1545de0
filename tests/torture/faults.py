"""
The fault classes of a run, by name, and the deck that they are drawn from.

A fault is a generator function of the world and of dice. It injects, yields while the fault lasts, heals, and returns the
evidence: how often it is known to have hit. Those on the same ``site`` exclude each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Generator, Iterator

    from torture.world import World

    Course = Generator[None, None, int]

__all__ = ["FAULTS", "Fault", "deal", "fault", "load"]


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One class.

    Args:
        name: Its name in reports.
        site: Where it strikes.
        seconds: The shortest and the longest that it lasts.
        backends: For which queues it makes sense.
        run: See the module's docstring.
        possible: Whether this machine can do it.
    """

    name: str
    site: str
    seconds: tuple[float, float]
    backends: frozenset[str]
    run: Callable[[World, random.Random], Course]
    possible: Callable[[World], bool]


FAULTS: dict[str, Fault] = {}


def fault(
    name: str,
    site: str,
    seconds: tuple[float, float] = (0.4, 1.2),
    *,
    backends: tuple[str, ...] = ("redis", "sqlite"),
    possible: Callable[[World], bool] = lambda _: True,
) -> Callable[[Callable[[World, random.Random], Course]], Callable[[World, random.Random], Course]]:
    """Register the function below as a fault class."""

    def register(run: Callable[[World, random.Random], Course]) -> Callable[[World, random.Random], Course]:
        FAULTS[name] = Fault(name, site, seconds, frozenset(backends), run, possible)
        return run

    return register


def load() -> None:
    """Import every module that registers faults."""
    from torture import fault_disk, fault_network, fault_processes, fault_redis, fault_sink

    _ = (fault_disk, fault_network, fault_processes, fault_redis, fault_sink)


def deal(faults: list[Fault], dice: random.Random, pairs: float) -> Iterator[tuple[Fault, ...]]:
    """Yield faults for ever, each once before any comes again; with probability *pairs* two at once."""
    while True:
        deck = dice.sample(faults, len(faults))
        while deck:
            first = deck.pop()
            others = [other for other in deck if other.site != first.site]
            if others and dice.random() < pairs:
                second = dice.choice(others)
                deck.remove(second)
                yield first, second
            else:
                yield (first,)
