"""
The loop that empties the queue: claim, hand out, and end each lease by what the data plane said.

It owns every decision, and all queue traffic but the commits; senders only POST.

    backend --claim--> dispatcher --parcel--> sender --POST--> data plane
       ^                   |  ^                  |
       +--ack, settle------+  +------report------+

It is a plain object that knows no thread (``_guest.loop.Repeated``). A turn may be cut off at any line, by a ``MemoryError``
say: it is then repeated, and what was leased and is with no sender is handed out again (``recover``).
"""

from __future__ import annotations

import os
import queue
import socket
import time
from typing import TYPE_CHECKING

from eventspool._config import Ordering
from eventspool._delivery.agenda import NEVER, Agenda
from eventspool._delivery.assessor import Assessor
from eventspool._delivery.breaker import Breaker, Permission
from eventspool._delivery.diary import Diary
from eventspool._delivery.endings import Endings
from eventspool._delivery.fleet import Fleet
from eventspool._delivery.handout import Handout
from eventspool._delivery.leases import Leases
from eventspool._delivery.pace import Pace
from eventspool._delivery.upkeep import Upkeep
from eventspool._exceptions import QueueError
from eventspool._guest.log import Log
from eventspool._heartbeat import Heartbeat
from eventspool._retry import system_random as random

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._backends import Backend
    from eventspool._config import JobOpts
    from eventspool._delivery.exchange import Exchange
    from eventspool._delivery.parcel import Packer
    from eventspool._delivery.sender import Sender
    from eventspool._delivery.sharing import Report
    from eventspool._settling.settler import JobEnd

__all__ = ["Dispatcher"]

_log = Log("eventspool")

DEFAULT_CONCURRENCY = 8
_LONGEST_IDLE = 5.0
_ACK_PAUSE = 0.005
"""Seconds that an acknowledgement waits for others while requests are under way; a crash meanwhile repeats their batches."""
_LISTEN_PAUSE = 0.02
"""Seconds without a job after which the listener is sent to wait for one: between two jobs it would only be in the way."""
_OWN_PACE = 0.5
"""Seconds after a wake-up by its own process in which the listener is not sent: under load the next wake-up comes sooner."""
_DURABLE_PACE = 0.05
"""
Seconds from a claim that has emptied the queue to the next one, while calls of this process wait for commits. Each round of
claim, request and acknowledgement takes the interpreter from them several times, for one job as for many. A flush ends it.
"""


