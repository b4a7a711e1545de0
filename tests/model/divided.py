"""
A queue that keeps the order per user, as producers see it: divided into partitions, of which some are full, away, or being
divided anew. It stores what it is given, and checks with each job that it was made by the rules.

And a producer in virtual time: the real buffer, flusher and ledger, cut off at chosen lines.
"""

from __future__ import annotations

import linecache
import sys
from itertools import count
from pathlib import Path

from eventspool import _buffering, _settling
from eventspool._buffering.buffer import Buffer
from eventspool._buffering.flusher import Flusher
from eventspool._config import ClientOpts
from eventspool._envelope import open_envelope
from eventspool._events.owner import owner_of
from eventspool._exceptions import QueueUnavailable
from eventspool._job import CommitResult, Failure, NewJob, lanes_of
from eventspool._routing import Routing
from eventspool._settling.ledger import Ledger

from .virtual import Broken, Simulation

FILES = {str(path) for each in (_buffering, _settling) for path in Path(each.__file__).parent.glob("*.py")}


class DividedQueue:
    """
    Keeps the order per user over partitions that come and go.

    Args:
        dice: Decides whether a commit that raises has stored before.
        partitions: How many there are at first.
    """

    durable = shared = True

    def __init__(self, dice, partitions) -> None:
        self.routing = Routing(1, partitions)
        self.published = self.routing
        """What producers are told; behind ``routing`` while a division is under way."""
        self.jobs: dict[str, NewJob] = {}
        self.events: dict[bytes, tuple[int, int]] = {}
        """Of each event the generation, and the place among all that were stored."""
        self.away: set[int] = set()
        self.is_away = self.is_unknown = False
        self.room: dict[int, int] = {}
        self.sizes: list[int] = []
        self._dice, self._places = dice, count()

    def open(self) -> None:
        pass

    def find_routing(self) -> Routing:
        if self.is_unknown:
            raise QueueUnavailable("away")
        return self.published

    def divide(self, partitions) -> None:
        self.routing = Routing(self.routing.generation + 1, partitions)
        self.away.clear()  # a partition that is away cannot be sealed

    def commit(self, jobs):
        if self.is_away:
            if self._dice.random() < 0.5:
                self._commit(jobs)
            raise QueueUnavailable("away")
        return self._commit(jobs)

    def _commit(self, jobs):
        accepted = duplicates = 0
        rejected, stale, away = [], [], []
        for job in jobs:
            if job.route is None:
                raise Broken("a job without a partition was committed")
            partition = job.route.partition
            if partition in self.away:
                away.append(job.id)
                if (
                    self._dice.random() < 0.3
                    and job.route.generation == self.routing.generation
                    and len(away) == 1
                ):
                    self._keep(job)
            elif job.id in self.jobs:
                duplicates += 1
            elif job.route.generation != self.routing.generation:
                stale.append(job.id)
            elif rejected or not self.room.get(partition, 1):
                rejected.append(job.id)
            else:
                self._keep(job)
                accepted += 1
        if len(away) == len(jobs) and self._dice.random() < 0.5:
            raise QueueUnavailable("a partition is away")
        return CommitResult(
            accepted, duplicates, tuple(rejected), epoch="e", stale=tuple(stale), away=tuple(away)
        )

    def take_over(self, job) -> bool:
        """Store a job that comes out of the spill file, cut as it belongs now. Return whether all of it could be stored."""
        if job.id in self.jobs:
            return True
        events = open_envelope(job.payload).split()
        places = [self.routing.place(owner_of(event)) for event in events]
        if any(partition in self.away or not self.room.get(partition, 1) for partition, _ in places):
            return False
        for event in events:
            if event in self.events:
                raise Broken(f"{event!r} was stored twice")
            self.events[event] = (self.routing.generation, next(self._places))
        self.jobs[job.id] = job
        return True

    def _keep(self, job) -> None:
        if job.id in self.jobs:
            return
        events = open_envelope(job.payload).split()
        for event in events:
            partition, lane = self.routing.place(owner_of(event))
            if partition != job.route.partition or not lanes_of(job.id) >> lane & 1:
                raise Broken(f"{event!r} is in the wrong job")
            if event in self.events:
                raise Broken(f"{event!r} was stored twice")
            self.events[event] = (self.routing.generation, next(self._places))
        if len(events) != job.events:
            raise Broken("a job says a wrong number of events")
        self.jobs[job.id] = job
        self.sizes.append(job.events)

    def lookup(self, ids, *, epoch=""):
        return dict.fromkeys((i for i in ids if i in self.jobs), None)


