"""What a scenario is, and the list of all: ``on_callers`` has those of the caller's thread, ``on_ours`` the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guest.interruptions.world import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from guest.interruptions.world import World

__all__ = ["Registry", "Scenario"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    Calls of a host.

    Args:
        name: Its name.
        act: The calls during which something happens.
        prepare: What comes before, undisturbed.
        again: What is called again afterwards, to have an end, and works.
        backends: Where it is played.
        repeats: *act* may be called again and again.
        ends_client: No client of it takes events afterwards.
        stores_only: Nobody delivers before a later process does.
        may_lose: How many accepted events may be lost, if that is counted and told.
        may_repeat: How many events may arrive twice: those of the batches that were under way.
        is_cold: Our modules are imported during it.
    """

    name: str
    act: Callable[[World], None]
    prepare: Callable[[World], None]
    again: Callable[[World], None] = lambda world: None
    backends: tuple[str, ...] = BACKENDS
    repeats: bool = False
    ends_client: bool = False
    stores_only: bool = False
    may_lose: int = 0
    may_repeat: int = 0
    is_cold: bool = False


class Registry(dict[str, Scenario]):
    """Scenarios by name."""

    def add(
        self, prepare: Callable[[World], None] = lambda world: None, **how: object
    ) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
        """Register the decorated function as what a scenario does."""

        def register(act: Callable[[World], None]) -> Callable[[World], None]:
            name = act.__name__.replace("_", "-")
            self[name] = Scenario(name, act, prepare, **how)  # type: ignore[arg-type]
            return act

        return register
