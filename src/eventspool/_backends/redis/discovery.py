"""
Finding which server has a key, by asking others.

What is found is kept until a call shows that it no longer holds: the caller says so by ``refresh``, and the next call looks
anew. So nothing is asked while all is well, and a call that has failed does not take longer for it. The servers are asked
one after another, for at most a second each, those that have failed as the last ones.

redis-py is asked to send the questions, and no more. Its ``Sentinel`` and ``RedisCluster`` put each reason why a server does
not answer into one error, and repeat commands of which only their caller knows whether they may be repeated.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eventspool._backends.redis.errors import Undiscovered, error_code, find_place, is_drivers
from eventspool._backends.redis.ways import name_way

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from eventspool._backends.redis.client import ClientMaker
    from eventspool._config.redis_url import Address

__all__ = ["Clients", "DiscoveringSource", "close_quietly", "name_reason"]

_FRESH: Final = 0.1
"""
Seconds for which a search that was in vain is not repeated.

Threads and partitions meet an outage together. Were each of them to search by itself, one after another, the last one would
wait for as many seconds as there are of them.
"""
_ANSWERS: Final = {
    "NOAUTH": "REQUIRES A PASSWORD of its own",
    "WRONGPASS": "REFUSES THE USER NAME OR PASSWORD",
    "NOPERM": "REFUSES TO SAY IT TO THIS USER: grant cluster|slots, or sentinel|master on a sentinel",
    "LOADING": "is still loading its data",
}
_abandoned: list[object] = []  # a forked child must not run the destructors of its parent's connections


class Clients:
    """One client for each server that is in use."""

    def __init__(self, maker: ClientMaker) -> None:
        self._maker = maker
        self._by_address: dict[Address | None, Any] = {}

    def get(self, address: Address | None) -> Any:
        """Return the client for the server at *address*; without one for that which the options name."""
        client = self._by_address.get(address)
        if client is None:
            client = self._by_address[address] = self._maker.make(address)
        return client

    def keep_only(self, addresses: Sequence[Address]) -> None:
        """Forget the clients of servers that are no longer used, and close what nobody uses of them."""
        for address in [each for each in self._by_address if each not in addresses]:
            client = self._by_address.pop(address)
            with contextlib.suppress(Exception):
                client.connection_pool.disconnect(inuse_connections=False)

    def find_address(self, client: Any) -> Address | None:
        """Return for which server *client* is."""
        return next((address for address, each in self._by_address.items() if each is client), None)

    def close(self) -> None:
        """Close all of them."""
        clients, self._by_address = self._by_address, {}
        for client in clients.values():
            client.close()

    def abandon(self) -> None:
        """In a forked child: forget them without closing them."""
        _abandoned.append(self._by_address)
        self._by_address = {}


class _Trouble(NamedTuple):
    """
    A search that was in vain.

    Args:
        until: Until when it is not repeated, as ``time.monotonic`` counts.
        address: The one server that it was about; ``None`` where it was about all.
        error: What was wrong.
    """

    until: float
    address: Address | None
    error: Undiscovered


class DiscoveringSource:
    """
    What is common to sources that ask other servers where a key is (see ``ClientSource``).

    Args:
        maker: Makes the clients.
    """

    def __init__(self, maker: ClientMaker) -> None:
        self._maker = maker
        self._clients = Clients(maker)
        self._lock = threading.Lock()
        self._is_stale = True
        self._suspects: set[Address | None] = set()
        self._trouble: _Trouble | None = None

    def client_for(self, key: str) -> Any:
        """Return the client of the server that has *key*."""
        with self._lock:
            self._spare(key)
            address = None
            try:
                if self._is_stale:
                    self._discover()
                    self._is_stale = False
                address = self._find(key)
                if address in self._suspects:
                    self._require_answer(address)
            except Undiscovered as error:
                self._is_stale = True
                again = Undiscovered(error.clause, error.code)  # without the frames of this call
                self._trouble = _Trouble(time.monotonic() + _FRESH, address, again)
                raise
            return self._clients.get(address)

    def masters(self) -> list[Any]:
        """Return a client of each server that has keys of its own. Asks which these are."""
        with self._lock:
            self._discover()
            self._is_stale = False
            return [self._clients.get(address) for address in self._masters()]

    def refresh(self, failed: Any = None, *, moved: bool = False) -> None:
        """Look anew in the next call."""
        with self._lock:
            self._is_stale = True
            if moved:
                self._trouble = None
            elif failed is not None and (address := self._clients.find_address(failed)) is not None:
                self._suspects.add(address)

    def close(self) -> None:
        """Close all clients."""
        with self._lock:
            self._is_stale = True
            self._clients.close()

    def abandon(self) -> None:
        """In a forked child: forget the parent's clients."""
        self._lock = threading.Lock()
        self._clients.abandon()

    def _spare(self, key: str) -> None:
        """Raise what a search has found out just now."""
        trouble = self._trouble
        if trouble is not None:
            if time.monotonic() < trouble.until:
                if trouble.address is None or trouble.address == self._find(key):
                    raise Undiscovered(trouble.error.clause, trouble.error.code)
            else:
                self._trouble = None

    def _discover(self) -> None:
        """Ask where the servers are. Raises ``Undiscovered`` where none says it."""
        raise NotImplementedError

    def _masters(self) -> list[Address]:
        """Return where all keys are, by what is known."""
        raise NotImplementedError

    def _find(self, key: str) -> Address | None:
        """Return where *key* is by what is known. Raises ``Undiscovered`` where it is nowhere."""
        raise NotImplementedError

    def _put_last(self, addresses: Iterable[Address | None]) -> list[Address | None]:
        """Return *addresses* with those as the last ones that have failed: they may hang."""
        return sorted(dict.fromkeys(addresses), key=lambda each: each in self._suspects)

    def _require_answer(self, address: Address | None) -> None:
        """
        Raise where the server at *address*, which has failed before, does not answer.

        Until a failover is over the others go on naming the old master. A call to it would wait for the whole timeout.
        """
        scout = self._maker.make_scout(address)
        try:
            scout.ping()
        except Exception as error:  # noqa: BLE001 - a driver raises anything
            # Whatever it answers is for the call itself to meet: here it counts whether it answers.
            if not error_code(error) and is_drivers(error):
                place = find_place(scout)
                reason = name_way(error, place.secure, place.address)
                raise Undiscovered(
                    f"the one at {place.address} has it and {reason}, and no other one has taken its place yet",
                    "FAILOVER",
                ) from None
        finally:
            close_quietly(scout)
        self._suspects.discard(address)


def name_reason(error: Exception, client: Any, service: str = "") -> str:
    """Return why a server did not say where the queue is, as the end of a sentence about it."""
    code = error_code(error)
    place = find_place(client)
    if not code:
        return name_way(error, place.secure, place.address)
    text = str(error.args[0] if error.args else "")
    if "No such master" in text:
        return f"knows no master {service!r}"
    if "cluster support disabled" in text:
        return "is no node of a cluster"
    if service and "unknown command" in text:
        return "is no sentinel"
    return _ANSWERS.get(code, f"refuses to say it ({code})")


def close_quietly(client: Any) -> None:
    """Close the client of a question that has been answered, or not."""
    with contextlib.suppress(Exception):
        client.close()
