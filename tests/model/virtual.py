"""Virtual time: an agenda of what happens when."""

from __future__ import annotations

import contextlib
import heapq
import random
from itertools import count
from unittest import mock
from zlib import crc32

from eventspool._routing import ALL_LANES

__all__ = ["Broken", "Simulation"]

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

    def new_job_id(self, lanes: int = ALL_LANES) -> str:
        fresh = f"{int(self.time() * 1000):012x}{next(self.job_ids):016x}"
        return fresh if lanes == ALL_LANES else f"{fresh}-{lanes:04x}"

    def new_token(self) -> str:
        number = next(self.tokens)
        return f"{crc32(b'%d' % number):08x}-{number}"  # as different from each other as real ones

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
            "_delivery.dispatcher": {"time": self, "_log": _Log()},
            "_delivery.leases": {"_log": _Log(), "new_token": self.new_token},
            "_delivery.assessor": {"time": self, "_log": _Log()},
            "_delivery.endings": {"time": self},
            "_delivery.fleet": {"_log": _Log()},
            "_delivery.sender": {"time": self},
            "_buffering.flusher": {
                "time": self, "_log": _Log(), "random": self.dice,
            },
            "_buffering.storing": {"time": self, "_log": _Log(), "random": self.dice},
            "_buffering.maker": {"new_job_id": self.new_job_id},
            "_buffering.place": {"time": self, "_log": _Log()},
            "_settling.ledger": {"time": self},
            "_guest.throttle": {"time": self},
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
