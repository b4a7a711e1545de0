"""
The pipeline of one or several processes in virtual time: real buffers, flushers, ledgers, processors and breakers on a real
memory queue, without a thread.

Where a thread would block, the simulator asks for how long and comes back then; so one run takes milliseconds, and the same
seed is the same run. A sender's requests are answered at once, but what it has to say is heard when the answers would have
come. Nothing here decides anything that the library decides.
"""

from __future__ import annotations

from eventspool._backends.memory import MemoryBackend
from eventspool._buffering.buffer import Buffer
from eventspool._buffering.flusher import Flusher
from eventspool._buffering.ledger import Ledger
from eventspool._delivery.processor import DEFAULT_CONCURRENCY, Processor
from eventspool._exceptions import DeliveryError, QueueUnavailable

from .virtual import Broken, Line, OneTurn, Simulation, Switch

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
        listeners = [process for process in self.processes if process.processor._idle.is_set()]
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
        self.stored.update((job.id, job.payload) for job in jobs if job.id in self._jobs)
        return result

    @property
    def unfinished(self) -> int:
        return len(self._jobs)


class Process:
    """
    One life of a process that produces, delivers, or both.

    Args:
        simulation: Its time.
        backend: The queue.
        plane: Answers requests: ``plane.send(process, events, moment)`` returns a result and the seconds it took.
        client: ``ClientOpts``.
        jobs: ``JobOpts``.
        fifo: The queue keeps its order.
    """

    def __init__(
        self, simulation: Simulation, backend: SimulatedBackend, plane, client, jobs, *, fifo: bool
    ) -> None:
        self._simulation, self.backend, self._plane = simulation, backend, plane
        self.alive = True
        self.missed = False
        self.dies_at = float("inf")
        self.concurrency = 1 if fifo else (jobs.concurrency or DEFAULT_CONCURRENCY)
        self.told: dict[str, DeliveryError | None] = {}
        self.called: dict[str, object] = {}
        self.buffer = Buffer(client.max_internal_queue_size)
        self.buffer._wakeups = Line(lambda _: self._soon("flusher"))
        self.ledger = Ledger(self._call_back)
        self.flusher = Flusher(
            self.buffer, self.ledger, backend, client, on_stored=self._wake, on_lookup=self._learn
        )
        self.flusher._closing = OneTurn()
        self.processor = processor = Processor(
            backend, self, jobs, fifo=fifo, gzip=client.gzip, on_settled=self._settle,
            jitter=simulation.dice.random,
        )  # fmt: skip
        processor._spawn = lambda *_: None
        processor._inbox = Line(self._heard)
        processor._outbox = Line(None)
        processor._outbox.put = processor._outbox.append
        processor._held_up = _Later(self)
        processor._stopping = Switch(simulation)
        self._inbox, self._outbox, self._stopping = processor._inbox, processor._outbox, processor._stopping
        self._busy = 0
        self._due: dict[str, float] = {}
        self._waiter = None
        processor.start()
        backend.processes.append(self)
        self._soon("processor")

    # -- as seen from outside ------------------------------------------------------------------------------------------

    def track(self, event: bytes) -> bool:
        """Return whether *event* was accepted."""
        return self.alive and self.buffer.put(event)

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
        self._stopping.on_at = simulation.now + timeout - 0.3
        simulation.at(simulation.now + timeout - 0.3, self._stop)
        simulation.at(simulation.now + timeout, self._exit)
        self._stop_when_done()

    def _stop_when_done(self) -> None:
        if self._waiter is not None and self._waiter.done.is_set():
            self._stop()

    def _stop(self) -> None:
        if self.alive and not self._stopping.is_set():
            self.flusher.stop()
            self.processor.stop(0.0)

    def _exit(self) -> None:
        if not self.alive:
            return
        if self.processor.in_flight or not self.processor._stopped.is_set():
            self.processor.give_back()
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

    def _turn(self, who: str, moment: float) -> None:
        if not self.alive or self._due.get(who) != moment:
            return
        del self._due[who]
        now = self._simulation.now
        if who == "flusher":
            if self.flusher._closing.ended:
                return
            self.flusher._run()
            patience = self.flusher._patience()
            if self.buffer._wakeups:
                patience = 0.0
        else:
            if self.processor._stopped.is_set():
                return
            if now < self._stopping.asleep_until:
                self._soon(who, self._stopping.asleep_until)
                return
            processor = self.processor
            processor._turn()
            if self.missed and processor._idle.is_set():
                self.missed = False
                self.hear()
            self._send()
            self._stop_when_done()
            if self._stopping._on and not processor._in_flight:
                processor._leave()
                processor._stopped.set()
                if self._waiter is not None:
                    self._simulation.at(now, self._exit)
                return
            patience = 0.0 if self._inbox else processor._patience(now)
        if patience is not None:
            self._soon(who, now + max(patience, _TICK))

    def _heard(self, outcome) -> None:
        simulation = self._simulation
        if simulation.sending:
            simulation.at(simulation.now + simulation.elapsed, self._answered, outcome)
        else:
            self._inbox.append(outcome)
            self._soon("processor")

    def _answered(self, outcome) -> None:
        if self.alive and not self.processor._stopped.is_set():
            if outcome.error.startswith("sending met"):
                raise Broken(outcome.error)
            self._busy -= 1
            self._inbox.append(outcome)
            self._soon("processor")
            self._send()

    def hear(self) -> None:
        """Somebody produced: the listener says so to its processor, which idles."""
        self.processor._idle.clear()
        self._heard(None)

    def _wake(self) -> None:
        self.processor.wake()

    def _send(self) -> None:
        """Let the senders that are free take what is there."""
        simulation, processor, outbox = self._simulation, self.processor, self._outbox
        while outbox and self._busy < processor._senders:
            job = outbox.popleft()
            rest = list(outbox)
            outbox.clear()
            outbox.extend((job, None))  # the loop takes one and ends
            self._busy += 1
            simulation.sending, simulation.elapsed = True, 0.0
            try:
                processor._send()
            except Died:
                return
            finally:
                simulation.sending = False
                outbox.clear()
                outbox.extend(rest)

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

    def _settle(self, job_id, error, indices, payload) -> None:
        # A commit whose reply was lost may be repeated when the job was delivered already: then it is delivered again.
        if job_id in self.told and not self.backend.away:
            raise Broken(f"{job_id} was told of twice")
        self.told[job_id] = error
        settled = self.ledger.settle(job_id, error, indices)
        if not self.backend.durable:
            self.buffer.release(settled)

    def _learn(self, ids, standing) -> None:
        for job_id in ids:
            failure = standing.get(job_id)
            if job_id not in standing:
                self.ledger.settle(job_id)
            elif failure is not None:
                error = DeliveryError(failure.error, failure.reason, failure.status)
                self.ledger.settle(job_id, error, failure.indices)

    def _call_back(self, callback, error, message_id) -> None:
        if message_id in self.called:
            raise Broken(f"the callback of {message_id} was called twice")
        self.called[message_id] = error


class _Later:
    """The senders' word that they were told to stay away: it is heard with the answer that says so."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._on = False
        self.clear = lambda: setattr(self, "_on", False)

    def set(self) -> None:
        simulation = self._process._simulation
        simulation.at(simulation.now + simulation.elapsed, setattr, self, "_on", True)

    def is_set(self) -> bool:
        return self._on


__all__ = ["Broken", "Process", "SimulatedBackend", "Simulation"]
