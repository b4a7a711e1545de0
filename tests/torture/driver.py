"""
Plays one run: deals faults by seed, kills all the while, heals, and hands everything to the verdict.

The schedule is the seed's alone. What a fault meets is up to the machine, so a failing seed fails often, not always.
"""

from __future__ import annotations

import math
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import asdict, astuple, dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from torture import faults
from torture.causes import EVERYONE, KILLS
from torture.processes import HarnessError, Process
from torture.report import Row, as_json, rows_of
from torture.verdict import LIVENESS_SECONDS, MOVER_LEASE_SECONDS, Floors, Recovery, Remains, Window, judge
from torture.world import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from torture.faults import Fault
    from torture.verdict import Verdict

__all__ = ["Plan", "Result", "narrate", "play"]

_TICK = 0.02
_START_SECONDS = 100.0
_RECOVERY_SECONDS = 10.0 + MOVER_LEASE_SECONDS
"""So much longer than it may take a recovery is waited for: one that is late shall be told apart from one that never comes."""
_CALM = (0.05, 0.3)
_PAIRS = 0.25
_FAULTS_PER_SECOND = 0.2
_KILL_SHARE = 0.05
_ACKED_SHARE = 0.5
"""Floors, at half or less of what a machine does that others keep three times too busy."""
_SECOND_CHANCES = (1.0, 2.0, 3.0)
_IN_ORDER_SHARE = _SPILL_SHARE = _ENCRYPTED_SHARE = 0.5
_DRAIN_SECONDS = 120.0
_OUTAGES = ("redis-stop", "redis-loading", "redis-link-blackhole", "redis-link-refuse", "redis-oom")
_SPILL_SECONDS = 2.0
"""One second into an outage a client with something to store begins to use the spill file."""
_STATES = ("waiting", "delayed", "leased")


@dataclass(frozen=True, slots=True)
class Plan:
    """
    One run.

    Args:
        backend: ``redis`` or ``sqlite``.
        seconds: How long faults are dealt.
        kills: Deal them instead until so many SIGKILLs have hit a process at work; 0: for *seconds*.
        seed: Decides everything that the machine does not.
        only: Fault classes to deal; empty for all.
        kill_rate: Kills of producers and workers per second of fault.
        pause: Seconds between two events of a producer's thread, on average.
        stretch: How much longer than usual faults last.
        in_order: First in, first out; ``None`` draws it.
        sabotage: A bug on purpose (see ``sabotage``).
        liveness: Seconds that a recovery may take.
    """

    backend: str
    seconds: float
    seed: int
    only: tuple[str, ...] = ()
    kills: int = 0
    kill_rate: float = 3.0
    pause: float = 0.02
    stretch: float = 1.0
    in_order: bool | None = None
    sabotage: str | None = None
    liveness: float = LIVENESS_SECONDS

    @property
    def command(self) -> str:
        """How to play it again."""
        length = f"--kills {self.kills}" if self.kills else f"--seconds {self.seconds:g}"
        return " ".join(
            [
                f"./run torture --backend {self.backend} {length} --seed {self.seed}",
                f"--kill-rate {self.kill_rate:g} --pause {self.pause:g} --stretch {self.stretch:g}",
                *(["--in-order" if self.in_order else "--shared"] if self.in_order is not None else []),
                *([f"--sabotage {self.sabotage}"] if self.sabotage else []),
                *(["--only " + ",".join(self.only)] if self.only else []),
            ]
        )


@dataclass(frozen=True, slots=True)
class Result:
    """
    A run's end.

    Args:
        verdict: Whether everything held.
        rows: The figures of each fault class.
        json: Everything, as plain values.
        folder: Where its files are, when it failed.
    """

    verdict: Verdict
    rows: list[Row]
    json: dict[str, Any]
    folder: str | None


def play(plan: Plan, say: Callable[[str], object] = lambda _: None) -> Result:
    """
    Play *plan* and return how it ended. *say* is told of every fault.

    Raises:
        HarnessError: The harness itself could not go on.
    """
    faults.load()
    unknown = set(plan.only) - faults.FAULTS.keys()
    if unknown:
        raise HarnessError(
            f"no such fault: {', '.join(sorted(unknown))}; known are {', '.join(faults.FAULTS)}"
        )
    dice = random.Random(plan.seed)
    drawn = [dice.random() < share for share in (_IN_ORDER_SHARE, _SPILL_SHARE, _ENCRYPTED_SHARE)]
    in_order = drawn[0] if plan.in_order is None else plan.in_order
    world = World(
        plan.backend,
        random.Random(dice.random()),
        in_order=in_order,
        spill=plan.backend == "redis" and drawn[1],
        encrypted=drawn[2],
        pause=plan.pause,
        sabotage=plan.sabotage,
    )
    with world:
        return _Driver(plan, world, dice, say, in_order=in_order).play()


