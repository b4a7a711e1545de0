"""
A dispatcher with its threads: its own, those of up to ``concurrency`` senders and, where other processes may store jobs, that
of a listener.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from functools import partial
from typing import TYPE_CHECKING

from eventspool._delivery.dispatcher import Dispatcher
from eventspool._delivery.exchange import Exchange
from eventspool._delivery.listener import Listener
from eventspool._delivery.sender import Sender
from eventspool._fleet import ProcessorInfo
from eventspool._guest.log import Log
from eventspool._guest.loop import Loop
from eventspool._guest.thread import NoThread
from eventspool._guest.throttle import Throttle
from eventspool._retry import system_random as random

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool._backends import Backend
    from eventspool._claim import ClaimedJob
    from eventspool._config import JobOpts, Ordering
    from eventspool._delivery.attempt import Outcome
    from eventspool._delivery.parcel import Packer
    from eventspool._delivery.transport import Transport
    from eventspool._guest.loop import Repeated
    from eventspool._settling.settler import JobEnd

__all__ = ["Processor"]

_log = Log("eventspool")


class Processor(Dispatcher):
    """
    Delivers a queue's jobs.

    Args:
        backend: The queue, opened or not: an outage is waited out.
        transport: The way to the data plane.
        opts: How often and how patiently.
        ordering: Whether order is kept: then one request is under way at a time.
        packer: Says which jobs share a request.
        gzip: Compress bodies.
        is_paced: Calls of this process wait for commits.
        on_settled: Called with how each job ended that was delivered or given up.
        on_turn: Called before each turn.
        jitter: Draws from [0, 1).
    """

    def __init__(
        self,
        backend: Backend,
        transport: Transport,
        opts: JobOpts,
        *,
        ordering: Ordering,
        packer: Packer,
        gzip: bool,
        is_paced: bool = False,
        on_settled: Callable[[JobEnd], object],
        on_turn: Callable[[], object] = lambda: None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(
            backend,
            Exchange(),
            opts,
            ordering=ordering,
            packer=packer,
            on_settled=on_settled,
            on_dispatched=self._want_senders,
            is_paced=is_paced,
            jitter=jitter,
        )
        self.on_attempt: Callable[[ClaimedJob, Outcome, float, float], object] | None = None
        """Told of each attempt, on its sender's thread: when it began and ended, in seconds since the epoch."""
        self._make_sender = partial(Sender, self.exchange, transport, gzip=gzip, on_attempt=self._tell_of)
        self._listener = Listener(self.exchange, backend) if backend.shared else None
        self._on_turn = on_turn
        self._loops: dict[str, Loop] = {}
        self._instrumentation = Throttle(_log)

    def start(self) -> None:
        """
        Start the threads that do not run: for the first time, or because they have ended before their time.

        Raises:
            NoThread: Too few threads are to be had. May be called again.
        """
        if not self.senders:  # first: nothing is to be claimed that no sender can send
            self._add_sender()
        for number, sender in enumerate(list(self.senders)):
            self._run(f"sender-{number}", sender)
        self._run("processor", self, self._on_turn, self.recover)
        if self._listener is not None:
            self._run("listener", self._listener)

    def stop(self, timeout: float, *, at_once: bool = False) -> None:
        """
        Stop claiming, wait for requests under way, then give the leases back.

        Args:
            timeout: Longest wait, in seconds.
            at_once: Give the leases back in spite of requests under way: their outcomes are no longer heard.
        """
        self.end(at_once=at_once)
        if "processor" in self._loops:
            with contextlib.suppress(NoThread):
                self._loops["processor"].start()
            self.exchange.ended.wait(max(timeout, 0.0))
        else:  # it could not be started, so it does not end the first sender
            self.exchange.end(len(self.senders))

    def join(self, timeout: float) -> None:
        """Wait at most *timeout* seconds until every thread has ended."""
        deadline = time.monotonic() + timeout
        for loop in list(self._loops.values()):
            loop.join(deadline - time.monotonic())

    @property
    def is_alive(self) -> bool:
        """Some of its threads run."""
        return any(loop.is_alive for loop in list(self._loops.values()))

    @property
    def has_ended(self) -> bool:
        """It has recorded what became of its last jobs, and takes no more. So does one that never ran."""
        return self.exchange.ended.is_set() or "processor" not in self._loops

    def deals_with(self, job_id: str) -> bool:
        """Whether it holds this job, or has not told yet what became of it."""
        return job_id in self._in_flight or self._endings.deal_with(job_id)

    @property
    def in_flight(self) -> int:
        """Jobs that are leased to it."""
        return len(self._in_flight)

    @property
    def retried(self) -> int:
        """Attempts that ended in a retry."""
        return self._assessor.retried

    @property
    def is_paused(self) -> bool:
        """The data plane is down or refuses the write key; only probes are sent."""
        return self._breaker.is_open

    @property
    def pause_reason(self) -> str:
        """Why it is paused, as in ``ProcessorInfo``; "" while it is not."""
        return self._heartbeat.pause_reason if self._breaker.is_open else ""

    @property
    def is_key_refused(self) -> bool:
        """The data plane refuses the write key: nothing is delivered before an operator puts that right."""
        return self._assessor.is_key_refused

    @property
    def outage(self) -> str:
        """What the queue last answered to this processor, in one sentence, where that was an error; "" where it works."""
        return self._assessor.trouble if self._assessor.is_queue_away else ""

    def describe(self) -> ProcessorInfo:
        """Say how it is now, as its next heartbeat will."""
        unreadable = self._heartbeat.unreadable(time.monotonic())
        return ProcessorInfo(
            self.token,
            host=socket.gethostname(),
            pid=os.getpid(),
            seen_at=time.time(),
            in_flight=self.in_flight,
            sent=self.sent,
            retried=self.retried,
            paused=self.is_paused,
            last_error=self._heartbeat.last_error,
            pause_reason=self.pause_reason,
            unreadable=unreadable,
            reads_nothing=bool(unreadable) and self._heartbeat.reads_nothing,
        )

    @property
    def hindrance(self) -> str:
        """What keeps jobs from being delivered, in one sentence; "" where nothing is known to."""
        return self._obstacle or self._assessor.trouble

    def _run(
        self,
        name: str,
        repeated: Repeated,
        on_turn: Callable[[], object] = lambda: None,
        on_failure: Callable[[BaseException], object] = lambda _: None,
    ) -> None:
        if name not in self._loops:
            self._loops[name] = Loop(name, repeated, on_turn=on_turn, on_failure=on_failure)
        try:
            self._loops[name].start()
        except NoThread:
            if not self._loops[name].is_started:
                del self._loops[name]
            raise

    def _want_senders(self, senders: int) -> None:
        for _ in range(min(senders, self.concurrency) - len(self.senders)):
            self._add_sender()

    def _add_sender(self) -> None:
        senders = self.senders
        senders.append(self._make_sender())
        try:
            self._run(f"sender-{len(senders) - 1}", senders[-1])
        except NoThread:
            senders.pop()
            if not senders:  # otherwise those that run are enough
                raise

    def _tell_of(self, job: ClaimedJob, outcome: Outcome, began_at: float, ended_at: float) -> None:
        try:
            if (on_attempt := self.on_attempt) is not None:
                on_attempt(job, outcome, began_at, ended_at)
        except BaseException as error:  # noqa: BLE001 - whatever an instrumentation raises: it must not stop delivery
            self._instrumentation.warning("the instrumentation raised %s", type(error).__name__)
