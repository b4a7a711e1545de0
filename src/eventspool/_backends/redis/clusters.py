"""Asks the nodes of a cluster which of them has a slot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from eventspool._backends.redis.codec import decode_text
from eventspool._backends.redis.discovery import DiscoveringSource, close_quietly, name_reason
from eventspool._backends.redis.errors import Undiscovered, find_place, is_drivers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eventspool._backends.redis.client import ClientMaker
    from eventspool._config.redis_url import Address

__all__ = ["ClusterSource", "find_slot"]

_SLOTS: Final = 16_384


class ClusterSource(DiscoveringSource):
    """
    The node of a cluster that has a key's slot.

    Args:
        maker: Makes the clients, and knows some nodes; without one, the server that it makes clients for is a node.
    """

    def __init__(self, maker: ClientMaker) -> None:
        super().__init__(maker)
        self._seeds: tuple[Address | None, ...] = maker.addresses or (None,)
        self._nodes: list[Address] = []
        self._ranges: list[tuple[int, int, Address]] = []

    def _find(self, key: str) -> Address | None:
        slot = find_slot(key)
        for first, last, address in self._ranges:
            if first <= slot <= last:
                return address
        raise Undiscovered(f"no node of the cluster has its slot ({slot}): see CLUSTER SHARDS", "CLUSTERDOWN")

    def _masters(self) -> list[Address]:
        return list(dict.fromkeys(address for _, _, address in self._ranges))

    def _discover(self) -> None:
        reasons: list[str] = []
        for node in self._put_last((*self._nodes, *self._seeds)):
            scout = self._maker.make_scout(node)
            try:
                # An address that a node does not know is the one by which it was reached itself.
                here = _address_of(scout)
                ranges, nodes = _read_slots(scout.execute_command("CLUSTER", "SLOTS"), here)
            except Exception as error:
                if not is_drivers(error):
                    raise
                reasons.append(f"the node at {find_place(scout).address} {name_reason(error, scout)}")
                continue
            finally:
                close_quietly(scout)
            self._ranges, self._nodes = ranges, nodes
            self._clients.keep_only(nodes)
            return
        raise Undiscovered(f"no node of the cluster says where it is: {'; '.join(reasons)}", "CLUSTER")


def find_slot(key: str) -> int:
    """Return the slot of *key*: of what stands in its first braces, where there is something."""
    from redis.crc import key_slot

    return int(key_slot(key.encode("utf-8", "surrogateescape"), _SLOTS))


def _read_slots(reply: Any, here: Address) -> tuple[list[tuple[int, int, Address]], list[Address]]:
    """Return the ranges of slots with their masters, and all nodes, by the reply to ``CLUSTER SLOTS`` of the node *here*."""
    ranges = []
    nodes: dict[Address, None] = {}
    for first, last, *servers in reply:
        found = [_read_node(each, here) for each in servers]
        ranges.append((int(first), int(last), found[0]))
        nodes.update(dict.fromkeys(found))
    return ranges, list(nodes)


def _read_node(told: Sequence[Any], here: Address) -> Address:
    host = decode_text(told[0]) if told[0] else ""
    return (here[0] if host in ("", "?") else host, int(told[1]))


def _address_of(client: Any) -> Address:
    settings = client.connection_pool.connection_kwargs
    return (str(settings.get("host", "127.0.0.1")), int(settings.get("port", 6379)))
