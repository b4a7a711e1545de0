"""
Order per user in virtual time: real dispatchers, packers and senders on a queue that leases by lanes, with outages, refusals,
retries, crashes and closes. No event overtakes an earlier one of its lane.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from eventspool._config import ClientOpts, JobOpts, Ordering
from eventspool._delivery import chains
from eventspool._delivery.sharing import deliver_together
from eventspool._delivery.verdict import DeliveryResult
from eventspool._envelope import open_envelope, seal
from eventspool._job import NewJob, lanes_of
from eventspool._routing import ALL_LANES
from laned_memory import KeepsLanes

from .plane import SILENT, Outage, Plane
from .simulator import Broken, Process, SimulatedBackend
from .virtual import Simulation

FAULTS_END = 20.0
SEEDS = 600
SHARE = 60


class LanedBackend(KeepsLanes, SimulatedBackend):
    """A queue that keeps the order per user, and outlives its processes."""


@dataclass
class OrderedPlane(Plane):
    """
    Notes when it took each event first.

    A process sends at once what it will send later, so a later call of another one may be about an earlier moment.
    """

    first: dict[bytes, tuple[float, int]] = field(default_factory=dict)

    def send(self, process, events, moment):
        before = {event: self.taken.get(event, 0) for event in events}
        answer = super().send(process, events, moment)
        for event in events:
            if self.taken.get(event, 0) > before[event]:
                taken = moment, len(self.first)
                self.first[event] = min(self.first.get(event, taken), taken)
        return answer


class Story:
    """What *seed* tells: who commits what, which processes live how long, what breaks."""

    def __init__(self, seed: int) -> None:
        self.simulation = Simulation(f"lanes {seed}")
        dice = self.simulation.dice
        pick, chance = dice.choice, dice.random
        self.backend = LanedBackend(self.simulation, durable=True)
        self.jobs = JobOpts(
            max_attempts=pick((2, 4, 10_000)), backoff_initial=0.1, backoff_max=pick((0.5, 5.0)),
            concurrency=pick((1, 2, 8)), visibility_timeout=pick((3.0, 12.0)),
        )  # fmt: skip
        self.client = ClientOpts(
            write_key="k", gzip=False, max_event_bytes=512, max_batch_bytes=pick((1_024, 460_800))
        )
        answers = (DeliveryResult(503), DeliveryResult(429, retry_after=1.0), SILENT)
        outages = [Outage(start := chance() * 15, start + chance() * 5, pick(answers), 0.5, takes=chance() < 0.3)
                   for _ in range(pick((0, 1, 2)))]  # fmt: skip
        self.poison: set[bytes] = set()
        self.plane = OrderedPlane(
            self.simulation, outages, limit=pick((2, 100)), flaky=pick((0.0, 0.05, 0.3)),
            latency=pick(((0.01, 0.1), (0.1, 2.0))), poison=self.poison,
        )  # fmt: skip
        self.committed: dict[str, list[bytes]] = {}
        self.processes: list[Process] = []
        self.met: Counter[str] = Counter()
        masks = pick(((1, 2, 4), (1, 2, 3, ALL_LANES), (ALL_LANES,), (1, 2, 4, 8, 16, 5, 9, 24)))
        for _ in range(pick((5, 40, 120))):
            self.simulation.at(chance() * FAULTS_END, self._commit, pick(masks), pick((1, 1, 3)))
        for _ in range(pick((1, 2, 4))):
            self._plan_life(chance())

    def _commit(self, lanes: int, events: int) -> None:
        dice = self.simulation.dice
        bare = self.simulation.new_job_id().rjust(28, "0")[:28]
        job_id = bare if lanes == ALL_LANES else f"{bare}-{lanes:04x}"
        names = [f"{job_id}.{n}".encode() for n in range(events)]
        if dice.random() < 0.03:
            self.poison.add(names[0])
        assert self.backend.commit([NewJob(job_id, seal(names, compress=False), events)]).accepted
        self.committed[job_id] = names
        for process in self.backend.processes:
            process.dispatcher.wake()
            process._look_for_wakeups()

    def _plan_life(self, begins: float) -> None:
        dice = self.simulation.dice
        self.simulation.at(begins, self._begin)
        if dice.random() < 0.6:
            self.simulation.at(begins + dice.random() * 15, self._end, dice.choice(("crash", "close")))

    def _begin(self) -> None:
        process = Process(
            self.simulation, self.backend, self.plane, self.client, self.jobs, ordering=Ordering.PER_USER
        )
        self.processes.append(process)

    def _end(self, how: str) -> None:
        living = [process for process in self.processes if process.alive]
        if living:
            self.met[how] += 1
            getattr(self.simulation.dice.choice(living), how)()

    def play(self) -> None:
        with self.simulation.in_charge():
            self.simulation.run(FAULTS_END + 6)
            if not any(process.alive for process in self.processes):
                self._begin()
            patience = (
                FAULTS_END + 12 + 40 * self.jobs.backoff_max + 3 * len(self.committed) * self.plane.latency[1]
            )
            if not self.simulation.run(patience + 60, lambda: not self.backend.unfinished):
                raise Broken(f"not drained: {self.backend.stats()}")
        self._check()
        for process in self.processes:
            self.met.update(process.shared)

    def _check(self) -> None:
        failed = {
            event
            for entry in self.backend._entries.failed.values()
            for event in open_envelope(entry.payload).split()
        }
        self.met["failed"] += len(failed)
        latest: dict[int, tuple[tuple[float, int], bytes]] = {}
        for job_id, events in self.committed.items():
            for event in events:
                if event not in self.plane.first:
                    if event not in failed:
                        raise Broken(f"{event!r} is lost")
                    continue
                moment = self.plane.first[event]
                for lane in range(16):
                    if not lanes_of(job_id) >> lane & 1:
                        continue
                    if event not in failed and lane in latest and latest[lane][0] > moment:
                        raise Broken(
                            f"{event!r} overtook {latest[lane][1]!r}: {moment} before {latest[lane][0]}"
                        )
                    latest[lane] = max(latest.get(lane, (moment, event)), (moment, event))


def _play(seed: int) -> Counter[str]:
    story = Story(seed)
    try:
        story.play()
    except Exception as error:
        raise AssertionError(f"story {seed}: {error!r}") from error
    return story.met


@pytest.mark.rotating("stories of lanes")
@pytest.mark.parametrize("first", range(0, SEEDS, SHARE))
def test_no_event_overtakes_an_earlier_one_of_its_lane_and_all_drains(first):
    met: Counter[str] = Counter()
    for seed in range(first, first + SHARE):
        met += _play(seed)
    assert (
        not {"crash", "close", "failed", "delivered together", "put off together", "cut apart"} - met.keys()
    )


def _play_all():
    for seed in range(SEEDS):
        _play(seed)


def _send_what_is_behind(patch):
    """Hand out a chain as if its jobs had nothing to do with each other."""
    patch.setattr(
        "eventspool._delivery.handout.chain_up",
        lambda jobs, to_send: ([[job] for job in jobs if job.id in to_send], []),
    )


def _send_what_is_left(patch):
    """Make a parcel of its own of the jobs of a chain for which there is no room."""
    from eventspool._delivery.parcel import Packer

    pack = Packer.pack_chains

    def pack_all(self, jobs, *, probe=False):
        parcels, left = pack(self, jobs, probe=probe)
        return parcels + pack(self, [[job] for job in left], probe=probe)[0], []

    patch.setattr(Packer, "pack_chains", pack_all)


def _go_on_behind_a_failure(patch):
    """Send the rest of a parcel although a job of it is to be tried again."""

    def deliver_each(jobs, transport, **options):
        for job in jobs:
            yield from deliver_together([job], transport, **options)

    patch.setattr("eventspool._delivery.sender.deliver_together", deliver_each)


@pytest.mark.parametrize(
    "plant",
    [_send_what_is_behind, _send_what_is_left, _go_on_behind_a_failure],
    ids=lambda plant: plant.__name__,
)
def test_a_planted_fault_is_found(plant, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(AssertionError, match="overtook"):
        _play_all()


def test_chains_are_made_of_what_shares_lanes():
    class Job:
        def __init__(self, name, lanes):
            self.id = f"{name:0>28}-{lanes:04x}"

    a, b, c, d, e = (Job(*each) for each in (("a", 1), ("b", 3), ("c", 4), ("d", 2), ("e", 8)))
    everything = {job.id for job in (a, b, c, d, e)}
    assert chains.chain_up([a, b, d, c, e], everything) == ([[a, b, d], [c], [e]], [])
    assert chains.chain_up([a, b, d, c, e], everything - {a.id}) == ([[c], [e]], [b, d])
    assert chains.chain_up([a, c, b, d], everything) == ([[a], [c]], [b, d]), (
        "what does not follow its chain waits"
    )
