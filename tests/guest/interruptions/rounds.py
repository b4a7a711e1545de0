"""One round: plays a scenario in this process, has something happen, and asks the oracle."""

from __future__ import annotations

import gc
import logging
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from eventspool import QueueError
from guest.interruptions.on_callers import ON_CALLERS
from guest.interruptions.on_ours import ON_OURS
from guest.interruptions.oracle import Oracle
from guest.interruptions.points import CALLER, Actor, Point, Recorder, role_of, tracing
from guest.interruptions.world import PACE, World

if TYPE_CHECKING:
    from collections.abc import Callable

    from guest.interruptions.scenarios import Scenario

__all__ = ["KINDS_ON_CALLERS", "KINDS_ON_OURS", "Task", "play", "record", "scenario_of"]

KINDS_ON_CALLERS = ("error", "stop", "timeout", "track")
KINDS_ON_OURS = ("error", "stop", "memory", "track", "flush", "close")
_LONGEST_CALL_WITHIN = 3.0 * PACE
"""Seconds, of what a destructor or a handler calls."""
_LONGEST_STORM = 400
"""Signals; more events than such calls make could not be delivered in the time that the oracle waits."""


class TimeLimit(Exception):  # noqa: N818 - as hosts call theirs
    """A job's time is over."""


class RequestTimeout(TimeoutError):  # noqa: N818
    """A request's time is over. Drivers raise its kind, too."""


class Stop(BaseException):
    """The program is to end."""


class LogServerGone(Exception):  # noqa: N818
    """A log handler's own trouble."""


_RAISED = {
    "error": TimeLimit,
    "stop": Stop,
    "timeout": RequestTimeout,
    "memory": MemoryError,
    "log": LogServerGone,
}


@dataclass(frozen=True, slots=True)
class Task:
    """
    What one round plays.

    Args:
        role: ``caller``, or the name of a thread of ours.
        scenario: Its name.
        backend: Where.
        kind: What happens.
        point: Where it happens; nothing with ``log`` and with a storm.
        visit: At which visit of the point; with ``log``, at which line of that thread.
        storm: Instead, for so many seconds, a real signal in each call; one signal where the call cannot be repeated.
        delay: How many seconds after the beginning of the call a signal comes at most.
    """

    role: str
    scenario: str
    backend: str
    kind: str
    point: Point | None = None
    visit: int = 1
    storm: float = 0.0
    delay: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {**asdict(self), "point": None if self.point is None else asdict(self.point)}

    @classmethod
    def of(cls, given: dict[str, Any]) -> Task:
        """Return the task of such a dictionary."""
        point = given.get("point")
        return cls(**{**given, "point": None if point is None else Point(**point)})

    def __str__(self) -> str:
        where = f"{self.point}, visit {self.visit}" if self.point else f"{self.visit}"
        return f"{self.scenario} on {self.backend}: {self.kind} on {self.role} at {where}"


def scenario_of(role: str, name: str) -> Scenario:
    """Return the scenario *name* of the caller's thread or of ours."""
    return (ON_CALLERS if role == CALLER else ON_OURS)[name]


class _LogCounter(logging.Handler):
    """Counts our log lines by role; raises amid one of them."""

    def __init__(self, role: str = "", line: int = 0, act: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}
        self._role, self._line, self._act = role, line, act

    def emit(self, record: logging.LogRecord) -> None:
        role = role_of(threading.current_thread()) or ""
        self.lines[role] = self.lines.get(role, 0) + 1
        if self._act is not None and (role, self.lines[role]) == (self._role, self._line):
            self._act()


def record(role: str, name: str, backend: str, redis_url: str, *, trace: bool) -> dict[str, Any]:
    """Play it with nothing happening. Return the points visited (with *trace*), log lines, problems and seconds."""
    scenario, recorder, counter = scenario_of(role, name), Recorder(), _LogCounter()
    with tempfile.TemporaryDirectory(prefix="i-", dir="/tmp") as folder:
        world = World(backend, folder, redis_url)
        world.listen()
        logging.getLogger("eventspool").addHandler(counter)
        if role == CALLER:
            scenario.prepare(world)
            began = time.monotonic()
            with tracing(recorder if trace else None):
                scenario.act(world)
        else:
            began = time.monotonic()
            threading.settrace(recorder)
            scenario.prepare(world)
            scenario.act(world)
            for client in world.clients:
                world.close(client)
            threading.settrace(None)  # type: ignore[arg-type]
        took = time.monotonic() - began
        oracle = Oracle(world, scenario)
        oracle.examine()
        oracle.check_noise(None)
        visits = {
            each: [(asdict(point), times) for point, times in sorted(found.items())]
            for each, found in recorder.visits.items()
            if (each == CALLER) == (role == CALLER)
        }
        return {"visits": visits, "seconds": took, "lines": counter.lines, "problems": oracle.problems}


