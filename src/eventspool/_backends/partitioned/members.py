"""The partitions of a queue, as its ring has them: who reads the ring, and who finishes what is half done in it."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from eventspool._backends.partitioned.member import Member
from eventspool._backends.partitioned.ring import ROOT, Division, Part, Ring, read_ring
from eventspool._config import Ordering
from eventspool._exceptions import QueueError, QueueUnavailable, Unconfirmed
from eventspool._guest.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._backends.partitioned.member import PartitionBackend

__all__ = ["Members"]

_log = Log("eventspool.queue")

_FRESH: Final = 5.0
"""Seconds for which a ring that was read is believed, unless a seal contradicts it."""
_FRESH_FOR_OBSERVERS: Final = 1.0
"""The same for a process that only looks: it meets no seal."""
_KEPT_FRESH: Final = 10.0
"""Seconds for which a process that wants no order per user believes that no other one wants it."""
_QUICK: Final = 0.5
"""Seconds within which a server that is gone, or refuses, fails. One that takes longer hangs."""


class Members:
    """
    The partitions of one queue.

    Args:
        make: Makes the backend of a partition.
        ordering: What the queue keeps; ``None`` for a process that only looks and steers. Such a one changes no ring unasked.
        wanted: How many partitions a queue gets that was never used.
        name: Names the queue in messages.
    """

    def __init__(
        self, make: Callable[[Part], PartitionBackend], ordering: Ordering | None, wanted: int, name: str
    ) -> None:
        self._make = make
        self._ordering = ordering
        self._wanted = wanted
        self._name = name
        self.ordering = Ordering.NONE if ordering is None else ordering
        """What the queue keeps, as far as that is known."""
        self._lock = threading.Lock()
        self._members: dict[Part, Member] = {}
        self._read_at: float | None = None
        self._kept_at = float("-inf")
        self._has_said = False
        self._ring = Ring()
        self.undivided: PartitionBackend | None = None
        """Where everything is, in a queue that is known to have the root alone."""
        self.root = self.find(ROOT)
        """The partition where the ring is written down, and where processors tell of themselves."""

    @property
    def ring(self) -> Ring:
        """The ring as it was read last."""
        return self._ring

    def _go_by(self, ring: Ring) -> None:
        self._ring = ring
        self._read_at = time.monotonic()
        self.undivided = None if ring.is_divided else self.root.backend
        self._drop_outdated(ring)

    def _drop_outdated(self, ring: Ring) -> None:
        """Drop the partitions of divisions that are forgotten. One that is asked for once more is made anew."""
        with self._lock:
            kept = {ROOT, *(part for division in ring.divisions for part in division.parts)}
            doomed = self._members.keys() - kept
            dropped = [self._members.pop(part) for part in doomed]
        for member in dropped:
            member.backend.stop_waiting()

    # -- which there are -----------------------------------------------------------------------------------------------

    def find(self, part: Part) -> Member:
        """Return a partition, also one that is in no ring any more."""
        with self._lock:
            member = self._members.get(part)
            if member is None:
                member = self._members[part] = Member(part, self._make(part))
            return member

    @property
    def all(self) -> list[Member]:
        """
        Return every partition in which jobs may be, the oldest first.

        The root is always one of them: a process of a version that knows no partitions may store a job there.
        """
        parts = [part for division in self.ring.divisions for part in division.parts]
        return [self.find(part) for part in (parts if ROOT in parts else [ROOT, *parts])]

    @property
    def takers(self) -> list[Member]:
        """Those that take jobs whose order does not matter."""
        return [self.find(part) for part in self.ring.newest.parts]

    @property
    def givers(self) -> list[Member]:
        """
        Those whose jobs may be handed out.

        With order per user, a division hands out nothing before the older ones are drained: they may hold a user's jobs.
        """
        if self.ordering is not Ordering.PER_USER:
            return self.all
        found = [] if ROOT in self.ring.divisions[0].parts else [self.root]
        for division in self.ring.divisions:
            members = [self.find(part) for part in division.parts]
            found += members
            if not all(member.is_drained for member in members):
                break
        return found

    @property
    def known(self) -> list[Member]:
        """Every partition to which there may be a connection."""
        with self._lock:
            return list(self._members.values())

    def ask(self, member: Member, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """
        Call *method* of a partition's backend, as ``Member.ask``.

        Where its server hangs, or its replicas do not confirm, the server's other partitions are left alone, too. A call that
        concerns several of them would else wait for each.
        """
        node, began = member.backend.node, time.monotonic()
        try:
            return member.ask(method, *args, **kwargs)
        except QueueUnavailable as error:
            if node and (isinstance(error, Unconfirmed) or time.monotonic() - began > _QUICK):
                for other in self.known:
                    if other is not member and other.backend.node == node:
                        other.share_trouble(member)
            raise

    # -- the ring ------------------------------------------------------------------------------------------------------

    def refresh_if_old(self) -> None:
        """Read the ring where that was long ago. Where that fails, it is believed for longer."""
        fresh = _FRESH if self._ordering is not None else _FRESH_FOR_OBSERVERS
        if self._read_at is None:
            self.refresh()
        elif time.monotonic() - self._read_at > fresh:
            self._read_at = time.monotonic()
            try:
                self.refresh()
            except QueueUnavailable:
                return

    def refresh(self) -> None:
        """
        Read the ring, and finish what is half done in it.

        Raises:
            QueueUnavailable: It cannot be read, or not be finished.
            QueueError: The queue is divided, and this process has it keep an order that several partitions do not have.
        """
        self.take(self.root.ask(self.root.backend.read_ring))

    def take(self, text: str) -> None:
        """Go by the ring that *text* describes, and finish what is half done in it. Raises as ``refresh``."""
        ring = self._reconcile(text)
        if ring.is_divided and self._ordering is Ordering.FIFO:
            raise QueueError(
                f"{self._name} is divided into {ring.newest.partitions} partitions, which have no common order: give"
                " ordering='none' or ordering='per_user'"
            )
        self._go_by(ring)
        if ring.is_divided and self._ordering is not Ordering.PER_USER and self._is_kept_old():
            self.ordering = self._find_kept()
        self._say(ring)
        if ring.is_announced and self._ordering is not None:
            self.finish()

    def _is_kept_old(self) -> bool:
        """What the queue keeps is to be asked: by an observer each time, which looks seldom."""
        now = time.monotonic()
        if self._ordering is not None and now - self._kept_at < _KEPT_FRESH:
            return False
        self._kept_at = now
        return True

    def _find_kept(self) -> Ordering:
        """
        Return what the processes of the queue have it keep: one that wants the order per user has all of them keep it.

        A partition that no job went to yet does not know it, and one that is away cannot tell. So all are asked, the newest
        first, until one knows that the order per user is kept.
        """
        found = None
        for member in reversed(self.all):
            if member.is_left_alone(time.monotonic()):
                continue
            with contextlib.suppress(QueueUnavailable):
                found = member.ask(member.backend.find_ordering)
            if found is Ordering.PER_USER:
                return found
        return self.ordering if found is None else Ordering.NONE

    def _reconcile(self, text: str) -> Ring:
        """Return the ring to go by, where *text* is written down."""
        stored, known = read_ring(text), self._ring
        if self._ordering is None:
            return stored
        if known.newest > stored.newest:
            # The server of the root was emptied, or has gone back in time. Jobs are in the partitions all the same.
            merged = known.merge(stored) if text else known
            written = self.root.ask(self.root.backend.write_ring, text, str(merged))
            self.root.ask(self.root.backend.seal)
            return read_ring(written)
        if not text and self._wanted > 1:
            first = Ring((Division(1, self._wanted),))
            return read_ring(self.root.ask(self.root.backend.write_ring, "", str(first), is_first=True))
        return stored

    def _say(self, ring: Ring) -> None:
        count = ring.newest.partitions
        if self._has_said or self._ordering is None or count == self._wanted:
            return
        self._has_said = True
        say = _log.warning if self._wanted > 1 else _log.info
        say(
            "%s has %d partition(s), as is written down in it; the option says %d. `eventspool queue resize` changes it.",
            self._name,
            count,
            self._wanted,
        )

    def finish(self) -> None:
        """Seal the partitions of the older divisions, and publish the last one. Any process may do so, and again."""
        ring = self.ring
        while ring.is_announced:
            for division in ring.old:
                for part in division.parts:
                    member = self.find(part)
                    member.ask(member.backend.seal)
            self._share_pause(ring)
            written = self.root.ask(self.root.backend.write_ring, str(ring), str(ring.publish()))
            ring = read_ring(written)
            self._go_by(ring)

    def _share_pause(self, ring: Ring) -> None:
        """Have a new division be paused where the queue is."""
        if self.root.ask(self.root.backend.stats).paused:
            for part in ring.newest.parts:
                member = self.find(part)
                member.ask(member.backend.pause, True)

    def resize(self, partitions: int) -> None:
        """
        Divide the queue anew. Raises ``QueueUnavailable`` where a partition cannot be reached; another call goes on then.
        """
        while True:
            text = self.root.ask(self.root.backend.read_ring)
            ring = read_ring(text)
            self._go_by(ring)
            if ring.is_announced:
                self.finish()
            elif ring.newest.partitions == partitions:
                return
            else:
                goal = ring.announce(partitions)
                for part in (*ring.newest.parts, *goal.newest.parts):
                    member = self.find(part)
                    member.ask(member.backend.read_ring)  # before anything is changed: each must be there
                self.root.ask(self.root.backend.write_ring, text, str(goal))

    def forget_empty(self) -> None:
        """Forget old divisions that are sealed and hold nothing, not even the memory of a purge."""
        ring = self.ring
        for division in ring.old if not ring.is_announced else ():
            members = [self.find(part) for part in division.parts]
            totals = []
            for member in members:
                left = member.ask(member.backend.retire)
                if left is None:
                    break
                totals.append((0,) * len(left) if member is self.root else left)  # the root goes on counting
            if len(totals) < len(members):
                continue
            goal = self.ring.forget(division, [sum(each) for each in zip(*totals, strict=True)])
            if self.root.ask(self.root.backend.write_ring, str(self.ring), str(goal)) != str(goal):
                return
            self._go_by(goal)
            for member in members:
                if member is not self.root:
                    member.ask(member.backend.retire, delete=True)
