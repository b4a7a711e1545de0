"""Long outages and what comes after them, in virtual time: nothing is given up, nobody hammers, everything drains."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field

import pytest

from eventspool._backends.rules import PROBE_PAUSE
from eventspool._config import ClientOpts, JobOpts, Ordering
from eventspool._delivery.parcel import MOST_JOBS
from eventspool._delivery.verdict import DeliveryResult
from eventspool._envelope import seal
from eventspool._job import NewJob

from .plane import SILENT, Outage, Plane
from .scenario import most_requests
from .simulator import Process, SimulatedBackend
from .virtual import Simulation

HOUR = 3600.0
DOWN = DeliveryResult(503)
BACKLOG_JOBS, JOB_EVENTS = 1_112, 900


@dataclass
class World:
    """Some processors on one queue, and a data plane that is down from the start until *outage*."""

    outage: float
    processors: int = 1
    ordering: Ordering = Ordering.NONE
    jobs: JobOpts = field(default_factory=JobOpts)
    answer: DeliveryResult = DOWN
    plane_type: type[Plane] = Plane
    latency: tuple[float, float] = (0.05, 0.15)
    most_jobs: int = MOST_JOBS

    def __post_init__(self) -> None:
        self.simulation = simulation = Simulation("endurance")
        self.backend = SimulatedBackend(simulation, durable=True, ordering=self.ordering)
        seconds = 10.0 if self.answer is SILENT else 0.05
        outages = [Outage(0.0, self.outage, self.answer, seconds)]
        self.plane = self.plane_type(simulation, outages, latency=self.latency)
        self.client = ClientOpts(write_key="k", gzip=False, flush_interval=1.0)
        self.processes: list[Process] = []

    def store(self, jobs: int, events: int = 1) -> None:
        """Put *jobs* of *events* each into the queue, numbered from 0."""
        for number in range(jobs):
            names = [b"%d" % n for n in range(number * events, (number + 1) * events)]
            job = NewJob(self.simulation.new_job_id(), seal(names, compress=False), events)
            assert self.backend.commit([job]).accepted

    def store_one(self, name: bytes) -> None:
        """Put a job of one event into the queue."""
        job = NewJob(self.simulation.new_job_id(), seal([name], compress=False), 1)
        assert self.backend.commit([job]).accepted

    def begin(self) -> None:
        """Start the processors, within a second."""
        for _ in range(self.processors):
            self.simulation.at(self.simulation.dice.random(), self._begin_one)

    def _begin_one(self) -> None:
        args = (self.simulation, self.backend, self.plane, self.client, self.jobs)
        self.processes.append(Process(*args, ordering=self.ordering, most_jobs=self.most_jobs))

    def drain(self, within: float) -> float:
        """Return how many seconds after the outage nothing is left; fail after *within*."""
        drained = self.simulation.run(self.outage + within, lambda: not self.backend.unfinished)
        assert drained, self.backend.stats()
        return self.simulation.now - self.outage

    def requests_in_outage(self) -> dict[Process, int]:
        """Return how often each processor tried."""
        tried = dict.fromkeys(self.processes, 0)
        for _, _, process, ill in self.plane.requests:
            tried[process] += ill
        return tried


def _endure(world: World, jobs: int) -> None:
    with world.simulation.in_charge():
        world.store(jobs)
        world.begin()
        world.simulation.run(world.outage)
        assert world.backend.unfinished == jobs
        for process, requests in world.requests_in_outage().items():
            assert requests <= most_requests(world.outage, world.jobs, process.concurrency, shared=True)
        world.drain(within=120.0)
    assert not world.backend._entries.failed
    assert len(world.plane.taken) == jobs


@pytest.mark.parametrize("answer", [DOWN, SILENT], ids=["errors", "silence"])
@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO], ids=["shared", "fifo"])
@pytest.mark.parametrize("processors", [1, 3, 8])
def test_ten_minutes_give_up_nothing_with_default_options(processors, ordering, answer):
    _endure(World(outage=600.0, processors=processors, ordering=ordering, answer=answer), jobs=200)


@pytest.mark.parametrize("answer", [DOWN, SILENT], ids=["errors", "silence"])
@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO], ids=["shared", "fifo"])
@pytest.mark.parametrize("processors", [1, 3, 8])
@pytest.mark.parametrize("jobs", [1, 3])
def test_ten_minutes_give_up_no_lone_batch_either(jobs, processors, ordering, answer):
    """However many processes try it: none of the others could share what the outage costs."""
    _endure(World(outage=600.0, processors=processors, ordering=ordering, answer=answer), jobs=jobs)


class _PoisonousPlane(Plane):
    """Fails for as long as it is sent one event, and for no other."""

    def send(self, process, events, moment):
        if b"0" in events:
            self.requests.append((moment, 0.05, process, True))
            return DOWN, 0.05
        return super().send(process, events, moment)


@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO], ids=["shared", "fifo"])
@pytest.mark.parametrize("processors", [1, 3])
@pytest.mark.parametrize(("jobs", "within"), [(1, 2 * HOUR), (200, 1_000.0)])
def test_a_batch_that_alone_makes_the_data_plane_fail_is_given_up(jobs, within, processors, ordering):
    """Within the hour where nothing else shows that the data plane works, and within minutes where something does."""
    world = World(outage=0.0, processors=processors, ordering=ordering, plane_type=_PoisonousPlane)
    with world.simulation.in_charge():
        world.store(jobs)
        world.begin()
        if jobs > 1:  # something is stored now and then
            for moment in range(20, int(within), 20):
                world.simulation.at(moment, world.store_one, b"%d" % (1_000_000 + moment))
        assert world.simulation.run(within, lambda: bool(world.backend._entries.failed)), (
            world.backend.stats()
        )
    [failed] = world.backend._entries.failed.values()
    assert (failed.failure.reason, failed.attempts) == ("max_attempts", world.jobs.max_attempts)


@pytest.mark.rotating("long outages", seldom=True)
@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO], ids=["shared", "fifo"])
def test_eighty_four_hours_give_up_nothing_with_a_week_of_patience(ordering):
    _endure(World(outage=84 * HOUR, ordering=ordering, jobs=JobOpts(retry_for=7 * 24 * HOUR)), jobs=200)


def test_probes_of_a_long_outage_come_five_seconds_apart_whoever_sends_them():
    world = World(outage=2 * HOUR, processors=2, jobs=JobOpts(retry_for=7 * 24 * HOUR))
    with world.simulation.in_charge():
        world.store(50)
        world.begin()
        world.simulation.run(world.outage)
    moments = [moment for moment, *_ in world.plane.requests]
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert min(gaps[20:]) >= PROBE_PAUSE
    assert max(gaps) <= 5.1
    assert {whose for *_, whose, _ in world.plane.requests} == set(world.processes)


def _begin_in_outage(answer, jobs=3_000, most_jobs=MOST_JOBS):
    """Have fifty processors begin within a second while the data plane is down for a minute, and drain. Return the world."""
    world = World(outage=60.0, processors=50, answer=answer, most_jobs=most_jobs)
    with world.simulation.in_charge():
        world.store(jobs)
        world.begin()
        world.drain(within=10.0)
    return world


def _count(world, start, end):
    return sum(start <= moment < end for moment, *_ in world.plane.requests)


def test_fifty_processors_that_begin_in_an_outage_probe_as_one_and_drain_within_ten_seconds_after_it():
    world = _begin_in_outage(DOWN)
    assert _count(world, 0.0, 2.0) <= 60
    assert _count(world, 2.0, 60.0) <= 20
    attempts = sum(ill for *_, ill in world.plane.requests)
    assert attempts <= 80
    assert not world.backend._entries.failed


def test_fifty_processors_leave_the_data_plane_alone_for_as_long_as_it_asks():
    world = _begin_in_outage(DeliveryResult(503, retry_after=20.0))
    moments = [moment for moment, *_, ill in world.plane.requests if ill]
    first = moments[0]
    assert len(moments) <= 50 + 3
    assert not [m for m in moments if first + 1.1 < m < first + 20.0], "but for those that were under way"


def test_after_an_outage_requests_ramp_up():
    """Fifty processors, eight requests each: the data plane must not meet four hundred at once."""
    world = _begin_in_outage(DOWN, jobs=10_000, most_jobs=1)
    first = min(moment for moment, *_, ill in world.plane.requests if not ill)
    in_tenths = [_count(world, first + n / 10, first + (n + 1) / 10) for n in range(30)]
    assert max(in_tenths[:5]) <= 110, in_tenths
    assert max(in_tenths) > 150, "in the end all that is allowed is used"


@pytest.mark.parametrize("processors", [2, 50])
def test_a_prober_that_dies_amid_its_probe_does_not_stop_the_others(processors):
    world = World(outage=30.0, processors=processors, answer=SILENT)
    died = []

    def kill():
        [*moments] = [(m, whose) for m, _, whose, _ in world.plane.requests if whose.alive]
        whose = moments[-1][1]
        whose.dies_at = world.simulation.now
        whose.crash()
        died.append(whose)

    with world.simulation.in_charge():
        world.store(20)
        world.begin()
        world.simulation.at(24.0, kill)
        drained = world.simulation.run(200.0, lambda: not world.backend.unfinished)
        assert drained, world.backend.stats()
        good = [m for m, _, whose, ill in world.plane.requests if not ill]
    assert died
    assert good[0] <= 30.0 + 2 * PROBE_PAUSE + 1.5


class _TimedPlane(Plane):
    """Counts a million events in a little room, and notes when later ones come."""

    def __init__(self, *args, **options) -> None:
        super().__init__(*args, **options)
        self.seen = bytearray(BACKLOG_JOBS * JOB_EVENTS)
        self.came: dict[int, float] = {}

    def _take(self, events, moment):
        seen, came = self.seen, self.came
        for number in map(int, events):
            if number < len(seen):
                seen[number] += 1
            else:
                came.setdefault(number, moment)


@pytest.mark.parametrize(
    ("processors", "ordering"),
    [(1, Ordering.NONE), (4, Ordering.NONE), (1, Ordering.FIFO)],
    ids=["one", "four", "fifo"],
)
def test_a_million_events_drain_and_new_ones_follow_at_once(processors, ordering, capsys):
    """First come, first served: what comes while the backlog drains waits for its end, and for nothing else."""
    world = World(outage=600.0, processors=processors, ordering=ordering, plane_type=_TimedPlane)
    simulation, plane = world.simulation, world.plane
    tracked: dict[int, float] = {}

    def track(until: float) -> None:
        """Ten events per second from each process."""
        for process in world.processes:
            number = len(plane.seen) + len(tracked)
            assert process.track(b"%d" % number)
            tracked[number] = simulation.now
        if simulation.now < until:
            simulation.at(simulation.now + 0.1, track, until)

    with simulation.in_charge():
        world.store(BACKLOG_JOBS, JOB_EVENTS)
        world.begin()
        simulation.at(world.outage, track, world.outage + 200.0)
        assert simulation.run(world.outage + 200.0, lambda: min(plane.seen[::JOB_EVENTS]) > 0)
        drained = simulation.now
        simulation.run(world.outage + 220.0)
    assert not world.backend.unfinished
    assert plane.seen == b"\x01" * len(plane.seen), "all of them, and none twice"
    assert not world.backend._entries.failed
    assert plane.came.keys() == tracked.keys()

    amid = [plane.came[number] - moment for number, moment in tracked.items() if moment < drained]
    late = max(plane.came[number] for number in tracked if tracked[number] < drained) - drained
    after = [plane.came[number] - moment for number, moment in tracked.items() if moment > drained + late]
    with capsys.disabled():
        print(
            f"\n{processors}, order {ordering}: a million drained {drained - world.outage:.1f} s after"
            f" the outage; {len(amid)} new events came meanwhile, waited {sorted(amid)[len(amid) // 2]:.1f} s (median)"
            f" and {max(amid):.1f} s (most), the last had gone {late:.1f} s later; of {len(after)} after that none"
            f" waited longer than {max(after):.2f} s",
            end=" ",
        )
    assert min(len(amid), len(after)) > 30
    # In order, the new batches go one by one, too: one for each second that the others took.
    assert late < 2.0 + (plane.latency[1] * (drained - world.outage) if ordering is Ordering.FIFO else 0.0)
    assert max(after) < 2.0


def test_fifty_processes_do_not_come_back_at_once(capsys):
    """All failed within a second. What they send then grows bit by bit to what they send all the time."""
    jobs = JobOpts(concurrency=2)
    world = World(outage=600.0, processors=50, jobs=jobs, latency=(0.4, 0.6), most_jobs=1)
    with world.simulation.in_charge():
        world.store(16_000)
        world.begin()
        world.simulation.run(world.outage + 60.0)
        assert world.backend.unfinished, "they are at it all the time"
    back = {}
    for moment, _, process, ill in world.plane.requests:
        if not ill:
            back.setdefault(process, moment - world.outage)
    assert len(back) == 50
    rate = Counter(int(moment - world.outage) for moment, *_ in world.plane.requests)
    probes = max(rate[second] for second in range(-300, 0))
    steady = sum(rate[second] for second in range(40, 60)) / 20
    peak = max(rate[second] for second in range(60))
    together = max(Counter(map(int, back.values())).values())
    with capsys.disabled():
        print(
            f"\nfifty processes: at most {probes} requests in a second of the outage; at most {together} came back"
            f" in one, the last after {max(back.values()):.1f} s; {peak} requests in a second at most,"
            f" {steady:.0f} all the time",
            end=" ",
        )
    assert probes <= 10
    assert together <= 25
    assert max(back.values()) < 10.0
    assert peak <= 1.1 * steady
