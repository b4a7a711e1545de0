"""
Every order in which two workers, two jobs and the clock can act on the reference queue, with crashes anywhere.

Each step of a worker is atomic and may come at any time: claim, send, acknowledge or settle, renew, stop, crash,
restart. So may the end of a lease or of a wait for a retry. Breadth first, so what is found is shortest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eventspool._config import Ordering
from eventspool._job import SettlementKind, lanes_of

from .reference import Model

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = ("x", "y")
MAX_ATTEMPTS = 3
LEASE = 1.0


class Worker(NamedTuple):
    """One processor: where it is with its job. Without a token it is dead."""

    token: str
    phase: str = "idle"  # then: held, taken or refused (by the data plane), stalled
    job: str = ""
    attempts: int = 0


class Seen(NamedTuple):
    """What an observer knows of a job who sees all, but not the queue's own account."""

    delivered: bool = False
    leases: int = 0  # that were not given back
    overtook: bool = False  # it was sent while an earlier job was neither delivered nor given up
    live: frozenset[str] = frozenset()


class State(NamedTuple):
    """All of it at one instant. *faults* are those still to come."""

    jobs: tuple
    holder: tuple[str, float]
    workers: tuple[Worker, ...]
    seen: tuple[Seen, ...]
    faults: int


class BrokenInvariantError(AssertionError):
    """An invariant is broken; the message tells the steps to it."""


