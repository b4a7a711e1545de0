"""
The pipeline of one or several processes in virtual time: real buffers, flushers, ledgers, processors and breakers on a real
memory queue, without a thread.

Where a thread would block, the simulator asks for how long and comes back then; so one run takes milliseconds, and the same
seed is the same run. A sender's requests are answered at once, but what it has to say is heard when the answers would have
come. Nothing here decides anything that the library decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eventspool._backends.memory import MemoryBackend
from eventspool._buffering.buffer import Buffer
from eventspool._buffering.flusher import Flusher
from eventspool._delivery.dispatcher import Dispatcher
from eventspool._delivery.exchange import Exchange
from eventspool._delivery.parcel import MOST_JOBS, Packer
from eventspool._delivery.sender import Sender
from eventspool._exceptions import DeliveryError, QueueUnavailable
from eventspool._settling.ledger import Ledger
from eventspool._settling.reporting import Reporter
from eventspool._settling.settler import JobEnd, Settler

from .virtual import Broken, Simulation

if TYPE_CHECKING:
    from eventspool._config import Ordering

_TICK = 1e-6


class Died(BaseException):
    """The process of this sender is gone."""


class _Bell:
    """Tells processors that idle of what was queued, as their listeners would."""

    def __init__(self, rung) -> None:
        self.ring = rung

    def heard(self) -> None:
        pass

    interrupt = heard


class SimulatedBackend(MemoryBackend):
    """A memory queue that outlives its processes where *durable*, and is away at times: before it acts, or after."""

    def __init__(self, simulation: Simulation, *, durable: bool, away=(), **options) -> None:
        super().__init__(clock=simulation.time, **options)
        self.durable = self.shared = durable
        self.processes: list[Process] = []
        self.refused = 0
        self.stored: dict[str, bytes] = {}
        """Whatever was ever committed."""
        self._bell = _Bell(self._rung)
        self._simulation, self.away = simulation, away
        if away:
            for name in ("commit", "claim", "ack", "settle", "renew", "lookup"):
                setattr(self, name, self._shaky(getattr(self, name)))

    def _rung(self) -> None:
        listeners = [process for process in self.processes if process.exchange.listening.is_set()]
        for process in self.processes:
            process.missed = process not in listeners  # its listener hears of it when it listens again
        if len(listeners) > 1:
            self._simulation.dice.shuffle(listeners)
        for process in listeners:
            process.hear()

    def _shaky(self, method):
        def call(*args, **options):
            now = self._simulation.now
            if not any(start <= now < end for start, end in self.away):
                return method(*args, **options)
            self.refused += 1
            if self._simulation.dice.random() < 0.3:
                method(*args, **options)
            raise QueueUnavailable("away")

        return call

    def commit(self, jobs):
        result = super().commit(jobs)
        self.stored.update((job.id, job.payload) for job in jobs if job.id in self._entries.jobs)
        return result

    @property
    def unfinished(self) -> int:
        return len(self._entries.jobs)


class Process:
    """
    One life of a process that produces, delivers, or both.

    Args:
        simulation: Its time.
        backend: The queue.
        plane: Answers requests: ``plane.send(process, events, moment)`` returns a result and the seconds it took.
        client: ``ClientOpts``.
        jobs: ``JobOpts``.
        ordering: What the queue keeps.
        most_jobs: Most jobs of one request.
    """

    def __init__(
        self,
        simulation: Simulation,
        backend: SimulatedBackend,
        plane,
        client,
        jobs,
        *,
        ordering: Ordering,
        most_jobs: int = MOST_JOBS,
    ) -> None:
        self._simulation = self.simulation = simulation
        self.backend, self._plane = backend, plane
        self.alive = True
        self.missed = False
        self.dies_at = float("inf")
        self.told: dict[str, DeliveryError | None] = {}
        self.called: dict[str, object] = {}
        self.shared: set[str] = set()
        """How requests ended that several jobs shared."""
        self.buffer = Buffer(client.max_internal_queue_size, self._count_outside)
        self.ledger = Ledger(self._call_back)
        self.settler = Settler(self.ledger, Reporter(None, None), None)
        self.flusher = Flusher(
            self.buffer,
            self.ledger,
            backend,
            client,
            on_stored=lambda: self.dispatcher.wake(),
            on_lookup=self.settler.learn,
        )
        packer = Packer(client.max_batch_bytes, most_jobs)
        if simulation.dice.random() < 0.5:  # it is as if the process had delivered before
            while packer.jobs_for(1) < min(most_jobs, 16):
                packer.note_answer(["j"] * packer.jobs_for(1))
        self.exchange = _Exchange(self)
        self.dispatcher = Dispatcher(
            backend, self.exchange, jobs, ordering=ordering, on_settled=self._settle,
            packer=packer,
            on_dispatched=self._want_senders, jitter=simulation.dice.random,
        )  # fmt: skip
        self.concurrency = self.dispatcher.concurrency
        self.stops_at = float("inf")
        self._repeated = {"flusher": self.flusher, "dispatcher": self.dispatcher}
        self._gzip = client.gzip
        self._busy = 0
        self._due: dict[str, float] = {}
        self._waiter = None
        self._want_senders(1)
        backend.processes.append(self)
        self._soon("dispatcher")

    # -- as seen from outside ------------------------------------------------------------------------------------------

    def track(self, event: bytes) -> bool:
        """Return whether *event* was accepted."""
        accepted = self.alive and self.buffer.put(event)
        self._look_for_wakeups()
        return accepted

    def crash(self) -> None:
        self.alive, self.dies_at = False, self._simulation.now
        self.backend.processes.remove(self)

    def close(self, timeout: float = 5.0) -> None:
        """As a pipeline closes, in steps: store, deliver, give back, account for what is left."""
        if not self.alive or self._waiter is not None:
            return
        simulation = self._simulation
        self.buffer.close()
        self.flusher.hasten(self.buffer.accepted)
        self._waiter = self.ledger.open_waiter(self.buffer.accepted)
        self.stops_at = simulation.now + timeout - 0.3
        simulation.at(self.stops_at, self._stop)
        simulation.at(simulation.now + timeout, self._exit)
        self._stop_when_done()
        self._look_for_wakeups()

    def _stop_when_done(self) -> None:
        if self._waiter is not None and self._waiter.is_over:
            self._stop()

    def _stop(self) -> None:
        if self.alive and not self.exchange.is_stopping:
            self.flusher.stop()
            self.dispatcher.end()
            self._look_for_wakeups()

    def _exit(self) -> None:
        if not self.alive:
            return
        if not self.exchange.ended.is_set():
            self.dispatcher.end(at_once=True)
            self.dispatcher.turn(self._simulation.now)
        self.crash()
        self.flusher.abandon_buffer()
        self.ledger.lose(stored_too=not self.backend.durable, error=DeliveryError("closed", "lost"))

    @property
    def is_settled(self) -> bool:
        return not self.alive or not (self.buffer.waiting or self.ledger.open_jobs)

    # -- turns -----------------------------------------------------------------------------------------------------------

    def _soon(self, who: str, moment: float = 0.0) -> None:
        """Have *who* take a turn at *moment*, or now, unless it will sooner."""
        moment = max(moment, self._simulation.now)
        if moment < self._due.get(who, float("inf")):
            self._due[who] = moment
            self._simulation.at(moment, self._turn, who, moment)

    def _look_for_wakeups(self) -> None:
        """Have what was woken take a turn now, as its loop would."""
        for who, repeated in self._repeated.items():
            if repeated.wait(0.0):
                self._soon(who)

    def _turn(self, who: str, moment: float) -> None:
        if not self.alive or who not in self._repeated or self._due.get(who) != moment:
            return
        del self._due[who]
        now, repeated = self._simulation.now, self._repeated[who]
        if repeated.turn(now):
            self._soon(who, now + max(repeated.patience(now), _TICK))
        else:
            del self._repeated[who]
            if who == "dispatcher" and self._waiter is not None:
                self._simulation.at(now, self._exit)
        if self.missed and self.exchange.listening.is_set():
            self.missed = False
            self.hear()
        self._send()
        self._stop_when_done()
        self._look_for_wakeups()

    def answered(self, report) -> None:
        """Let the dispatcher hear of *report*: the answers have come by now."""
        if self.alive and not self.exchange.ended.is_set():
            for outcome in report.outcomes:
                if outcome.error.startswith("sending met"):
                    raise Broken(outcome.error)
            if report.requests and not report.outcomes:
                self.shared.add("cut apart")
            elif len(report.outcomes) > 1 and report.requests:
                self.shared.add("put off together" if report.outcomes[0].companions else "delivered together")
            self.exchange.report_now(report)
            self._look_for_wakeups()

    def _finish(self) -> None:
        """Let a sender go on to its next parcel."""
        if self.alive and not self.exchange.ended.is_set():
            self._busy -= 1
            self._send()
            self._look_for_wakeups()

    def hear(self) -> None:
        """Another process has stored a job: the listener says so to the dispatcher, which idles."""
        self.exchange.rouse()
        self._look_for_wakeups()

    def _want_senders(self, senders: int) -> None:
        for _ in range(min(senders, self.dispatcher.concurrency) - len(self.dispatcher.senders)):
            self.dispatcher.senders.append(Sender(self.exchange, self, gzip=self._gzip))

    def _send(self) -> None:
        """Let the senders that are free take what is there. None keeps anything between two parcels."""
        simulation, senders = self._simulation, self.dispatcher.senders
        while self._busy < len(senders) and (sender := senders[self._busy]).wait(0.0):
            self._busy += 1
            simulation.sending, simulation.elapsed = True, 0.0
            try:
                sender.turn(simulation.now)
                simulation.at(simulation.now + simulation.elapsed, self._finish)
            except Died:
                return
            finally:
                simulation.sending = False

    # -- the transport -----------------------------------------------------------------------------------------------------

    def send(self, body: bytes, *, gzip: bool):
        """Answer a request of this process's."""
        simulation = self._simulation
        moment = simulation.now + simulation.elapsed
        if moment >= self.dies_at:
            raise Died
        start, end = body.index(b"[") + 1, body.rindex(b'],"sentAt"')
        result, seconds = self._plane.send(self, body[start:end].split(b",\n"), moment)
        simulation.elapsed += seconds
        return result

    # -- the account -------------------------------------------------------------------------------------------------------

    def _settle(self, end: JobEnd) -> None:
        # A commit whose reply was lost may be repeated when the job was delivered already: then it is delivered again.
        if end.job_id in self.told and not self.backend.away:
            raise Broken(f"{end.job_id} was told of twice")
        self.told[end.job_id] = end.error
        self.settler.settle(end)
        self.buffer.refresh()

    def _count_outside(self) -> int:
        return self.flusher.count_held() if self.backend.durable else self.ledger.open_events

    def _call_back(self, calls) -> None:
        for call in calls:
            call()

    def call_back(self, error, message_id) -> None:
        if message_id in self.called:
            raise Broken(f"the callback of {message_id} was called twice")
        self.called[message_id] = error


class _Exchange(Exchange):
    """What a sender says is heard when the answers that it got would have come."""

    def __init__(self, process: Process) -> None:
        super().__init__()
        self._process, self._simulation = process, process.simulation

    @property
    def is_stopping(self) -> bool:
        simulation = self._simulation
        amid = simulation.sending and simulation.now + simulation.elapsed >= self._process.stops_at
        return amid or super().is_stopping

    def report(self, report) -> None:
        simulation = self._simulation
        simulation.at(simulation.now + simulation.elapsed, self._process.answered, report)

    def report_now(self, report) -> None:
        super().report(report)


__all__ = ["Broken", "Process", "SimulatedBackend", "Simulation"]
