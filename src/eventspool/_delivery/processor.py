"""
The loop that empties the queue: claim, send, and end each lease by what the data plane said.

One thread, the *processor*, owns every decision and all queue traffic but the commits; up to ``concurrency``
*senders* only POST. They talk through two queues of plain values, so there is no lock in the loop and nothing
shared to get wrong.

    backend --claim--> processor --job--> sender --POST--> data plane
       ^                   |  ^                |
       +--ack, settle------+  +----outcome-----+

What was delivered is never sent again by this process, even when the queue cannot be told: the
acknowledgement is kept and repeated until it is recorded.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eventspool._delivery.attempt import Outcome, deliver
from eventspool._delivery.breaker import Breaker, Permission
from eventspool._envelope import count_events
from eventspool._exceptions import DeliveryError, QueueError, QueueUnavailable
from eventspool._heartbeat import Heartbeat
from eventspool._job import ClaimedJob, Failure, Settlement, SettlementKind, new_token
from eventspool._retry import compute_backoff, is_exhausted
from eventspool._retry import system_random as random
from eventspool._throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._backends import Backend
    from eventspool._config import JobOpts
    from eventspool._delivery.transport import Transport

__all__ = ["Processor"]

_log = logging.getLogger("eventspool")

DEFAULT_CONCURRENCY = 8
QUEUE_LEASE = 10.0
"""Seconds for which a first-in-first-out queue is leased as a whole."""
HEARTBEAT_INTERVAL = 2.0
"""Seconds between two notes to whoever watches a shared queue."""
_REPAIR_INTERVAL = 60.0
_LONGEST_IDLE = 5.0
_ACK_PAUSE = 0.005
"""Seconds that an acknowledgement waits for others while requests are under way; a crash meanwhile repeats their batches."""
_LISTEN_PAUSE = 0.02
"""Seconds without a job after which the listener is sent to wait for one: between two jobs it would only be in the way."""
_OWN_PACE = 0.5
"""Seconds after a wake-up by its own process for which nobody listens: under load the next one comes sooner."""
_NEVER = float("inf")


@dataclass(slots=True)
class _InFlight:
    job: ClaimedJob
    probe: bool


@dataclass(slots=True)
class _Pending:
    """Ends of leases that the queue has not recorded yet."""

    acks: list[str] = field(default_factory=list)
    settlements: dict[str, Settlement] = field(default_factory=dict)


class Processor:
    """
    Delivers a queue's jobs.

    Args:
        backend: The queue, opened or not: an outage is waited out.
        transport: The way to the data plane.
        opts: How often and how patiently.
        fifo: Keep order: one request at a time.
        gzip: Compress bodies.
        on_settled: Called as ``(job_id, error, indices, payload)`` for each job delivered or given up.
        jitter: Draws from [0, 1).
    """

    def __init__(
        self,
        backend: Backend,
        transport: Transport,
        opts: JobOpts,
        *,
        fifo: bool,
        gzip: bool,
        on_settled: Callable[[str, DeliveryError | None, tuple[int, ...] | None, bytes | None], object],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._backend = backend
        self._transport = transport
        self._opts = opts
        self._gzip = gzip
        self._on_settled = on_settled
        self._jitter = jitter
        self._concurrency = 1 if fifo else (opts.concurrency or DEFAULT_CONCURRENCY)
        self._capacity = 1 if fifo else 2 * self._concurrency  # in order: nothing is fetched ahead
        self._token = new_token()
        lease = min(opts.visibility_timeout, QUEUE_LEASE) if fifo else opts.visibility_timeout
        self._renew_interval = min(lease, 30.0) / 3
        if backend.shared:
            self._renew_interval = min(self._renew_interval, HEARTBEAT_INTERVAL)
        self._heartbeat = Heartbeat(socket.gethostname(), os.getpid(), time.time())
        self._breaker = Breaker(backoff_initial=opts.backoff_initial, backoff_max=opts.backoff_max)
        self._inbox: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[ClaimedJob | None] = queue.SimpleQueue()
        self._in_flight: dict[str, _InFlight] = {}
        self._pending = _Pending()
        self._threads: dict[str, threading.Thread] = {}
        self._senders = 0
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._idle = threading.Event()
        self._held_up = threading.Event()  # told to stay away: begin nothing before the breaker has opened
        self._claim_at = 0.0
        self._ack_by = 0.0
        self._listen_at = _NEVER
        self._woken_at = -_NEVER
        self._renew_at = 0.0
        self._repair_at = 0.0
        self._trouble = 0
        self._unheard = False  # a claim may have leased jobs to us that we do not know of
        self._throttle = Throttle(_log)
        self.retried = 0
        """Attempts that ended in a retry."""
        self.sent = 0
        """Jobs that this processor delivered, whoever produced them."""
        self.on_attempt: Callable[[ClaimedJob, Outcome, float, float], object] | None = None
        """Told of each attempt, on its sender's thread: when it began and ended, in seconds since the epoch."""

    # -- from outside ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the threads that do not run yet. Raises ``RuntimeError`` where none is to be had, and may be called again."""
        if not self._senders:  # first: nothing is to be claimed that nobody can send
            self._add_sender()
        self._spawn("processor", self._run)
        if self._backend.shared:
            self._spawn("listener", self._listen)

    def wake(self) -> None:
        """Say that there is something to claim."""
        self._woken_at = time.monotonic()
        self._inbox.put(None)

    def stop(self, timeout: float) -> None:
        """Stop claiming, wait for requests under way, then give the leases back. Takes at most *timeout* seconds."""
        self._stopping.set()
        self._inbox.put(None)
        self._backend.interrupt()
        if "processor" in self._threads:
            self._stopped.wait(max(timeout, 0.0))
        else:  # it could not be started, so nobody else ends the first sender
            self._outbox.put(None)

    @property
    def is_current(self) -> bool:
        """Whether this is one of its threads."""
        return threading.current_thread() in list(self._threads.values())

    def join(self, timeout: float) -> None:
        """Wait at most *timeout* seconds until every thread has ended."""
        deadline = time.monotonic() + timeout
        for thread in list(self._threads.values()):
            if thread.is_alive():  # one that is not started yet cannot be joined
                thread.join(max(deadline - time.monotonic(), 0.0))

    def give_back(self) -> None:
        """Give every lease back without waiting for the requests that hold them. Their outcomes are no longer heard."""
        try:
            self._backend.leave(self._token)
        except QueueError:
            _log.warning("leases could not be given back; they run out by themselves")

    @property
    def in_flight(self) -> int:
        """Jobs that are leased to this processor."""
        return len(self._in_flight)

    @property
    def is_paused(self) -> bool:
        """The data plane is down or refuses the write key; only probes are sent."""
        return self._breaker.is_open

    # -- threads -------------------------------------------------------------------------------------------------------

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        if name in self._threads:
            return
        thread = threading.Thread(target=target, name=f"eventspool-{name}", daemon=True)
        self._threads[name] = thread  # first: starting may be interrupted once the thread is there
        try:
            thread.start()
        except RuntimeError:
            del self._threads[name]
            raise

    def _add_sender(self) -> None:
        if self._senders < self._concurrency:
            try:
                self._spawn(f"sender-{self._senders}", self._send)
            except RuntimeError:  # none is to be had: the senders that run are enough
                if not self._senders:
                    raise
                return
            self._senders += 1

    def _send(self) -> None:
        while (job := self._outbox.get()) is not None:
            if self._held_up.is_set():
                self._inbox.put(Outcome(job.id, counts=False, interrupted=True, progress=job.progress))
                continue
            began_at = time.time()
            outcome = deliver(job, self._transport, gzip=self._gzip, stopping=self._stopping)
            if self.on_attempt is not None:
                self._tell_of(job, outcome, began_at)
            if outcome.retry_after or outcome.unauthorized:
                self._held_up.set()
            self._inbox.put(outcome)

    def _tell_of(self, job: ClaimedJob, outcome: Outcome, began_at: float) -> None:
        try:
            if (on_attempt := self.on_attempt) is not None:
                on_attempt(job, outcome, began_at, time.time())
        except Exception as error:  # noqa: BLE001 - an instrumentation must not stop delivery
            self._throttle.warning("the instrumentation raised %s", type(error).__name__)

    def _listen(self) -> None:
        """While the loop is idle, wait for the queue to say that somebody produced."""
        while not self._stopping.is_set():
            self._idle.wait()
            try:
                woken = self._backend.wait(_LONGEST_IDLE)
            except QueueError:
                woken = False
                self._stopping.wait(1.0)  # the loop meets the same outage and reports it
            if woken:
                self._idle.clear()
                self._inbox.put(None)

    def _run(self) -> None:
        try:
            while not (self._stopping.is_set() and not self._in_flight):
                self._turn()
            self._leave()
        finally:
            self._stopped.set()
            self._idle.set()
            for _ in range(self._senders):
                self._outbox.put(None)

    def _turn(self) -> None:
        try:
            self._step()
        except QueueError as error:
            self._wait_out(error)
        except Exception as error:  # noqa: BLE001 - a bug must not stop delivery for ever
            _log.error("the processor met %s and goes on", type(error).__name__)
            self._stopping.wait(1.0)
            self._claim_at = 0.0

    def _leave(self) -> None:
        try:
            self._record()
        except QueueError:
            _log.warning("the queue could not be told of the last deliveries; they will be repeated")
        self.give_back()

    def _wait_out(self, error: QueueError) -> None:
        self._trouble += 1
        self._heartbeat.last_error = str(error)
        pause = compute_backoff(self._trouble, 0.2, 5.0, 0.5 + self._jitter() / 2)
        self._claim_at = self._renew_at = time.monotonic() + pause
        self._throttle.warning("the queue is not available (%s); nothing is lost, trying again", error)
        if self._stopping.is_set() or self._pending.acks or self._pending.settlements:
            self._stopping.wait(min(pause, 0.5))

    # -- the loop --------------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """One turn: collect outcomes, record them, keep leases alive, claim more."""
        self._collect(self._patience(time.monotonic()))
        now = time.monotonic()
        claims = not self._stopping.is_set() and now >= self._claim_at
        if claims or not self._in_flight or self._pending.settlements or now >= self._ack_by:
            self._record()
        if now >= self._renew_at:
            self._renew(now)
        if claims:
            self._claim(now)
        if now >= self._listen_at:
            self._listen_at = _NEVER
            self._idle.set()

    def _patience(self, now: float) -> float:
        """Return how long the next turn may wait for an outcome or a wake-up."""
        until = min(self._renew_at, self._listen_at, self._ack_by if self._pending.acks else _NEVER)
        if len(self._in_flight) < self._capacity and not self._stopping.is_set():
            until = min(
                until, max(self._claim_at, self._breaker.opens_until if self._breaker.is_open else 0.0)
            )
        return min(max(until - now, 0.0), _LONGEST_IDLE)

    def _collect(self, patience: float) -> None:
        try:
            outcome = self._inbox.get(timeout=patience) if patience > 0 else self._inbox.get_nowait()
            while True:
                if outcome is None:
                    if not self._trouble:
                        self._claim_at = 0.0
                else:
                    self._take(outcome)
                outcome = self._inbox.get_nowait()
        except queue.Empty:
            pass

    def _claim(self, now: float) -> None:
        if self._unheard:
            if self._in_flight:  # they would be given back, too
                self._claim_at = now + _LONGEST_IDLE  # the last of them brings us back
                return
            self._backend.leave(self._token)
            self._unheard = False
            self._renew_at = now  # we are still here
        permission = self._breaker.permission(now)
        room = self._capacity - len(self._in_flight)
        if permission is Permission.HOLD:
            # Whatever is under way decides what comes next; otherwise it is time.
            self._claim_at = now + _LONGEST_IDLE if self._in_flight else self._breaker.opens_until
            return
        probe = permission is Permission.PROBE
        if room <= 0:
            return
        if probe and self._in_flight:
            self._claim_at = now + _LONGEST_IDLE  # what is under way brings us back
            return
        try:
            claim = self._backend.claim(
                self._token,
                limit=1 if probe else room,
                visibility_timeout=self._opts.visibility_timeout,
                probe=probe,
            )
        except QueueUnavailable:  # after any other error the attempt counts: a job may be what it comes from
            self._unheard = True
            raise
        self._trouble = 0
        self._listen_at = _NEVER
        if claim.jobs:
            self._idle.clear()
            if probe:
                self._breaker.begin_probe()
            for job in claim.jobs:
                self._dispatch(job, probe=probe)
            if len(self._in_flight) > self._senders:
                self._add_sender()
            if probe or len(claim.jobs) == room or claim.wait is None or self._pending.settlements:
                self._claim_at = now  # there may be more, or something to record
                return
        self._claim_at = now + min(_LONGEST_IDLE, _LONGEST_IDLE if claim.wait is None else claim.wait + 0.001)
        if self._backend.shared:
            self._listen_at = max(now + _LISTEN_PAUSE, self._woken_at + _OWN_PACE)

    def _dispatch(self, job: ClaimedJob, *, probe: bool) -> None:
        if job.id in self._in_flight:  # its lease had run out under us, and we have just got it back
            return
        age = time.time() - job.created_at
        if job.stalled and is_exhausted(job.attempts, self._opts.max_attempts, age, self._opts.retry_for):
            # It never came back from whoever held it, again and again: perhaps it kills its processor.
            failure = Failure(
                "stalled", f"{job.attempts} attempts did not come back", count_events(job.payload or b"")
            )
            self._pending.settlements[job.id] = Settlement(job.id, SettlementKind.FAIL, failure=failure)
            if probe:
                self._breaker.cancel_probe()
            return
        self._in_flight[job.id] = _InFlight(job, probe)
        self._outbox.put(job)

    # -- outcomes ----------------------------------------------------------------------------------------------------------

    def _take(self, outcome: Outcome) -> None:
        """Turn a sender's outcome into the end of a lease. The breaker learns of it, too."""
        flight = self._in_flight.pop(outcome.job_id)
        now = time.monotonic()
        if self._unheard and not self._in_flight:
            self._claim_at = min(self._claim_at, now)
        self._heartbeat.add(outcome.requests)
        self._judge(outcome, flight.probe, now)
        if outcome.delivered:
            self.sent += 1
            if not self._pending.acks:
                self._ack_by = now + _ACK_PAUSE
            self._pending.acks.append(outcome.job_id)
            self._on_settled(outcome.job_id, None, None, None)
            return
        job = flight.job
        if outcome.failure is not None:
            # What the data plane said of it may quote events: that stays with the batch.
            self._heartbeat.last_error = f"a batch failed: {outcome.failure.reason}"
            self._pending.settlements[job.id] = Settlement(
                job.id, SettlementKind.FAIL, failure=outcome.failure
            )
            return
        self._heartbeat.last_error = outcome.error or self._heartbeat.last_error
        attempts = job.attempts + 1
        if not outcome.counts:
            kind, delay = SettlementKind.RELEASE, 0.0
        elif is_exhausted(
            attempts, self._opts.max_attempts, time.time() - job.created_at, self._opts.retry_for
        ):
            self._pending.settlements[job.id] = Settlement(
                job.id, SettlementKind.FAIL, failure=outcome.give_up(attempts)
            )
            return
        else:
            kind = SettlementKind.RETRY
            self.retried += 1
            delay = compute_backoff(
                attempts,
                self._opts.backoff_initial,
                self._opts.backoff_max,
                self._jitter(),
                outcome.retry_after,
            )
        self._pending.settlements[job.id] = Settlement(job.id, kind, delay, outcome.progress)

    def _judge(self, outcome: Outcome, probe: bool, now: float) -> None:  # noqa: FBT001
        was_open = self._breaker.is_open
        if outcome.reason == "encrypted":
            self._throttle.error("%s: check encryption_key. It is kept", outcome.error)
        if outcome.interrupted:
            if probe:
                self._breaker.cancel_probe()
        elif outcome.answered:
            self._breaker.record_success(now, probe=probe)
            if was_open and not self._breaker.is_open:
                _log.info("the data plane works again")
        else:
            self._breaker.record_failure(
                now,
                self._jitter(),
                probe=probe,
                retry_after=outcome.retry_after,
                unauthorized=outcome.unauthorized,
            )
            if outcome.unauthorized:
                self._throttle.error(
                    "delivery is PAUSED: %s; check the write key. Every event is kept", outcome.error
                )
            elif self._breaker.is_open:
                self._throttle.warning("delivery is held up: %s; probing until it works again", outcome.error)
        if self._breaker.is_open:
            self._withdraw()
        if was_open or self._breaker.is_open:
            self._claim_at = 0.0

    def _withdraw(self) -> None:
        """Take back jobs that no sender has begun: while the breaker is open they must not burn an attempt."""
        try:
            while (job := self._outbox.get_nowait()) is not None:
                flight = self._in_flight.pop(job.id)
                if flight.probe:
                    self._breaker.cancel_probe()
                self._pending.settlements[job.id] = Settlement(
                    job.id, SettlementKind.RELEASE, 0.0, job.progress
                )
        except queue.Empty:
            self._held_up.clear()  # what comes now is a probe

    # -- queue traffic -------------------------------------------------------------------------------------------------------

    def _record(self) -> None:
        """Tell the queue how leases ended. What it cannot be told now is kept for the next turn."""
        pending = self._pending
        if pending.acks:
            self._backend.ack(pending.acks)
            pending.acks = []
        if pending.settlements:
            settlements = list(pending.settlements.values())
            applied = self._backend.settle(self._token, settlements)
            pending.settlements = {}
            for settlement, done in zip(settlements, applied, strict=True):
                failure = settlement.failure
                if done and failure is not None:
                    error = DeliveryError(failure.error, failure.reason, failure.status)
                    self._on_settled(settlement.job_id, error, failure.indices, failure.payload)
            self._claim_at = 0.0

    def _renew(self, now: float) -> None:
        # A lease that was lost needs no word to its sender: a stale holder can acknowledge, and nothing else.
        held, note = list(self._in_flight), ""
        if self._backend.shared:
            note = self._heartbeat.note(
                in_flight=len(held), sent=self.sent, retried=self.retried, paused=self.is_paused
            )
        self._backend.renew(self._token, held, visibility_timeout=self._opts.visibility_timeout, note=note)
        self._trouble = 0
        self._renew_at = now + self._renew_interval
        if now >= self._repair_at:
            self._repair_at = now + _REPAIR_INTERVAL
            found = self._backend.repair()
            if found:
                _log.warning("%d stored batches stood in no index; they are queued again", found)
