"""Asks sentinels which server is the master."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventspool._backends.redis.codec import decode_text
from eventspool._backends.redis.discovery import DiscoveringSource, close_quietly, name_reason
from eventspool._backends.redis.errors import Undiscovered, is_drivers
from eventspool._config.redis_url import join_address

if TYPE_CHECKING:
    from eventspool._backends.redis.client import ClientMaker
    from eventspool._config.redis_url import Address

__all__ = ["SentinelSource"]


class SentinelSource(DiscoveringSource):
    """
    The master that the sentinels name.

    Args:
        maker: Makes the clients, and knows the sentinels.
    """

    def __init__(self, maker: ClientMaker) -> None:
        super().__init__(maker)
        self._master: Address | None = None

    def _find(self, key: str) -> Address | None:  # noqa: ARG002 - one server has every key
        return self._master

    def _masters(self) -> list[Address]:
        return [] if self._master is None else [self._master]

    def _discover(self) -> None:
        """
        Ask all sentinels, and believe the one that knows of the last failover.

        One that has not heard of it yet names the old master, which may be up again by then, and empty.
        """
        name = self._maker.service
        reasons: list[str] = []
        views: list[tuple[int, bool, Address]] = []
        for sentinel in self._maker.addresses:
            scout = self._maker.make_scout(sentinel, of_sentinel=True)
            try:
                state = _in_pairs(scout.execute_command("SENTINEL", "MASTER", name))
                address, flags = (state["ip"], int(state["port"])), state["flags"].split(",")
                is_up = not {"s_down", "o_down"} & set(flags)
                views.append((int(state["config-epoch"]), is_up, address))
            except Exception as error:
                if not (is_drivers(error) or isinstance(error, KeyError | ValueError)):
                    raise
                reasons.append(f"the one at {join_address(sentinel)} {name_reason(error, scout, name)}")
            finally:
                close_quietly(scout)
            if views and not views[-1][1]:
                reasons.append(
                    f"by the one at {join_address(sentinel)} the master {join_address(views[-1][2])} is down"
                )
        _, is_up, address = max(views, default=(0, False, ("", 0)))
        if not is_up:
            raise Undiscovered(
                f"no sentinel names a master {name!r} that is up: {'; '.join(reasons)}", "SENTINEL"
            )
        self._master = address
        self._clients.keep_only([address])


def _in_pairs(reply: Any) -> dict[str, str]:
    """Return what a sentinel says of a master; redis-py makes a mapping of it where it knows the command."""
    if isinstance(reply, dict):
        return {decode_text(name): decode_text(value) for name, value in reply.items()}
    words = [decode_text(each) for each in reply]
    return dict(zip(words[::2], words[1::2], strict=True))
