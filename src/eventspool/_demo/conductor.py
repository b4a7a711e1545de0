"""
Plays the demo: starts the child process, kills it, has the data plane fail, and keeps the account outside of both.

The account is simple. The child says how many purchases are stored; the data plane, which runs in this process, knows every
id that arrived. A purchase that was acknowledged as stored and never arrived is lost.

Most kills come at random instants while the child tracks. The last one is the hardest: it waits for an outage during which
the rest of the purchases is stored, so that these events exist in the queue and nowhere else.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from eventspool._dataplane import DataPlane
from eventspool._demo.place import Place, open_place
from eventspool._demo.process import ChildProcess
from eventspool._demo.purchases import find_source
from eventspool._demo.result import DemoError, DemoResult, Incident, Progress
from eventspool._demo.weather import CLEAR, OUTAGE, Spell, fault_name, forecast
from eventspool._exceptions import QueueError
from eventspool._operate.queue import open_queue_of

if TYPE_CHECKING:
    from eventspool._demo.purchases import Source
    from eventspool._demo.result import DemoOptions, Narrator
    from eventspool._figures import QueueStats
    from eventspool._operate.queue import Queue

__all__ = ["run_demo"]

_GROUPS = 500
"""The number of groups into which the purchases are cut, for either file. One group is one batch."""
_LAST_STAND = 0.9
"""The share of purchases after which the outage of the last kill begins."""
_JOB_OPTS = {
    "retry_for": 3600.0,  # longer than a demo, so that no job is given up
    "backoff_initial": 0.1,
    "backoff_max": 1.0,
    "concurrency": 4,
    "visibility_timeout": 2.0,
}
_PACE = 0.008
"""Seconds between two groups. Without them the purchases would be stored before the weather could change."""
_FAULTS_PER_SPELL = 3
_LONGEST_SPELL = 1.5
_TICK = 0.1
_MAX_CRASHES = 3


def run_demo(options: DemoOptions, narrator: Narrator) -> DemoResult:
    """
    Play the demo and return the account.

    It leaves nothing behind: no process, no temporary file, no job in the user's queue.

    Raises:
        DemoError: It could not be carried out.
        QueueError: The queue cannot be used.
    """
    source = find_source(sample=options.sample)
    with (
        open_place(options) as place,
        open_queue_of(place.queue) as queue,
        DataPlane("demo", seed=options.seed, keep_events=0, keep_requests=0) as plane,
    ):
        conductor = _Conductor(options, narrator, source, place, queue, plane)
        try:
            return conductor.play()
        finally:
            conductor.end()


class _Conductor:
    def __init__(
        self,
        options: DemoOptions,
        narrator: Narrator,
        source: Source,
        place: Place,
        queue: Queue,
        plane: DataPlane,
    ) -> None:
        self._options = options
        self._narrator = narrator
        self._source = source
        self._place = place
        self._queue = queue
        self._plane = plane
        self._ids = source.order_ids()
        self._chance = random.Random(f"kills/{options.seed}")
        self._child: ChildProcess | None = None
        self._stored = 0
        self._kills = 0
        self._crashes = 0
        self._faults: Counter[str] = Counter()
        self._forecast = forecast(options.seed)
        self._weather = CLEAR
        self._weather_until = 0.0
        self._started = time.monotonic()
        self._moved_at = self._started
        self._told_at = 0.0
        self._mark = (0, 0)
        self._depth: QueueStats | None = None

    # -- the play --------------------------------------------------------------------------------------------------------

    def play(self) -> DemoResult:
        """Play it to the end."""
        total = len(self._ids)
        self._tell("start", f"{total:,} purchases, {self._options.kills} kills to come")
        self._start_child()
        for threshold in self._kill_marks(total):
            self._run_until(
                max(threshold, self._stored + 1)
            )  # each new child stores something before it is killed
            self._linger(self._chance.uniform(0.0, 0.1))
            self._kill_child("at work")
            self._start_child()
        if self._options.kills:
            self._run_until(int(total * _LAST_STAND))
            self._set_weather(OUTAGE, seconds=float("inf"))
            self._run_until(total)
            self._kill_child("in an outage")
            self._start_child()
        self._run_until(total)
        self._set_weather(CLEAR, seconds=float("inf"))
        while not self._is_settled():
            self._step(_TICK)
        elapsed = time.monotonic() - self._started
        assert self._child is not None  # noqa: S101
        self._child.finish()
        self._child = None
        return self._account(elapsed)

    def end(self) -> None:
        """Kill the child where it still runs."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def _kill_marks(self, total: int) -> list[int]:
        """Draw the offsets at which all kills but the last one begin."""
        kills = max(self._options.kills - 1, 0)
        width = (_LAST_STAND - 0.05) / max(kills, 1)
        return [int(total * (0.02 + width * (i + self._chance.random()))) for i in range(kills)]

    def _run_until(self, offset: int) -> None:
        while self._stored < min(offset, len(self._ids)):
            self._step(_TICK)

    def _linger(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._step(min(left, _TICK))

    def _is_settled(self) -> bool:
        """Return whether everything has arrived and the queue knows it."""
        depth = self._depth
        if depth is None or self._stored < len(self._ids):
            return False
        return not (depth.waiting.jobs or depth.delayed.jobs or depth.leased.jobs)

    def _step(self, patience: float) -> None:
        """Wait for the child's next message for at most *patience* seconds, then do all that is due."""
        assert self._child is not None  # noqa: S101
        message = self._child.hear(patience)
        if message is not None:
            self._stored = max(self._stored, message["stored"])
        elif self._child.exit_status is not None:
            self._replace_crashed()
        now = time.monotonic()
        if now >= self._weather_until and (self._has_rained() or now >= self._weather_until + _LONGEST_SPELL):
            self._set_weather(next(self._forecast))
        if now >= self._told_at + _TICK:
            self._told_at = now
            self._show()
            self._check_stall(now)

    # -- the child -------------------------------------------------------------------------------------------------------

    def _start_child(self) -> None:
        queue = self._place.queue
        orders: dict[str, Any] = {
            "path": str(self._source.path),
            "sample": self._source.sample,
            "offset": self._stored,
            "group": max(1, len(self._ids) // _GROUPS),
            "pace": _PACE,
            "write_key": self._plane.write_key,
            "data_plane_url": self._plane.url,
            "queue": queue.url,
            "queue_name": queue.queue_name,
            "job_opts": _JOB_OPTS,
        }
        self._child = ChildProcess(orders, self._place.folder / "child.log")

    def _kill_child(self, when: str) -> None:
        assert self._child is not None  # noqa: S101
        self._kills += self._child.kill()
        while (message := self._child.hear(0.0)) is not None:  # the child said so before it died
            self._stored = max(self._stored, message["stored"])
        self._show(is_down=True)
        standing = f"{self._queued:,} of {self._stored:,} stored events are in the queue"
        self._tell("kill", f"SIGKILL {self._kills} of {self._options.kills}, {when}: {standing}")

    def _replace_crashed(self) -> None:
        assert self._child is not None  # noqa: S101
        self._crashes += 1
        if self._crashes > _MAX_CRASHES:
            log = (self._place.folder / "child.log").read_text("utf-8", "replace").strip().splitlines()
            raise DemoError(f"the child process does not stay alive: {log[-1] if log else 'it says nothing'}")
        self._child.kill()
        self._start_child()

    # -- the weather -----------------------------------------------------------------------------------------------------

    def _set_weather(self, spell: Spell, seconds: float | None = None) -> None:
        before = self._weather
        self._count_faults()
        self._plane.script(*spell.rules)
        self._weather = spell
        self._weather_until = time.monotonic() + (spell.seconds if seconds is None else seconds)
        if spell is not before:
            self._tell("weather", f"the data plane {spell.title}")

    def _has_rained(self) -> bool:
        """Return whether the present faults have hit enough requests. (An outage hits every request.)"""
        rules = self._weather.rules
        hits = sum(self._plane.stats().faults.values())
        return not rules or rules == OUTAGE.rules or hits >= _FAULTS_PER_SPELL

    def _count_faults(self) -> None:
        for rule, count in self._plane.stats().faults.items():
            if count:
                self._faults[fault_name(rule)] += count

    # -- the account -----------------------------------------------------------------------------------------------------

    def _tell(self, kind: str, text: str) -> None:
        self._narrator.incident(Incident(kind, text, time.monotonic() - self._started))

    def _show(self, *, is_down: bool = False) -> None:
        with contextlib.suppress(QueueError):
            self._depth = self._queue.stats()
        received = self._plane.stats()
        mark = (self._stored, received.unique)
        if mark != self._mark:
            self._mark, self._moved_at = mark, time.monotonic()
        self._narrator.progress(
            Progress(
                total=len(self._ids),
                stored=self._stored,
                delivered=received.unique,
                queued=self._queued,
                duplicates=received.duplicates,
                kills=self._kills,
                kills_planned=self._options.kills,
                weather=self._weather.title,
                is_down=is_down,
                elapsed=time.monotonic() - self._started,
            )
        )

    @property
    def _queued(self) -> int:
        """Events in the queue, as last counted."""
        depth = self._depth
        return depth.waiting.events + depth.delayed.events + depth.leased.events if depth else 0

    def _check_stall(self, now: float) -> None:
        if now - self._moved_at > self._options.stall_timeout:
            waited = f"nothing moved for {self._options.stall_timeout:g} seconds"
            raise DemoError(
                f"{waited}: {self._stored:,} of {len(self._ids):,} stored, {self._mark[1]:,} delivered"
            )

    def _account(self, elapsed: float) -> DemoResult:
        self._count_faults()
        received = self._plane.stats()
        arrived = set(self._plane.unique_ids())
        delivered = sum(1 for order_id in self._ids if order_id in arrived)
        lost = sum(1 for order_id in self._ids[: self._stored] if order_id not in arrived)
        return DemoResult(
            source=self._source.title,
            queue=self._place.queue.kind.name,
            seed=self._options.seed,
            total=len(self._ids),
            accepted=self._stored,
            delivered=delivered,
            lost=lost,
            duplicates=received.duplicates,
            changed=received.changed,
            failed=self._queue.stats().failed.events,
            kills_planned=self._options.kills,
            kills=self._kills,
            requests=received.requests,
            statuses=dict(sorted(received.statuses.items())),
            faults=dict(sorted(self._faults.items())),
            elapsed=round(elapsed, 3),
            events_per_second=round(delivered / elapsed, 1),
        )