class Search:
    """
    Explores the protocol.

    Args:
        ordering: What the queue keeps.
        faults: Crashes, stops, refusals and lost answers, in all.
        model: The queue: the reference, or one with a planted fault.
        ack_first: A planted fault of the workers: acknowledge, then send.
    """

    def __init__(
        self, *, ordering: Ordering, faults: int, model: type[Model] = Model, ack_first: bool = False
    ) -> None:
        self._ordering, self._faults, self._make, self._ack_first = ordering, faults, model, ack_first
        self._index = {job_id: n for n, job_id in enumerate(JOBS)}

    def run(self) -> tuple[int, int]:
        """Return the numbers of states and of ends. Raises ``BrokenInvariantError``."""
        model = self._make(ordering=self._ordering)
        model.commit([(job_id, 1, 1) for job_id in JOBS])
        workers = (Worker("a"), Worker("b"))
        first = self._freeze(model, workers, (Seen(),) * len(JOBS), self._faults)
        came: dict[State, tuple[State | None, str]] = {first: (None, "")}
        before: dict[State, list[State]] = {first: []}
        queue, ends = [first], []
        for state in queue:  # grows meanwhile
            broken = self._judge(state)
            if broken:
                raise BrokenInvariantError(f"{broken}: {' > '.join(self._path(came, state))}")
            if self._is_end(state):
                ends.append(state)
            for action, following in self._steps(state):
                if following not in came:
                    came[following] = (state, action)
                    before[following] = []
                    queue.append(following)
                before[following].append(state)
        self._check_that_all_end(came, before, ends)
        return len(came), len(ends)

    def _check_that_all_end(self, came, before, ends) -> None:
        ending, queue = set(ends), list(ends)
        for state in queue:
            for earlier in before[state]:
                if earlier not in ending:
                    ending.add(earlier)
                    queue.append(earlier)
        for state in came:
            if state not in ending:
                raise BrokenInvariantError(
                    f"no end can be reached any more: {' > '.join(self._path(came, state))}"
                )

    @staticmethod
    def _path(came, state) -> list[str]:
        path: list[str] = []
        while (step := came[state])[0] is not None:
            path.append(step[1])
            state = step[0]
        return path[::-1]

    # -- what must hold ------------------------------------------------------------------------------------------------

    def _judge(self, state: State) -> str:
        jobs = dict(state.jobs)
        for job_id, seen in zip(JOBS, state.seen, strict=True):
            job = jobs.get(job_id)
            if len(seen.live) > 1:
                return f"{job_id} is under two live leases"
            if seen.overtook and self._ordering is Ordering.PER_USER:
                return f"{job_id} overtook an earlier job of its lanes"
            if job is None and not seen.delivered and not self._is_acked_first(state, job_id):
                return f"{job_id} is lost"
            if job is not None and job.attempts != seen.leases - bool(job.token):
                return f"{job_id} counts {job.attempts} attempts of {seen.leases} leases"
            if job is not None and job.failed and job.attempts < MAX_ATTEMPTS:
                return f"{job_id} was given up after {job.attempts} attempts"
        return ""

    def _is_acked_first(self, state: State, job_id: str) -> bool:
        """With that fault planted, nothing is lost before its sender is."""
        return self._ack_first and any(w.token and w.job == job_id for w in state.workers)

    def _is_end(self, state: State) -> bool:
        return all(job.failed for _, job in state.jobs) and all(w.phase == "idle" for w in state.workers)

    # -- what can happen -----------------------------------------------------------------------------------------------

    def _steps(self, state: State) -> Iterator[tuple[str, State]]:
        for job_id, job in state.jobs:
            if job.due and not job.failed:
                model, seen = self._thaw(state), list(state.seen)
                model.jobs[job_id] = job._replace(due=0.0)
                if job.token:  # otherwise it is a wait for a retry that ends
                    self._mark(seen, job_id, live=frozenset())
                yield f"time of {job_id}", self._freeze(model, state.workers, seen, state.faults)
        if state.holder[1]:
            model = self._thaw(state)
            model.holder_until = 0.0
            seen = [each._replace(live=frozenset()) for each in state.seen]
            yield "time of the queue", self._freeze(model, state.workers, seen, state.faults)
        for number, worker in enumerate(state.workers):
            for action, after, model, seen, cost in self._acts(state, worker, number):
                workers = list(state.workers)
                workers[number] = after
                frozen = self._freeze(model, workers, seen, state.faults - cost)
                yield f"{'AB'[number]} {action}", frozen

    def _acts(self, state: State, worker: Worker, number: int):
        """Yield (action, the worker after it, queue, what was seen, faults that it cost)."""
        token, phase, job_id, attempts = worker
        model, seen = self._thaw(state), list(state.seen)
        if not token:
            yield "restarts", Worker("ab"[number]), model, seen, 0
            return
        if state.faults:
            yield "crashes", Worker(""), *self._bury(state, token), 1
        idle = Worker(token)
        if phase == "idle":
            yield from self._claims(state, token)
        elif phase == "held":
            delivered, acked = list(seen), self._thaw(state)
            self._mark(delivered, job_id, delivered=True, overtook=self._overtakes(state, job_id))
            if self._ack_first and job_id in acked.jobs:
                acked.ack([job_id])
                self._mark(seen, job_id, live=frozenset())
                yield "acks", worker, acked, seen, 0
            else:
                yield "sends", worker._replace(phase="taken"), model, delivered, 0
            if state.faults:
                yield "loses the answer", worker._replace(phase="refused"), model, delivered, 1
                yield "is refused", worker._replace(phase="refused"), model, seen, 1
                yield from self._stops(state, token)
            if model.holds(token, job_id) and model.jobs[job_id].due == 0:
                renewed = self._thaw(state)
                assert renewed.renew(token, [job_id], LEASE) == set()
                live = list(state.seen)
                self._mark(live, job_id, live=frozenset({token}))
                yield "renews", worker, renewed, live, 0
        elif phase == "taken":
            model.ack([job_id])
            self._mark(seen, job_id, live=frozenset())
            yield "acks", idle, model, seen, 0
        else:
            gives_up = phase == "stalled" or attempts + 1 >= MAX_ATTEMPTS
            kind = SettlementKind.FAIL if gives_up else SettlementKind.RETRY
            if model.settle(token, job_id, kind, delay=LEASE):
                self._mark(seen, job_id, live=seen[self._index[job_id]].live - {token})
            yield f"settles ({kind.value})", idle, model, seen, 0

    def _overtakes(self, state: State, job_id: str) -> bool:
        """Say whether this would be the first delivery of a job, before an earlier one that shares its lanes has ended."""
        jobs, seen = dict(state.jobs), dict(zip(JOBS, state.seen, strict=True))
        if self._ordering is not Ordering.PER_USER or seen[job_id].delivered or job_id not in jobs:
            return seen[job_id].overtook
        earlier = [i for i, job in jobs.items() if job.place < jobs[job_id].place and not job.failed]
        return any(not seen[i].delivered and lanes_of(i) & lanes_of(job_id) for i in earlier)

    def _bury(self, state: State, token: str) -> tuple[Model, list[Seen]]:
        """Name a dead worker's token anew wherever it stands: the one that restarts has another."""
        model, dead = self._thaw(state), f"late {token}"
        for job_id, job in state.jobs:
            if job.token == token:
                model.jobs[job_id] = job._replace(token=dead)
        model.holder = dead if model.holder == token else model.holder
        names = {token: dead}
        return model, [s._replace(live=frozenset(names.get(t, t) for t in s.live)) for s in state.seen]

    def _claims(self, state: State, token: str):
        offered = self._thaw(state).offer(token, len(JOBS), LEASE)
        for job_id in offered or [None]:
            model, seen = self._thaw(state), list(state.seen)
            model.offer(token, 1, LEASE)
            if job_id is None:  # it may have taken the queue all the same
                yield "finds nothing", Worker(token), model, seen, 0
            elif model.rank(job_id) == model.rank(offered[0]):
                [(attempts, _, stalled)] = model.lease(token, [job_id], LEASE)
                old = seen[self._index[job_id]]
                leases = old.leases + 1
                if (
                    attempts > MAX_ATTEMPTS
                ):  # one more or less makes no difference then, but states without end
                    attempts, leases = attempts - 1, leases - 1
                    model.jobs[job_id] = model.jobs[job_id]._replace(attempts=attempts)
                self._mark(seen, job_id, leases=leases, live=old.live | {token})
                phase = "stalled" if stalled and attempts >= MAX_ATTEMPTS else "held"
                yield f"claims {job_id}", Worker(token, phase, job_id, attempts), model, seen, 0

    def _stops(self, state: State, token: str):
        model, seen = self._thaw(state), list(state.seen)
        for job_id in [i for i in JOBS if model.holds(token, i)]:
            old = seen[self._index[job_id]]
            self._mark(seen, job_id, leases=old.leases - 1, live=old.live - {token})
        model.leave(token)
        yield "stops", Worker(""), model, seen, 1

    def _mark(self, seen: list[Seen], job_id: str, **changes) -> None:
        index = self._index[job_id]
        seen[index] = seen[index]._replace(**changes)

    # -- models, frozen ------------------------------------------------------------------------------------------------

    def _thaw(self, state: State) -> Model:
        model = self._make(ordering=self._ordering)
        model.jobs = dict(state.jobs)
        model.holder, model.holder_until = state.holder
        return model

    @staticmethod
    def _freeze(model: Model, workers, seen, faults: int) -> State:
        jobs = tuple(sorted(model.jobs.items()))
        return State(jobs, (model.holder, model.holder_until), tuple(workers), tuple(seen), faults)
