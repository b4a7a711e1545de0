"""Waiting until replicas have a commit: what goes behind it in the same write, and what its reply means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from eventspool._backends.redis.errors import find_place
from eventspool._exceptions import Unconfirmed

__all__ = ["Replication"]

_SHARE: Final = 0.9
"""Of the socket timeout: the server must answer before the socket gives up."""


@dataclass(frozen=True, slots=True)
class Replication:
    """
    How a commit waits for replicas.

    Args:
        replicas: How many must have it.
        timeout: Seconds for which one commit waits; less where the socket timeout is shorter.
    """

    replicas: int
    timeout: float

    def command(self, client: Any) -> tuple[str, int, int]:
        """Return the command that goes behind a commit of *client*'s."""
        longest = client.connection_pool.connection_kwargs.get("socket_timeout") or self.timeout
        # A timeout of zero would block for ever.
        return "WAIT", self.replicas, max(1, round(min(self.timeout, _SHARE * longest) * 1000))

    def require(self, answer: Any, client: Any) -> None:
        """
        Make sure that *answer*, to the command, confirms the commit of *client*'s.

        Raises:
            Unconfirmed: Fewer replicas have it. An answer that is an error is raised as it is.
        """
        if isinstance(answer, Exception):
            raise answer
        if answer < self.replicas:
            raise Unconfirmed(
                f"{answer} of {self.replicas} replicas have confirmed the last commit in time: "
                "it is stored, but not acknowledged",
                find_place(client).address,
            )