class SpillFile:
    """
    What takes jobs while the queue is away, and its mover, without a file or a thread.

    Args:
        queue: Where the jobs belong.
    """

    def __init__(self, queue: DividedQueue) -> None:
        self.is_active = self.is_away = self.is_broken = self.is_full = False
        self.jobs: list[NewJob] = []
        self.events: set[bytes] = set()
        self.ledger = None
        self._queue = queue

    def look(self, now) -> None:
        pass

    hasten = stop = lambda self: None

    def commit(self, jobs, *, begin):
        if not (begin or self.is_active):
            return None
        taken = [] if self.is_full else jobs
        self.is_active = True
        known = {job.id for job in self.jobs}
        self.jobs += [job for job in taken if job.id not in known]
        for job in taken:
            self.events.update(open_envelope(job.payload).split())
        self.ledger.note_spilled([job.id for job in taken])
        return CommitResult(len(taken), rejected=() if taken else tuple(job.id for job in jobs))

    def move(self) -> None:
        """Move what the queue takes, in order. What was made for an older division is cut anew, as the real mover does."""
        held_up = set()
        for job in list(self.jobs):
            if self._queue.is_away:
                self.is_away = True
                return
            self.is_away = False
            if held_up and (
                job.route is None or any(job.route.generation != each.generation for each in held_up)
            ):
                return
            if job.route in held_up:
                continue
            if self._queue.take_over(job):
                self.jobs.remove(job)
                self.ledger.note_moved([job.id])
            elif job.route is None:
                return
            else:
                held_up.add(job.route)
        if not self.jobs:
            self.is_active = False
            self.ledger.note_moved()


class CutOff:
    """A trace function that raises at the *number*-th line that runs of the producer's files."""

    def __init__(self, number) -> None:
        self.left = number
        self.place = None

    def __call__(self, frame, event, _):
        code = frame.f_code
        if code.co_filename not in FILES:
            return None
        if event == "line":
            self.left -= 1
            line = linecache.getline(code.co_filename, frame.f_lineno).strip()
            if self.left <= 0 and self.place is None and not line.startswith("with "):
                self.place = (code.co_filename, frame.f_lineno)
                raise MemoryError
        return self