class _Round:
    """Plays one task."""

    def __init__(self, task: Task, redis_url: str, folder: str) -> None:
        self._task = task
        self._scenario = scenario_of(task.role, task.scenario)
        self._world = World(task.backend, folder, redis_url)
        self._problems: list[str] = []
        self._raised: BaseException | None = None
        self._acted = self._armed = False

    def _act(self) -> None:
        """Do what happens at the point; the exception raised is kept, to be known again."""
        self._acted = True
        if self._task.kind in _RAISED:
            self._raised = _RAISED[self._task.kind]("it is over")
            raise self._raised
        began = time.monotonic()
        for client in self._world.clients[-1:]:
            if self._task.kind == "flush":
                client.flush(timeout=60)
            elif self._task.kind == "close":
                self._world.close(client, 4.0)
            else:
                self._world.track(client, "Within")
                client.stats()
        if (took := time.monotonic() - began) > _LONGEST_CALL_WITHIN:
            self._problems.append(f"a {self._task.kind} within took {took:.0f} s")

    def play(self) -> dict[str, Any]:
        world, task = self._world, self._task
        world.listen()
        self._actor = Actor(task.role, task.point, task.visit, self._act) if task.point is not None else None
        if task.kind == "log":
            logging.getLogger("eventspool").addHandler(_LogCounter(task.role, task.visit, self._act))
        if task.storm:
            self._play_storm()
        elif task.role == CALLER:
            self._play_on_caller()
        else:
            self._play_on_ours()
        if not self._acted:
            return {"status": "unreached", "problems": []}
        oracle = Oracle(world, self._scenario)
        self._problems += oracle.examine()
        oracle.problems.clear()
        # The thread that writes log lines shows what comes at its lines as Python does: it has nowhere to log it.
        is_shown = task.role == "log" or (self._actor is not None and self._actor.is_outermost)
        oracle.check_noise(self._raised if is_shown else None)
        self._problems += oracle.problems
        return {"status": "failed" if self._problems else "held", "problems": self._problems}

    def _play_on_caller(self) -> None:
        self._scenario.prepare(self._world)
        try:
            with tracing(self._actor):
                self._scenario.act(self._world)
        except BaseException as error:
            if error is not self._raised:
                self._problems.append(f"{type(error).__name__} came out instead: {str(error)[:100]}")
        else:
            if self._raised is not None:
                self._problems.append("the host's exception was swallowed")

    def _play_storm(self) -> None:
        """Call again and again, and have a real signal's handler raise at a random moment of each call."""
        world, scenario, task = self._world, self._scenario, self._task
        dice = random.Random(task.visit)
        found: Counter[str] = Counter()
        # What a signal handler raises amid a destructor of another library, Python prints and forgets. Here none runs.
        gc.disable()
        scenario.prepare(world)
        signal.signal(signal.SIGALRM, self._on_alarm)
        end = time.monotonic() + task.storm
        for _ in range(_LONGEST_STORM):
            if time.monotonic() > end:
                break
            self._raised = None
            came = self._call_with_alarm(dice.uniform(0.00002, task.delay))
            signal.setitimer(signal.ITIMER_REAL, 0)
            if came is not self._raised:
                found[
                    "swallowed" if came is None else f"{type(came).__name__} ({came}) came out instead"
                ] += 1
            if not scenario.repeats:
                break
        self._problems += [f"the host's exception: {words}, {times} times" for words, times in found.items()]
        self._raised = None

    def _on_alarm(self, *_: object) -> None:
        if self._armed:
            self._armed = False
            self._act()

    def _call_with_alarm(self, delay: float) -> BaseException | None:
        try:
            self._armed = True
            signal.setitimer(signal.ITIMER_REAL, delay)
            self._scenario.act(self._world)
            self._armed = False
        except BaseException as error:
            self._armed = False
            return error
        return None

    def _play_on_ours(self) -> None:
        task = self._task
        if self._actor is not None:
            threading.settrace(self._actor)
        try:
            self._scenario.prepare(self._world)
            self._scenario.act(self._world)
            if not self._acted:
                for client in self._world.clients:
                    self._world.close(client)
        except BaseException as error:
            if task.kind == "close" and isinstance(
                error, QueueError
            ):  # a closed client says that it takes no queue
                return
            self._problems.append(f"{type(error).__name__} came out of the scenario: {str(error)[:100]}")
        finally:
            threading.settrace(None)  # type: ignore[arg-type]


def play(task: Task, redis_url: str) -> dict[str, Any]:
    """Play *task*. Return its ``status`` (``held``, ``failed`` or ``unreached``) and its ``problems``."""
    with tempfile.TemporaryDirectory(prefix="i-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        return _Round(task, redis_url, folder).play()
