"""
One seed, one story: who produces what, what breaks when, and what must hold at its end.

Faults end at ``FAULTS_END``. Then everything has to drain within a bound that follows from the options, and be accounted for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from eventspool._backends.rules import PROBE_PAUSE
from eventspool._config import ClientOpts, JobOpts, Ordering
from eventspool._delivery.verdict import DeliveryResult
from eventspool._retry import backoff_bound
from eventspool._settling.watched import WatchedEvent

from .plane import SILENT, Outage, Plane
from .simulator import Broken, Process, SimulatedBackend, Simulation

FAULTS_END = 30.0
_OUTAGES = ("error", "error", "silence", "late", "throttled", "unauthorized", "moved")


@dataclass
class Life:
    """One process from start to end, and what it was given."""

    process: Process
    began: float
    crashed: bool = False
    events: dict[int, bytes] = field(default_factory=dict)


class Scenario:
    """
    The story that *seed* tells.

    Args:
        seed: Decides everything.
    """

    def __init__(self, seed: int) -> None:
        self.simulation = simulation = Simulation(seed)
        dice = simulation.dice
        chance, pick = dice.random, dice.choice
        self.durable = chance() < 0.75
        self.fifo = self.durable and chance() < 0.4
        self.ordering = Ordering.FIFO if self.fifo else Ordering.NONE
        self.client = ClientOpts(
            write_key="k",
            gzip=False,
            flush_at=pick((1, 3, 5)),
            flush_interval=pick((0.5, 3.0, 20.0)),
            max_internal_queue_size=pick((8, 30, 1_000)),
            max_batch_bytes=pick((1_024, 460_800)),
            max_event_bytes=512,
        )
        self.jobs = JobOpts(
            max_attempts=pick((2, 4, 10, 10_000)),
            retry_for=pick((0.0, 0.0, 20.0)),
            backoff_initial=(initial := pick((0.1, 1.0))),
            backoff_max=max(pick((0.5, 5.0, 30.0)), initial),
            concurrency=pick((1, 2, 8)),
            visibility_timeout=pick((12.0, 60.0)),
        )
        self._poison_share = pick((0.0, 0.0, 0.1))
        self.shaky = self.durable and chance() < 0.25
        away = [(start := chance() * 20, start + chance() * 8)] if self.shaky else ()
        self.backend = SimulatedBackend(
            simulation,
            durable=self.durable,
            away=away,
            ordering=self.ordering,
            max_jobs=4 if self._never_fails() and self.durable else 1_000,
        )
        self.plane = Plane(
            simulation,
            outages=[self._outage() for _ in range(pick((0, 1, 1, 2)))],
            limit=pick((1, 3, 100, 100)),
            flaky=pick((0.0, 0.0, 0.15)),
            latency=pick(((0.01, 0.1), (0.1, 2.0), (1.0, 9.9))),
        )
        self.lives: list[Life] = []
        self._numbers = self.refused = 0
        self._poison: set[bytes] = set()
        self._callbacks = chance() < 0.3
        for _ in range(pick((1, 1, 2, 3)) if self.durable else 1):
            self._begin(chance() * 2)
        self.plane.poison = self._poison

    def _never_fails(self) -> bool:
        """No job can end in the failed queue, which would fill a small queue for ever."""
        return not self._poison_share and self.jobs.max_attempts > 1_000

    def _outage(self) -> Outage:
        dice = self.simulation.dice
        start = dice.random() * (FAULTS_END - 5)
        end = min(start + dice.choice((1.0, 5.0, 20.0)), FAULTS_END)
        match dice.choice(_OUTAGES):
            case "silence":
                return Outage(start, end, SILENT, 10.0)
            case "late":
                return Outage(start, end, SILENT, 10.0, takes=True)
            case "throttled":
                wait = dice.choice((0.5, 3.0, 25.0))
                return Outage(start, end, DeliveryResult(dice.choice((429, 503)), retry_after=wait), 0.05)
            case "unauthorized":
                return Outage(start, end, DeliveryResult(dice.choice((401, 403))), 0.05)
            case "moved":
                return Outage(start, end, DeliveryResult(302), 0.05)
        return Outage(start, end, DeliveryResult(503), dice.choice((0.01, 1.0)))

    # -- what happens --------------------------------------------------------------------------------------------------

    def _begin(self, moment: float) -> None:
        """Plan a life from *moment* on: its arrivals, and how it ends before the faults do."""
        dice = self.simulation.dice
        ends_at = moment + dice.random() * (FAULTS_END - moment)
        end = dice.choice(("crash", "close", "no", "no"))
        self.simulation.at(moment, self._start, end, ends_at)

    def _start(self, end: str, ends_at: float) -> None:
        simulation, dice = self.simulation, self.simulation.dice
        process = Process(
            simulation, self.backend, self.plane, self.client, self.jobs, ordering=self.ordering
        )
        life = Life(process, simulation.now)
        self.lives.append(life)
        last = ends_at if end == "close" else FAULTS_END
        for _ in range(dice.choice((1, 2, 4))):  # bursts
            moment = simulation.now + dice.random() * max(last - simulation.now, 0.0)
            simulation.at(moment, self._burst, life, dice.choice((1, 3, 8)))
        if end == "crash":
            process.dies_at = ends_at
            simulation.at(ends_at, self._crash, life)
            if ends_at < FAULTS_END - 3 and self.durable:
                self._begin(ends_at + dice.random() * 2)
        elif end == "close":
            simulation.at(ends_at, process.close, dice.choice((0.5, 5.0)))

    def _burst(self, life: Life, events: int) -> None:
        process, dice = life.process, self.simulation.dice
        for _ in range(events):
            number, self._numbers = self._numbers, self._numbers + 1
            event = b"%d" % number
            if dice.random() < self._poison_share:
                self._poison.add(event)
            if self._callbacks and number % 3 == 0:
                event = process.ledger.watch(event, process.call_back, str(number))
            if process.track(event):
                life.events[number] = event
            else:
                self.refused += process.alive

    def _crash(self, life: Life) -> None:
        if life.process.alive:
            life.crashed = True
            life.process.crash()

    def play(self) -> None:
        """Let it happen, then let it drain, then look."""
        simulation = self.simulation
        with simulation.in_charge():
            simulation.run(FAULTS_END + 5.5)  # and whoever was closing has closed
            if not any(life.process.alive for life in self.lives) and self.backend.unfinished:
                process = Process(
                    simulation, self.backend, self.plane, self.client, self.jobs, ordering=self.ordering
                )
                self.lives.append(Life(process, simulation.now))
            if not self._is_drained() and not simulation.run(FAULTS_END + self._patience(), self._is_drained):
                raise Broken(f"not drained by {simulation.now:.0f} s: {self.backend.stats()}")
            self._check()

    def _is_drained(self) -> bool:
        return not self.backend.unfinished and all(life.process.is_settled for life in self.lives)

    def _patience(self) -> float:
        """
        Seconds by which a queue has drained whose faults are over.

        A dead holder's lease, the longest wait for a probe and for a retry, each job's requests, and the look-ups of
        whoever waits for what others delivered.
        """
        jobs = self.jobs
        pause = max(1.25 * jobs.backoff_max, 25.0)
        flaky = 6 if self.plane.flaky else 1
        requests = 4 * self._numbers + 10
        return (
            jobs.visibility_timeout + self.client.flush_interval + flaky * pause * (2 + self.fifo * 4)
            + requests * self.plane.latency[1] + 30.0
        )  # fmt: skip

    # -- what must hold --------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        failed = self._failed()
        taken = self.plane.taken
        self._stored = {event for payload in self.backend.stored.values() for event in _events_of(payload)}
        for life in self.lives:
            lost = self._check_account(life, failed)
            for number, event in life.events.items():
                if number in lost or taken.get(event) or event in failed:
                    continue
                raise Broken(f"event {number} of the process begun at {life.began:.1f} is gone")
        known = {event for life in self.lives for event in life.events.values()}
        if not taken.keys() <= known or not failed.keys() <= known:
            raise Broken("events were invented")
        if self._poison & taken.keys():
            raise Broken("poison was taken")
        self._check_failures(failed)
        self._check_pace()
        if self.fifo and not self.shaky:
            self._check_one_at_a_time()

    def _failed(self) -> dict[bytes, object]:
        """Return the failed events, each with its job."""
        failed: dict[bytes, object] = {}
        for entry in self.backend._entries.failed.values():
            for event in _events_of(entry.payload):
                failed[event] = entry
        return failed

    def _check_account(self, life: Life, failed) -> set[int]:
        """Return the events that were lost with the process's memory, and check that it knows, where it still can."""
        process, ledger, taken = life.process, life.process.ledger, self.plane.taken
        if not self.durable:
            kept = {n for n, event in life.events.items() if taken.get(event) or event in failed}
        else:
            kept = {n for n, event in life.events.items() if event in self._stored}
        lost = life.events.keys() - kept
        if life.crashed:
            return lost
        stored = sum(job.events for job in ledger._open.values())
        counts = ledger.counts()
        if counts.delivered + counts.failed + counts.lost + stored != len(life.events):
            raise Broken(
                f"{len(life.events)} events were accepted, but {ledger.counts()} and {stored} are known of"
            )
        if process.alive and (lost or stored or counts.lost):
            raise Broken(
                f"{len(lost)} events were lost, {stored} forgotten, {counts.lost} called lost by a process that lives"
            )
        if not len(lost) <= counts.lost or (self.durable and not self.shaky and counts.lost != len(lost)):
            raise Broken(f"{len(lost)} events were lost, {counts.lost} called so")
        self._check_callbacks(life, failed)
        return lost

    def _check_callbacks(self, life: Life, failed) -> None:
        process = life.process
        for number, event in life.events.items():
            if type(event) is not WatchedEvent:
                continue
            error = process.called.get(str(number), ...)
            if error is ...:
                if process.alive or not self.durable:
                    raise Broken(f"the callback of {number} was not called")
            elif error is None:
                if not self.plane.taken.get(event):
                    raise Broken(f"{number} was called delivered")
            elif error.reason != "lost" and self.durable and event not in failed:
                raise Broken(f"{number} was called failed")

    def _check_failures(self, failed) -> None:
        for event, entry in failed.items():
            reason = entry.failure.reason
            if reason in ("rejected", "too_large"):
                if event not in self._poison:
                    raise Broken(f"event {event!r} was rejected")
            elif reason in ("max_attempts", "stalled"):
                if entry.attempts < self.jobs.max_attempts:
                    raise Broken(f"given up after {entry.attempts} attempts")
            else:
                raise Broken(f"a job failed as {reason}")

    def _check_pace(self) -> None:
        for outage in self.plane.outages:
            counts: dict[Process, int] = {}
            for moment, _, process, ill in self.plane.requests:
                if ill and outage.start <= moment < outage.end:
                    counts[process] = counts.get(process, 0) + 1
            for process, requests in counts.items():
                seconds = outage.end - outage.start
                most = most_requests(seconds, self.jobs, process.concurrency, shared=self.durable)
                if requests > most:
                    raise Broken(
                        f"{requests} requests in an outage of {outage.end - outage.start} s, not {most}"
                    )

    def _check_one_at_a_time(self) -> None:
        busy_until, whose = 0.0, None
        for moment, seconds, process, _ in self.plane.requests:
            if moment < busy_until - 1e-6 and process is not whose:
                raise Broken(f"two requests at {moment:.3f} in strict order")
            busy_until, whose = min(moment + seconds, process.dies_at), process


def most_requests(seconds: float, jobs: JobOpts, concurrency: int, *, shared: bool = False) -> int:
    """
    Return how many requests one processor may make in an outage of *seconds*: five failures, then probes.

    Where the breaker is shared, it may be the one to send all probes.
    """
    probes, paused = 1, 0.0
    while paused < seconds:
        pause = backoff_bound(probes, jobs.backoff_initial, jobs.backoff_max)
        paused += min(pause, PROBE_PAUSE) if shared else pause
        probes += 1
    return 5 + concurrency - 1 + probes


def _events_of(payload: bytes) -> list[bytes]:
    from eventspool._envelope import open_envelope

    return open_envelope(payload).split()