class Producer:
    """
    A client's flow of events into *queue*, without a thread.

    Args:
        simulation: Its time.
        queue: Where events go.
        spill: Where they go while that is away.
        options: Of the client.
    """

    def __init__(
        self, simulation: Simulation, queue: DividedQueue, spill: SpillFile | None = None, **options
    ) -> None:
        self.simulation, self.queue, self.spill = simulation, queue, spill
        self.accepted: list[bytes] = []
        self.called: dict[bytes, int] = {}
        self.confirmed: set[bytes] = set()
        self.ends: list[tuple[object, int, bool]] = []
        self.problems: list[str] = []
        opts = ClientOpts(write_key="k", **options)
        self.ledger = Ledger(lambda calls: [call() for call in calls])
        if spill is not None:
            spill.ledger = self.ledger
        self.buffer = Buffer(opts.max_internal_queue_size, lambda: self.flusher.count_held())
        self.flusher = Flusher(
            self.buffer,
            self.ledger,
            queue,
            opts,
            spill=spill,
            on_stored=lambda: None,
            on_lookup=self._learn,
        )
        self._numbers = count()

    def track(self, user, *, callback=False, durable=False) -> bool:
        event = b'{"type":"track","userId":"u%d","messageId":"m%d"}' % (user, number := next(self._numbers))
        text = event
        if callback or durable:
            told = (lambda error, _: self._call_back(text, error)) if callback else None
            stored = (lambda is_stored: self._confirm(text, is_stored)) if durable else None
            event = self.ledger.watch(event, told, f"m{number}", stored)
        if not self.buffer.put(event):
            return False
        self.accepted.append(text)
        if callback:
            self.called[text] = 0
        return True

    def _call_back(self, event, error) -> None:
        self.called[event] += 1
        if not self._is_stored(event) or error is not None:
            self.problems.append(f"{event!r} was told of too early, or wrongly: {error}")

    def _confirm(self, event, is_stored) -> None:
        if is_stored and not self._is_stored(event):
            self.problems.append(f"{event!r} was confirmed before it was stored")
        self.confirmed.add(event)

    def _is_stored(self, event) -> bool:
        return event in self.queue.events or (self.spill is not None and event in self.spill.events)

    def flush(self, *, until_stored: bool) -> None:
        cut, events = self.buffer.mark(), list(self.accepted)
        waiter = self.ledger.open_waiter(cut, until_stored=until_stored)
        self.ends.append((waiter, len(events), until_stored))

        def check() -> None:
            if missing := [event for event in events if not self._is_stored(event)]:
                self.problems.append(f"a flush ended before {missing} were stored")

        waiter.on_end = check
        if waiter.is_over:
            check()
        self.flusher.hasten(cut)

    def turn(self, cut_off: CutOff | None = None) -> None:
        now = self.simulation.now
        before = sys.gettrace()
        sys.settrace(cut_off or before)
        try:
            self.flusher.patience(now)
            self.flusher.turn(now)
        except MemoryError:
            pass
        finally:
            sys.settrace(before)

    def deliver(self, share: float = 1.0) -> None:
        """Have another process deliver some of the stored jobs, and learn of it."""
        for job_id in list(self.queue.jobs):
            if self.simulation.dice.random() < share:
                self.ledger.settle(job_id)

    def _learn(self, ids, standing) -> None:
        for job_id in ids:
            if isinstance(standing.get(job_id), Failure):
                raise Broken("nothing fails here")

    def heal(self) -> None:
        """Let all that is wrong be over, and go on until everything is stored."""
        queue = self.queue
        queue.is_away = queue.is_unknown = False
        queue.away.clear()
        queue.room.clear()
        queue.published = queue.routing
        for _ in range(400):
            self.simulation.now += 0.5
            if self.spill is not None:
                self.spill.is_full = False
                self.spill.move()
            self.flusher.hasten(self.buffer.mark())
            self.turn()
            if len(queue.events) == len(self.accepted):
                return
        raise Broken(
            f"{len(self.accepted) - len(queue.events)} events are not stored ({self.flusher.trouble})"
        )

    def check(self) -> None:
        """Say what does not hold at the end, when everything is stored."""
        queue = self.queue
        if self.problems:
            raise Broken("; ".join(self.problems[:3]))
        if sorted(queue.events) != sorted(self.accepted):
            raise Broken("other events are stored than were accepted")
        last: dict[bytes, tuple[int, int]] = {}
        for event in self.accepted:
            place, owner = queue.events[event], owner_of(event)
            if place < last.get(owner, (0, -1)):
                raise Broken(f"{event!r} overtook an earlier one of its user")
            last[owner] = place
        self.check_account()

    def check_account(self) -> None:
        """Each event is in one place, for all that the parts believe."""
        audit, taken, held, waiting = self.flusher.audit(1.0)
        counts = audit.counts
        claims = {
            "taken": (audit.batched, taken),
            "open or settled": (audit.open + counts.delivered, taken),
            "accepted": (taken + waiting, len(self.accepted)),
            "stored": (audit.stored, counts.stored),
            "in the file": (audit.spilled, counts.spilled),
            "held": (waiting + audit.open - audit.stored, held),
        }
        for what, (was, counted) in claims.items():
            if was != counted:
                raise Broken(f"{was} events are {what}, counted are {counted}")