class Dispatcher:
    """
    Hands out a queue's jobs, and records what becomes of them.

    Args:
        backend: The queue, opened or not: an outage is waited out.
        exchange: The way to the senders and to the listener.
        opts: How often and how patiently.
        ordering: Which order is kept. In strict order one request is under way at a time.
        packer: Says which jobs share a request.
        on_settled: Called with how each job ended that was delivered or given up.
        is_paced: Calls of this process wait for commits, so that its jobs come one by one: claim them in groups.
        on_dispatched: Called with how many parcels are under way: that many senders are wanted.
        jitter: Draws from [0, 1).
    """

    def __init__(
        self,
        backend: Backend,
        exchange: Exchange,
        opts: JobOpts,
        *,
        ordering: Ordering,
        packer: Packer,
        on_settled: Callable[[JobEnd], object],
        on_dispatched: Callable[[int], object],
        is_paced: bool = False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.exchange = exchange
        self.senders: list[Sender] = []
        """What takes its jobs: as many as its owner could make of those that are wanted."""
        self.concurrency = 1 if ordering is Ordering.FIFO else (opts.concurrency or DEFAULT_CONCURRENCY)
        """Most requests under way at a time."""
        self.sent = 0
        """Jobs that were delivered, whichever process produced them."""
        self._backend = backend
        self._on_dispatched = on_dispatched
        self._agenda = Agenda()
        self._breaker = Breaker(backoff_initial=opts.backoff_initial, backoff_max=opts.backoff_max)
        self._heartbeat = Heartbeat(socket.gethostname(), os.getpid(), time.time())
        self._leases = Leases(backend, opts.visibility_timeout, ordering, opts.max_events_per_second)
        self._fleet = Fleet(backend, self._leases.token, opts, self._breaker)
        self._assessor = Assessor(opts, self._breaker, self._fleet, packer, self._heartbeat, jitter)
        self._packer = packer
        self._is_held_up = False  # jobs wait in the queue behind others of their lanes
        self._pace = Pace(
            self.concurrency, fetches_ahead=ordering is not Ordering.FIFO, starts_slowly=backend.shared
        )
        self.token = self._leases.token
        """The name under which jobs are leased."""
        self._endings = Endings(backend, self.token, on_settled)
        parts = (self._pace, self._assessor, self._breaker, self._endings, self._agenda)
        self._handout = Handout(exchange, packer, *parts, keeps_lanes=ordering is Ordering.PER_USER)
        self._in_flight = self._handout.in_flight
        self._upkeep = Upkeep(
            backend, self._leases, self._assessor, self._heartbeat, self._agenda, Diary(backend, jitter)
        )
        self._heard: list[Report | None] = []  # what was taken out of the exchange, until it is dealt with
        self._woken_at = -NEVER
        self._is_paced = is_paced
        self._leaves_at_once = False
        self._obstacle = ""

    # -- for any thread ------------------------------------------------------------------------------------------------

    def wake(self, *, at_once: bool = False) -> None:
        """Say that this process has stored a job; *at_once*: one whose delivery a call waits for."""
        self._woken_at = now = time.monotonic()
        if self._agenda.heeds(now, at_once=at_once):
            self.exchange.wake()

    def end(self, *, at_once: bool = False) -> None:
        """
        Claim no more, and end when no request is under way.

        Args:
            at_once: Give the leases back in spite of requests under way: their outcomes are no longer heard.
        """
        self._leaves_at_once = self._leaves_at_once or at_once
        self.exchange.stop()
        self._backend.interrupt()

    # -- what its loop repeats -----------------------------------------------------------------------------------------

    def patience(self, now: float) -> float:
        """Return how many seconds it has nothing to do, unless a report or a wake-up comes."""
        if self._is_to_leave or self._heard:
            return 0.0
        claim_from = NEVER
        if self._in_flight.parcels < self._pace.capacity and not self.exchange.is_stopping:
            claim_from = self._breaker.opens_until if self._breaker.is_open else 0.0
        due = min(self._agenda.earliest(claim_from), self._endings.given_up.due_at)
        return min(max(due - now, 0.0), _LONGEST_IDLE)

    def wait(self, patience: float | None) -> bool:
        """Wait for a report or a wake-up, and keep it for the turn. Return whether one came."""
        reports = self.exchange.reports
        try:
            self._heard.append(reports.get(timeout=patience) if patience != 0 else reports.get_nowait())
        except queue.Empty:
            return False
        return True

    def turn(self, now: float) -> bool:
        """Collect reports, record them, keep leases alive, claim more; at the end, leave."""
        try:
            self._step(now)
        except QueueError as error:
            has_news = bool(self._endings.acks or self._endings.settlements)
            self._agenda.wait_out(time.monotonic(), self._assessor.note_outage(error), has_news=has_news)
        if not self._is_to_leave:
            return True
        self._leave()
        self.exchange.end(len(self.senders))
        return False

    def recover(self, error: BaseException) -> None:
        """After a turn that was cut off, hand out again what is in flight and with no sender."""
        _log.error("the processor met %s and goes on", type(error).__name__)
        self._agenda.claim = 0.0
        for _ in self.exchange.take_back():
            pass
        known = {job.id for sender in list(self.senders) if (parcel := sender.parcel) for job in parcel.jobs}
        while self.wait(0.0):
            pass
        known.update(outcome.job_id for report in self._heard if report for outcome in report.outcomes)
        self._handout.recover(known)

    @property
    def _is_to_leave(self) -> bool:
        return self.exchange.is_stopping and (self._leaves_at_once or not self._in_flight)

    def _step(self, now: float) -> None:
        self._collect()
        self._endings.given_up.tell(now)
        agenda, stopping = self._agenda, self.exchange.is_stopping
        if now < agenda.resume:
            return
        claims = not stopping and now >= agenda.claim
        if self._fleet.has_news:
            self._fleet.tell(now)  # first: others are to stay away from a data plane that is down
            if self._breaker.is_followed:
                self._hold_back(now)
        if claims or not self._in_flight or self._endings.are_urgent or now >= agenda.record:
            self._record()
        if now >= agenda.renew:
            self._renew(now)
        if claims:
            self._claim(now)
        if now >= agenda.listen:
            agenda.listen = NEVER
            self.exchange.listening.set()

    def _leave(self) -> None:
        try:
            self._collect()  # what was heard while the last step took its time
            self._record()
        except QueueError:
            _log.warning("the queue could not be told of the last deliveries; they will be repeated")
        self._endings.given_up.tell(time.monotonic(), all_of_it=True)
        self._leases.leave()

    # -- jobs ------------------------------------------------------------------------------------------------------------

    def _claim(self, now: float) -> None:
        agenda = self._agenda
        if self._leases.are_unheard:
            if self._in_flight:  # the lease of what is under way would go, too: wait for the last of them
                agenda.claim = now + _LONGEST_IDLE
                return
            self._leases.forget_unheard()
            agenda.renew = now  # we are still here
        permission = self._breaker.permission(now)
        room = self._pace.capacity - self._in_flight.parcels
        if permission is Permission.HOLD:
            # What is under way decides what comes next; where nothing is, time does.
            agenda.claim = now + _LONGEST_IDLE if self._in_flight else self._breaker.opens_until
            return
        is_probing = permission is Permission.PROBE
        if room <= 0:
            return
        if is_probing and self._in_flight:
            agenda.claim = now + _LONGEST_IDLE  # what becomes of what is under way brings us back
            return
        probe = is_probing and not self._breaker.is_followed  # else the queue says whose the probe is
        # First: a wake-up that comes amid the claim, behind its look into the queue, must not be missed.
        agenda.paced_until = -NEVER
        limit = 1 if probe else self._packer.jobs_for(room)
        claim = self._leases.claim(
            limit,
            self._packer.bytes_for(room),
            probe=probe,
            chain=self._packer.jobs_for(1),
            chain_bytes=self._packer.bytes_for(1),
        )
        self._assessor.note_queue_works()
        self._obstacle, self._is_held_up = claim.obstacle, claim.held_up
        probe = self._fleet.heed(claim, now) or probe
        agenda.listen = NEVER
        if claim.is_held_back:
            self._heartbeat.last_error = claim.obstacle
            self._leases.are_unheard = False
            self._hold_back(now)
            return
        if claim.jobs:
            self.exchange.listening.clear()
            if probe:
                self._breaker.begin_probe()
            self._handout.send(claim.jobs, room, probe=probe)
            self._leases.are_unheard = False
            self._on_dispatched(self._in_flight.parcels)
            is_full = probe or len(claim.jobs) == limit or bool(self._endings.settlements)
            # The claim may have been too early for what is waited for.
            is_full = is_full or agenda.hastened_at >= now
            if self._is_paced and not is_full and now - self._woken_at < _DURABLE_PACE:
                agenda.paced_until = agenda.claim = now + _DURABLE_PACE
                return
            if is_full or claim.wait is None:
                agenda.claim = now  # there may be more, or something to record
                return
        self._leases.are_unheard = False
        agenda.claim = now + min(_LONGEST_IDLE, _LONGEST_IDLE if claim.wait is None else claim.wait + 0.001)
        if self._backend.shared:
            agenda.listen = max(now + _LISTEN_PAUSE, self._woken_at + _OWN_PACE)

    def _hold_back(self, now: float) -> None:
        """Give back what no sender has begun, and ask again when the queue has said. Nothing is listened for meanwhile."""
        self._pace.restart()
        self._handout.take_back()
        self._agenda.claim = min(self._breaker.opens_until + 0.001, now + _LONGEST_IDLE)

    def _collect(self) -> None:
        while self._heard or self.wait(0.0):
            report = self._heard[0]
            if report is not None:
                self._take(report)
            elif not self._assessor.is_queue_away:
                self._agenda.claim = self._agenda.paced_until
            del self._heard[0]

    def _take(self, report: Report) -> None:
        """Turn a sender's report into the ends of leases. The breaker learns of it, too. Bears repeating."""
        now = time.monotonic()
        self._assessor.hear(report)
        self._pace.note(report.requests, now)
        # Those that are in flight no more were sent again by a sender that was cut off.
        outcomes = [outcome for outcome in report.outcomes if outcome.job_id in self._in_flight]
        if not outcomes:
            if report.outcomes:  # the breaker learns nothing of them: nothing else lets the senders go on
                self.exchange.go_on()
            return
        was_open = self._breaker.is_open
        flights = [self._in_flight[outcome.job_id] for outcome in outcomes]
        counts = self._assessor.judge(outcomes, flights, now)
        if outcomes[0].throttled or outcomes[0].retry_after:
            self._pace.note_throttled(now)
        if outcomes[0].answered and not self._breaker.is_open:
            self._pace.note_answer(report.requests, len(outcomes), now)
        if self._breaker.is_open:
            self._pace.restart()
            self._handout.take_back()  # else they would burn an attempt
            self.exchange.go_on()  # what is handed out from now on is a probe
        if was_open or self._breaker.is_open:
            self._agenda.claim = 0.0
        draw = self._assessor.draw()
        for outcome, flight in zip(outcomes, flights, strict=True):
            if outcome.delivered:
                if not self._endings.acks:
                    self._agenda.record = now + _ACK_PAUSE
                self._endings.add_delivery(outcome.job_id, outcome.purged)
                self._heartbeat.add_delivery(flight.job.created_at, time.time())
            else:
                self._endings.add(self._assessor.settle(flight.job, outcome, counts=counts, draw=draw))
            self._in_flight.land(outcome.job_id)
            self.sent += outcome.delivered
        if self._leases.are_unheard and not self._in_flight:
            self._agenda.claim = min(self._agenda.claim, now)

    # -- queue traffic -------------------------------------------------------------------------------------------------------

    def _record(self) -> None:
        """Tell the queue how leases ended. What it cannot be told now is kept for the next turn."""
        # What was delivered held up others of its lanes, perhaps.
        lets_go = self._is_held_up and bool(self._endings.acks)
        self._endings.acknowledge()
        self._agenda.record = NEVER
        if self._endings.settle() or lets_go:
            self._agenda.claim = 0.0
        self._endings.tell()

    def _renew(self, now: float) -> None:
        if self._pace.has_stalled(now):
            self._handout.take_back()
        self._upkeep.turn(now, list(self._in_flight), sent=self.sent, paused=self._breaker.is_open)
