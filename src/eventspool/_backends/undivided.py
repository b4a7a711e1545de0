"""What a store answers that keeps each of its queues in one partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._exceptions import ConfigError

if TYPE_CHECKING:
    from eventspool._figures import Partition

__all__ = ["Undivided"]


class Undivided:
    """A queue that is not spread over partitions, and cannot be."""

    def partitions(self) -> list[Partition]:
        """Return none: there is no division to show."""
        return []

    def resize(self, partitions: int) -> None:
        """Accept the one partition that there is, and refuse any other number."""
        if partitions != 1:
            raise ConfigError("only a queue in Redis can have several partitions")
