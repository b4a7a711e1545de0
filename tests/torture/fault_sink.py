"""The data plane fails: by what it answers, by answering late or not at all, by dying."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from torture.events import POISON
from torture.faults import fault
from torture.processes import state_of

if TYPE_CHECKING:
    import random

    from torture.faults import Course
    from torture.world import World

_RULES: dict[str, list[dict[str, Any]]] = {
    "500": [{"status": 500, "p": 0.7}],
    "503": [{"status": 503}],
    "429": [{"status": 429, "retry_after": 0.3, "p": 0.5}],
    "413": [{"max_events": 1}],
    "401": [{"status": 401}],
    "502": [{"status": 502, "body": "<html>proxy error</html>", "p": 0.5}],
    "redirect": [{"redirect": "http://127.0.0.1:9/elsewhere", "p": 0.5}],
    "poison": [{"reject": "batch", "event": POISON}],
    "poison-named": [{"reject": "events", "event": POISON}],
    "hang": [{"hang": 1.0, "p": 0.5}],
    "took-it-silently": [{"drop": "after", "record": True, "p": 0.5}],
    "half-an-answer": [{"drop": "half", "record": True, "p": 0.5}],
}


def _register(name: str, rules: list[dict[str, Any]]) -> None:
    @fault(f"plane-{name}", "plane", (1.0, 2.0) if "poison" in name else (0.4, 1.2))
    def run(world: World, dice: random.Random) -> Course:
        world.script_sink(rules, dice.randrange(1 << 30))
        try:
            yield
        finally:
            hits = world.sink_faults()
            world.script_sink([], 0)
        return hits


for _name, _rules in _RULES.items():
    _register(_name, _rules)


@fault("plane-kill", "plane")
def kill_sink(world: World, dice: random.Random) -> Course:
    """SIGKILL; a successor listens on the same port."""
    before = world.seen("plane", "unreached")
    world.sink.signal(signal.SIGKILL)
    yield
    hits = world.seen("plane", "unreached") - before
    world.start_sink()
    return hits


@fault("plane-stop", "plane", (0.5, 2.5))
def stop_sink(world: World, dice: random.Random) -> Course:
    """SIGSTOP: the kernel still accepts connections for it."""
    world.sink.signal(signal.SIGSTOP)
    before = world.seen("plane", "requests")
    yield
    hits = world.seen("plane", "requests") - before if state_of(world.sink.pid) == "T" else 0
    world.sink.signal(signal.SIGCONT)
    return hits
