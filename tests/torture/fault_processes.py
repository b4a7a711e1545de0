"""Processes that stand still, clocks that step, storms of forks. Kills come all the time (see ``driver``)."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from torture.causes import EVERYONE
from torture.faults import fault
from torture.processes import state_of

if TYPE_CHECKING:
    import random

    from torture.faults import Course
    from torture.world import World

_STEPS = (3600.0, -3600.0, 31_536_000.0, -31_536_000.0, 5.0, -5.0, 0.3, -0.3)

_PATIENCE = 5.0
"""Longest wait, in seconds, for a process that is at work: on a busy machine the kills leave hardly one the time for it."""


def _register_stop(role: str) -> None:
    @fault(f"stop-{role}", "process", (0.5, 3.0))
    def run(world: World, dice: random.Random) -> Course:
        at_work, deadline = [], time.monotonic() + _PATIENCE
        while not at_work and time.monotonic() < deadline:  # none is killed meanwhile
            world.poll()  # what a process has done meanwhile is known only once it was taken in
            cast = world.actors(role)
            at_work = [process for process in cast if process.name in world.history.working]
            time.sleep(0.02)
        chosen = dice.choice(at_work or cast)
        chosen.signal(signal.SIGSTOP)
        yield
        hits = int(bool(at_work) and state_of(chosen.pid) == "T")
        chosen.signal(signal.SIGCONT)
        return hits


for _role in ("producer", "worker"):
    _register_stop(_role)


@fault(EVERYONE, "process", (0.0, 0.3))
def kill_everyone(world: World, dice: random.Random) -> Course:
    """SIGKILL for every producer and worker at once, as when a machine's memory runs out."""
    victims = world.actors()
    for victim in victims:
        victim.signal(signal.SIGKILL)
    yield
    return sum(victim.name in world.history.working for victim in victims)


@fault("rolling-restart", "process", (0.2, 1.0))
def rolling_restart(world: World, dice: random.Random) -> Course:
    """All but the eldest are told to finish, as a deployment does it; successors come as they go."""
    elders = world.elders.values()
    leaving = [process for process in world.actors() if process.leaving is None and process not in elders]
    for process in leaving:
        process.ask_to_finish()
    yield
    return sum(process.name in world.history.working for process in leaving)


@fault("clock-step", "clock")
def step_clock(world: World, dice: random.Random) -> Course:
    """Every wall clock steps by seconds, an hour or a year, and back."""
    before = world.clock.reads
    world.clock.offset = dice.choice(_STEPS)
    yield
    hits = world.clock.reads - before
    world.clock.offset = 0.0
    return hits


@fault("fork-storm", "process", (0.8, 1.5))
def storm(world: World, dice: random.Random) -> Course:
    """Producers fork children amid everything, which track with the client that they inherit."""
    before = world.history.forks
    for producer in world.actors("producer"):
        producer.tell(f"storm {dice.randint(2, 6)}")
    yield
    world.poll()
    return world.history.forks - before
