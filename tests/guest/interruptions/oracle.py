"""What must hold when something has happened in the midst of a call: found out by public means."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventspool import Client, EventSpoolError
from eventspool._settling.stats import find_imbalances
from guest.interruptions.points import CALLER, role_of
from guest.interruptions.world import PACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guest.interruptions.scenarios import Scenario
    from guest.interruptions.world import World

__all__ = ["OVERLOOKED", "Oracle"]

OVERLOOKED = "INTERRUPTIONS_OVERLOOKED_THREADS"
"""An environment variable: roles, with commas between, whose threads may be left. For hunting while that is known."""

RECOVERY = 12.0 * PACE
"""Seconds within which everything works again: a thread that ended is replaced within some five."""
RECOVERY_OF_THE_REST = 3.0 * PACE
CLOSE = 6.0 * PACE
SLACK = 2.0 * PACE
LOCK = 3.0 * PACE


class Oracle:
    """
    Looks at the world of one round after what happened.

    Args:
        world: The round's.
        scenario: What was played in it.
    """

    def __init__(self, world: World, scenario: Scenario) -> None:
        self._world = world
        self._scenario = scenario
        self.problems: list[str] = []

    @property
    def _recovery(self) -> float:
        """Seconds to wait for anything: short when it is known already that not everything works."""
        return RECOVERY_OF_THE_REST if self.problems else RECOVERY

    @contextlib.contextmanager
    def _asking(self, what: str, within: float) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        except BaseException as error:
            where = _innermost(error)
            self.problems.append(f"{what} afterwards: {type(error).__name__}: {str(error)[:120]}{where}")
        if (took := time.monotonic() - began) > within + SLACK:
            self.problems.append(f"{what} afterwards took {took:.0f} s")

    def examine(self) -> list[str]:
        """Return what does not hold, one sentence each."""
        world = self._world
        world.bring_back()
        if world.closed and world.is_durable and not self._scenario.ends_client:
            world.client()  # the one that was closed may have been the only one that delivers
        with self._asking("calling it again", self._recovery):
            self._scenario.again(world)
        for client in list(world.clients):
            if id(client) not in world.closed and not self._scenario.ends_client:
                self._use(client)
        self._look_from_outside()
        for client in world.clients:
            self._close(client)
        self._use_another()
        self._await_arrivals()
        self._check_callbacks()
        self._check_threads()
        return self.problems

    # -- the client goes on ----------------------------------------------------------------------------------------------

    def _use(self, client: Any) -> None:
        world = self._world
        durable = world.is_durable
        with self._asking("track()", SLACK):
            if not self._eventually(lambda: world.track(client, "After", watched=True), self._recovery):
                self.problems.append(f"track() afterwards is refused: {dict(client.stats().refused)}")
        until = "persisted" if self._scenario.stores_only else "delivered"
        with self._asking("flush()", self._recovery):
            result = client.flush(until=until, timeout=self._recovery)
            if result.pending:
                self.problems.append(f"flush() afterwards: {result.pending} pending")
        with self._asking("stats()", SLACK):
            stats = client.stats()
            self.problems += [f"stats(): {sentence}" for sentence in find_imbalances(stats)]
            self._check_counts(client, stats)
        if durable:
            with self._asking("queue.stats()", SLACK):
                client.queue.stats()

    def _use_another(self) -> None:
        """A client that is made now works: nothing of the module's or of the queue's is left taken."""
        with self._asking("a new client", self._recovery + CLOSE):
            world = self._world
            client = world.client()
            world.track(client, "Another")
            if client.flush(timeout=self._recovery).pending:
                self.problems.append("a new client afterwards delivers nothing")
            world.close(client, CLOSE)

    def _check_counts(self, client: Any, stats: Any) -> None:
        journal = self._world.journal
        counts = journal.by_client.get(id(client), {})
        known, unsure = counts.get("accepted", 0), len(journal.open) + counts.get("refused", 0)
        if not known <= stats.accepted + stats.discarded <= known + unsure:
            self.problems.append(f"stats(): {stats.accepted} were accepted, but {known} calls returned an id")
        if stats.lost > self._scenario.may_lose:
            self.problems.append(f"stats(): {stats.lost} lost ({dict(stats.lost_reasons)})")

    # -- others are not shut out -----------------------------------------------------------------------------------------

    def _look_from_outside(self) -> None:
        for file in sorted(Path(self._world.folder).glob("*.db")):
            connection = sqlite3.connect(file, timeout=LOCK, isolation_level=None)
            try:
                connection.execute("begin immediate")
                connection.execute("rollback")
            except sqlite3.Error as error:
                self.problems.append(f"others are shut out of {file.name}: {error}")
            finally:
                connection.close()
        for file in sorted(Path(self._world.folder).glob("*.db-*")):
            if not file.name.endswith(("-lock", "-next")):
                continue
            descriptor = os.open(file, os.O_RDWR)
            try:
                if not self._eventually(lambda fd=descriptor: _can_lock(fd), LOCK):
                    self.problems.append(f"others are shut out: {file.name} stays locked")
            finally:
                os.close(descriptor)

    # -- the end ---------------------------------------------------------------------------------------------------------

    def _close(self, client: Any) -> None:
        for what in ("close()", "the second close()"):
            with self._asking(what, CLOSE):
                client.close(CLOSE)
        with self._asking("stats() of a closed client", SLACK):
            stats = client.stats()
            self.problems += [f"stats() when closed: {sentence}" for sentence in find_imbalances(stats)]
            self._check_counts(client, stats)

    def _missing(self) -> set[str]:
        world = self._world
        arrived = set(world.plane.unique_ids())
        return {
            each
            for each in world.journal.accepted
            if each not in arrived and not world.journal.given_up[each]
        }

    def _await_arrivals(self) -> None:
        """All that was accepted is at the data plane, or a process that comes later brings it there."""
        world, scenario = self._world, self._scenario
        if self._missing() and world.is_durable:
            options = {**world.options(), "spill": None}
            heirs = [Client(world.plane.write_key, **options)]
            if world.backend == "spill":
                heirs.append(Client(world.plane.write_key, **world.options()))
            with self._asking("a later process", self._recovery + CLOSE):
                for heir in heirs:
                    heir.track("u1", "Heir")
                    heir.flush(timeout=self._recovery)
                self._eventually(lambda: not self._missing(), self._recovery)
                for heir in heirs:
                    heir.close(CLOSE)
        if len(missing := self._missing()) > scenario.may_lose:
            self.problems.append(
                f"{len(missing)} of {len(world.journal.accepted)} accepted events are nowhere"
            )
        if (duplicates := world.plane.stats().duplicates) > scenario.may_repeat:
            self.problems.append(f"{duplicates} events arrived twice")

    def _check_callbacks(self) -> None:
        world, journal = self._world, self._world.journal
        if any(client.stats().spilled for client in world.clients if id(client) in world.closed):
            return  # one was closed while the queue was away: a later process delivers what is in its file, and calls nobody
        due = journal.with_callback & journal.accepted
        self._eventually(lambda: all(journal.called_back[each] for each in due), RECOVERY_OF_THE_REST)
        if silent := [each for each in due if not journal.called_back[each]]:
            self.problems.append(f"{len(silent)} of {len(due)} callbacks were never called")
        if often := [each for each, times in journal.called_back.items() if times > 1]:
            self.problems.append(f"{len(often)} callbacks were called twice")

    def _check_threads(self) -> None:
        overlooked = {None, CALLER, *filter(None, os.environ.get(OVERLOOKED, "").split(","))}

        def ours() -> list[str]:
            return [thread.name for thread in threading.enumerate() if role_of(thread) not in overlooked]

        self._eventually(lambda: not ours(), 8.0 * PACE)
        if left := ours():
            self.problems.append(f"threads are left when all clients are closed: {sorted(set(left))}")

    def check_noise(self, expected: BaseException | None) -> None:
        """Find what Python had to print; *expected* is what nobody of ours could catch."""
        for kind, error, words in self._world.noise:
            if error is not expected or error is None:
                self.problems.append(
                    f"{kind} exception: {type(error).__name__}: {str(error)[:80]} ({words[:80]})"
                )

    @staticmethod
    def _eventually(condition: Callable[[], Any], timeout: float) -> Any:
        deadline = time.monotonic() + timeout
        while not (value := condition()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return value


def _can_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _innermost(error: BaseException) -> str:
    trace = error.__traceback__
    if isinstance(error, EventSpoolError) or trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
