"""Virtual time: an agenda of what happens when, and what stands in for whatever would block a thread."""

from __future__ import annotations

import contextlib
import heapq
import queue
import random
from collections import deque
from itertools import count
from unittest import mock

__all__ = ["Broken", "Line", "OneTurn", "Simulation", "Switch"]

EPOCH = 1_750_000_000.0
_MOST_TURNS_AT_ONCE = 5_000


class Broken(AssertionError):  # noqa: N818 - it says what is broken
    """Something that must hold does not."""


class Simulation:
    """
    Virtual time, and what happens when.

    Args:
        seed: Of every draw.
    """

    def __init__(self, seed: object) -> None:
        self.dice = random.Random(seed)
        self.now = 0.0
        self.elapsed = 0.0  # within the sender that is being run, since it began
        self.sending = False
        self._agenda: list = []
        self._order = count()
        self._turns = 0
        self.job_ids, self.tokens = count(), count()

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return EPOCH + self.now

    def new_job_id(self) -> str:
        return f"{int(self.time() * 1000):012x}{next(self.job_ids):016x}"

    def new_token(self) -> str:
        return f"token-{next(self.tokens)}"

    def at(self, moment: float, call, *args) -> None:
        """Have *call* called at *moment*."""
        heapq.heappush(self._agenda, (moment, next(self._order), call, args))

    def run(self, until: float, done=None) -> bool:
        """Go on until *until*, or until *done* says so. Return whether it did."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= until:
            moment, _, call, args = heapq.heappop(agenda)
            if moment > self.now:
                self.now, self._turns = moment, 0
            self._turns += 1
            if self._turns > _MOST_TURNS_AT_ONCE:
                raise Broken(f"the pipeline spins at {self.now:.3f}")
            call(*args)
            if done is not None and done():
                return True
        self.now = max(self.now, until)
        return False

    @contextlib.contextmanager
    def in_charge(self):
        """Put virtual time, and the dice, in the place of the real ones."""
        modules = {
            "_delivery.processor": {"time": self, "_log": _Log(), "new_token": self.new_token},
            "_buffering.flusher": {
                "time": self, "_log": _Log(), "random": self.dice, "new_job_id": self.new_job_id,
            },
            "_buffering.ledger": {"time": self},
            "_throttle": {"time": self},
        }  # fmt: skip
        with contextlib.ExitStack() as stack:
            for name, names in modules.items():
                stack.enter_context(mock.patch.multiple(f"eventspool.{name}", **names))
            yield self


class _Log:
    """A log that nobody reads, but for errors: those are bugs that the library survives."""

    def log(self, *_: object) -> None:
        pass

    info = warning = log

    def error(self, message: str, *args: object) -> None:
        raise Broken(message % args)


class Line(deque):
    """A queue between threads that never blocks: who comes, comes in time. *heard* is told of each put."""

    def __init__(self, heard) -> None:
        super().__init__()
        self.put = heard

    def get_nowait(self):
        try:
            return self.popleft()
        except IndexError:
            raise queue.Empty from None

    def get(self, timeout: float | None = None):
        return self.get_nowait()


class Switch:
    """An event whose ``wait`` only notes until when its caller sleeps."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._on = False
        self.asleep_until = 0.0
        self.on_at = float("inf")

    def set(self) -> None:
        self._on, self.asleep_until = True, 0.0

    def is_set(self) -> bool:
        simulation = self._simulation
        return self._on or (simulation.sending and simulation.now + simulation.elapsed >= self.on_at)

    def wait(self, timeout: float) -> bool:
        if not self._on:
            self.asleep_until = self._simulation.now + timeout
        return self._on


class OneTurn:
    """Lets a thread's loop turn once at a time."""

    def __init__(self) -> None:
        self.ended = False
        self._turn = False

    def set(self) -> None:
        self.ended = True

    def is_set(self) -> bool:
        self._turn = not self._turn
        return self.ended or not self._turn