class _Driver:
    def __init__(
        self,
        plan: Plan,
        world: World,
        dice: random.Random,
        say: Callable[[str], object],
        *,
        in_order: bool,
    ) -> None:
        self._plan = plan
        self._world = world
        self._dice = dice
        self._chance = random.Random(
            dice.random()
        )  # what depends on how long things take must not move the deck
        self._say = say
        self._in_order = in_order
        self._windows: list[Window] = []
        self._numbers = count()
        self._began = time.monotonic()

    def play(self) -> Result:
        world = self._world
        deck = self._deck()
        self._await(
            lambda: world.history.acked and world.history.arrivals, _START_SECONDS, "the first delivery"
        )
        self._began = time.monotonic()
        hands = faults.deal(deck, self._dice, _PAIRS)
        while not self._is_over():
            self._strike(next(hands))
        self._make_up(deck)
        seconds = time.monotonic() - self._began
        final, remains = self._end()
        verdict = judge(
            world.history,
            remains,
            self._windows,
            floors=self._floors(seconds),
            final=final,
            under_way=world.under_way,
            processes=world.processes,
            in_order=self._in_order,
            spills=world.spills,
            liveness=self._plan.liveness,
        )
        rows = rows_of(self._windows, world.history, verdict)
        run = asdict(self._plan) | {
            "in_order": self._in_order,
            "spill": world.spills,
            "encrypted": world.encrypted,
            "command": self._plan.command,
            "left out": [
                name
                for name, fault in faults.FAULTS.items()
                if self._plan.backend in fault.backends and not fault.possible(world)
            ],
            "kills that hit": self._kills_hit,
            "dealt for": seconds,
            "drained after": remains.backlog_seconds,
            "recovered after": astuple(final),
        }
        if verdict.passed:
            world.forget()
        folder = None if verdict.passed else str(world.folder)
        return Result(verdict, rows, as_json(run, rows, world.history, verdict), folder)

    def _deck(self) -> list[Fault]:
        return [
            fault
            for name, fault in sorted(faults.FAULTS.items())
            if self._plan.backend in fault.backends
            and (not self._plan.only or name in self._plan.only)
            and fault.possible(self._world)
        ]

    # -- faults ----------------------------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        seconds = time.monotonic() - self._began
        if not self._plan.kills:
            return seconds > self._plan.seconds
        # For longer than this the kills would be too few for its seconds, and the verdict says so.
        longest = self._plan.kills / (_KILL_SHARE * self._plan.kill_rate)
        return self._kills_hit >= self._plan.kills or seconds > longest

    @property
    def _kills_hit(self) -> int:
        """SIGKILLs that met a process at work."""
        return sum(window.hits for window in self._windows if window.fault in (*KILLS, EVERYONE))

    def _make_up(self, deck: list[Fault]) -> None:
        """Deal whatever has met nobody once more, alone and for longer: that may have been bad luck."""
        for longer in _SECOND_CHANCES:
            for fault in deck:
                hits = [window.hits for window in self._windows if window.fault == fault.name]
                if hits and not any(hits):
                    self._strike((fault,), longer)

    def _strike(self, hand: tuple[Fault, ...], longer: float = 1.0) -> None:
        """Inject, let it last, heal, and wait for recovery."""
        seconds = max(self._dice.uniform(*fault.seconds) for fault in hand) * self._plan.stretch * longer
        pause = self._dice.uniform(*_CALM)
        courses = [(fault, fault.run(self._world, random.Random(self._dice.random()))) for fault in hand]
        begin = time.monotonic()
        for _, course in courses:
            next(course)
        self._last(seconds)
        hits = {}
        for fault, course in reversed(courses):
            try:
                next(course)
            except StopIteration as healed:
                hits[fault.name] = int(healed.value)
            else:
                raise HarnessError(f"{fault.name} does not end")
        end = time.monotonic()
        recovery = self._recover(end)
        self._windows += [
            Window(fault.name, begin, end, hits[fault.name], recovery, len(hand) == 1) for fault in hand
        ]
        what = ", ".join(f"{name} ({n} hits)" for name, n in hits.items())
        lasted = f"for {seconds:.1f} s, recovered in {recovery.seconds:.2f} s"
        self._say(f"{begin - self._began:6.1f} s  {next(self._numbers):4}  {what}  {lasted}")
        self._tick(pause)

    def _last(self, seconds: float) -> None:
        """Let the faults last, and kill in the meantime."""
        until = time.monotonic() + seconds
        rate = self._plan.kill_rate
        next_kill = time.monotonic() + (self._chance.expovariate(rate) if rate else seconds + 1)
        while (now := time.monotonic()) < until:
            if now >= next_kill:
                self._kill()
                next_kill = now + self._chance.expovariate(rate)
            self._step()

    def _kill(self) -> None:
        role = self._chance.choice(("producer", "worker"))
        elder = self._world.elders.get(role)
        victims = [
            p for p in self._world.actors(role) if p is not elder and not p.stopped and p.exit_status is None
        ]
        at_work = [p for p in victims if p.name in self._world.history.working]
        if victims:
            victim: Process = self._chance.choice(at_work or victims)
            victim.signal(signal.SIGKILL)
            now = time.monotonic()
            self._windows.append(Window(f"kill-{role}", now, now, int(bool(at_work))))

    def _recover(self, since: float) -> Recovery:
        """Wait until the elders are at work again, and return how long each step took them."""
        recovery = Recovery()
        deadline = time.monotonic() + self._plan.liveness + _RECOVERY_SECONDS
        while None in astuple(recovery) and time.monotonic() < deadline:
            self._step()
            history = self._world.history
            elders = {role: process.name for role, process in self._world.elders.items()}
            # Where everybody was killed, the time that an interpreter takes to start says nothing about the client.
            begun = max(since, *(history.begun.get(name, math.inf) for name in elders.values()))
            acked, delivered = history.recovery(begun, elders["producer"])
            worked = history.worked(begun, elders["worker"]) if "worker" in elders else delivered
            recovery = Recovery(acked, delivered, worked)
        return recovery

    # -- the end ---------------------------------------------------------------------------------------------------------

    def _end(self) -> tuple[Recovery, Remains]:
        world = self._world
        healed = time.monotonic()
        final = self._recover(healed)
        world.dismiss("producer")
        world.add_worker()
        deadline = time.monotonic() + _DRAIN_SECONDS
        drained = None
        while drained is None and time.monotonic() < deadline:
            if not world.undelivered():
                drained = time.monotonic() - healed
            self._step()
        world.dismiss("worker")
        world.end_ledger()
        return final, Remains(
            stored={i: digest for i, (digest, _) in world.stored(*_STATES).items()},
            failed=world.stored("failed"),
            crashes=world.crashes,
            notes=[f"set aside as damaged: {name}" for name in world.damage()],
            backlog_seconds=drained,
        )

    def _floors(self, seconds: float) -> Floors:
        """Return what a run of so many *seconds* must have shown at least."""
        runs = Counter(window.fault for window in self._windows if window.alone)
        of_class = {w.fault: max(1, runs[w.fault] // 2) for w in self._windows if w.fault not in KILLS}
        return Floors(
            of_class=of_class,
            faults=max(1, int(_FAULTS_PER_SECOND * seconds / max(self._plan.stretch, 1.0))),
            kills=self._plan.kills or int(_KILL_SHARE * self._plan.kill_rate * seconds),
            acked_share=_ACKED_SHARE,
            spills=int(self._world.spills and any(map(_is_outage, self._windows))),
        )

    # -- time ------------------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        time.sleep(_TICK)
        self._world.tend()
        self._world.poll()

    def _tick(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self._step()
        while time.monotonic() < until:
            self._step()

    def _await(self, condition: Callable[[], object], seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                words = "; ".join(p.last_words() for p in self._world.actors())
                raise HarnessError(f"{what} did not come: {words or 'nobody says why'}")
            self._step()


def _is_outage(window: Window) -> bool:
    """Whether the clients had no Redis for so long that they use the spill file."""
    return window.fault in _OUTAGES and window.end - window.begin > _SPILL_SECONDS


def narrate(line: str) -> None:
    """Write one line of progress to the standard error."""
    print(line, file=sys.stderr, flush=True)
