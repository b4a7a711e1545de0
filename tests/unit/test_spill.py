"""The spill file gives back what it took: in order, once by id, and to one process at a time."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

import pytest

from eventspool._backends.memory import MemoryBackend
from eventspool._backends.sqlite.backend import SQLiteBackend
from eventspool._buffering.buffer import Buffer
from eventspool._buffering.flusher import Flusher
from eventspool._buffering.spill import Spill, is_spill_due
from eventspool._claim import ClaimTerms
from eventspool._config import ClientOpts, Ordering, SQLiteOpts
from eventspool._contract.tools import drain, eventually, ids_of, new_job, new_jobs, rewrite
from eventspool._delivery.attempt import fail_rest
from eventspool._envelope import open_envelope
from eventspool._exceptions import QueueError, QueueUnavailable
from eventspool._guest.loop import Loop
from eventspool._job import JobState
from eventspool._settling.ledger import Ledger


class Queue(MemoryBackend):
    """A queue that can be away, and that keeps the order of its commits."""

    def __init__(self, **options):
        super().__init__(ordering=Ordering.FIFO, **options)
        self.away = False
        self.tries = 0
        self.duplicates = 0

    def open(self):
        self.tries += 1
        if self.away:
            raise QueueUnavailable("away")

    def commit(self, jobs):
        self.open()
        result = super().commit(jobs)
        self.duplicates += result.duplicates
        return result


class File(SQLiteBackend):
    """A file that can break."""

    broken_by: tuple[str, ...] = ()

    def __getattribute__(self, name):
        if name in File.broken_by:
            raise QueueUnavailable("the disk is on fire")
        return super().__getattribute__(name)


class World:
    """A file, a queue that is away at first, and the spills between them."""

    def __init__(self, path, **bounds):
        self.path, self.bounds = path, bounds
        self.queue = Queue()
        self.queue.away = True
        self.calls = []
        self.ledger = Ledger(lambda calls: [call() for call in calls])
        self.lookups = []
        self.spills = []

    def file(self, kind=File, **bounds):
        bounds = {"max_jobs": 1_000_000, "max_bytes": 1 << 30, **self.bounds, **bounds}
        return kind(
            SQLiteOpts(path=str(self.path)), queue_name="q", prefix="p", ordering=Ordering.FIFO, **bounds
        )

    def spill(self, file=None, **bounds):
        spill = Spill(
            file or self.file(**bounds),
            str(self.path),
            self.queue,
            self.ledger,
            on_moved=lambda: None,
            on_lookup=lambda ids, standing: self.lookups.append((ids, standing)),
            fail_rest=fail_rest,
        )
        self.spills.append(spill)
        return spill

    def open_job(self, job):
        self.ledger.open_job(job.id, self.ledger._batched, [b"{}"] * job.events)

    def moved(self):
        """The ids that the queue holds, in its order."""
        return [job.id for job in self.queue._entries.jobs.values()]

    def close(self):
        File.broken_by = ()
        for spill in self.spills:
            spill.stop(5)
            spill.close()


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "spill.db")
    yield world
    world.close()


def is_over(spill):
    return lambda: not spill.is_active


# -- when --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outage", "held", "leaving", "due"),
    [
        (0.0, 1, False, False),
        (0.999, 49, False, False),
        (1.0, 1, False, True),
        (3600.0, 0, False, True),
        (0.0, 50, False, True),
        (0.0, 0, True, True),
    ],
)
def test_memory_bridges_a_second_or_half_of_what_it_may_hold(outage, held, leaving, due):
    assert is_spill_due(outage, held, 100, leaving=leaving) is due


# -- there and back ----------------------------------------------------------------------------------------------------


def test_jobs_go_into_the_queue_in_order_and_once(world):
    """Many more than one move takes, and some that come while it moves."""
    spill, jobs = world.spill(), new_jobs(300)
    for at in range(0, 200, 8):
        spill.commit(jobs[at : at + 8], begin=True)
    world.queue.away = False
    spill.hasten()
    rest = jobs[200:]
    while rest and spill.commit(rest[:1], begin=False):
        rest = rest[1:]
    assert eventually(is_over(spill))
    world.queue.commit(rest)
    assert world.moved() == ids_of(jobs)
    assert world.queue.duplicates == 0


def test_payloads_and_numbers_of_events_stay_what_they_were(world):
    spill, job = world.spill(), new_job(3, filling="ü")
    spill.commit([job], begin=True)
    world.queue.away = False
    assert eventually(is_over(spill))
    assert world.queue.payload(job.id) == job.payload
    assert world.queue.stats().waiting.events == 3


def test_an_empty_file_takes_nothing_unless_it_is_to_begin(world):
    """So a batch that races with the end of the spilling goes to the queue, and spilling does not begin again."""
    spill = world.spill()
    assert spill.commit(new_jobs(1), begin=False) is None
    assert not spill.is_active
    assert not world.path.exists(), "no file before it is needed"


def test_a_move_that_was_cut_off_is_repeated_and_adds_no_job(world):
    """Committed to the queue, and then the file could not be told: as when the process dies in between."""
    spill, jobs = world.spill(), new_jobs(3)
    spill.commit(jobs, begin=True)
    File.broken_by = ("pass_on",)
    world.queue.away = False
    spill.hasten()
    assert eventually(lambda: world.queue.duplicates)
    assert spill.is_broken
    File.broken_by = ()
    assert eventually(is_over(spill))
    assert world.moved() == ids_of(jobs)


def test_what_a_job_in_the_file_went_through_goes_with_it(world):
    """Somebody may have worked the file as a queue."""
    file, job = world.file(), new_job(2)
    file.commit([replace(job, attempts=3, progress="1-2|")])
    file.close()
    world.queue.away = False
    world.spill().look(100.0)
    assert eventually(world.moved) == [job.id]
    entry = world.queue._entries.jobs[job.id]
    assert (entry.attempts, entry.progress) == (3, "1-2|")


def test_what_was_erased_out_of_a_batch_in_the_file_goes_with_the_batch(world):
    """The file remembers it; that must not pass for the end of a batch that another process has moved."""
    spill, job = world.spill(), new_job(2)
    world.open_job(job)
    spill.commit([job], begin=True)
    other = world.file()
    assert rewrite(other, job.id, job.payload, new_job(1).payload, 1, purged=(0,))
    assert other.pass_on([job.id], remember=False) == 1
    other.close()
    world.queue.away = False
    spill.hasten()
    assert eventually(is_over(spill))
    assert [standing for _, standing in world.lookups if standing] == []


def test_a_full_queue_is_waited_for_and_keeps_the_order(world):
    world.queue = Queue(max_jobs=2)
    world.queue.away = True
    spill, jobs = world.spill(), new_jobs(5)
    spill.commit(jobs, begin=True)
    world.queue.away = False
    taken = []
    while len(taken) < 5:
        assert eventually(lambda: world.moved())
        taken += world.moved()
        world.queue.ack(world.moved())
    assert taken == ids_of(jobs)
    assert eventually(is_over(spill))


def test_a_full_file_refuses_and_lets_nothing_overtake(world):
    spill, jobs = world.spill(max_jobs=3), new_jobs(5)
    result = spill.commit(jobs, begin=True)
    assert result.accepted == 3
    assert list(result.rejected) == ids_of(jobs[3:])


def test_a_producer_that_never_pauses_is_outrun(world):
    """As long as the file holds anything everything goes through it: it must come to an end under full load."""
    spill, jobs = world.spill(), new_jobs(500)
    spill.commit(jobs, begin=True)
    world.queue.away = False
    spill.hasten()
    assert eventually(lambda: not spill.is_away)
    deadline = time.monotonic() + 20.0
    while spill.commit(group := new_jobs(8), begin=False):
        jobs += group
        assert time.monotonic() < deadline, "it would never end"
    assert world.moved() == ids_of(jobs)
    assert len(jobs) < 500 + 8 * 30, "at most one commit a move, and none in the last"


def test_a_queue_that_goes_away_again_gets_the_rest_later(world):
    spill, jobs = world.spill(), new_jobs(200)
    spill.commit(jobs, begin=True)
    real = world.queue.commit
    world.queue.commit = lambda batch: setattr(world.queue, "away", len(world.moved()) == 64) or real(batch)
    world.queue.away = False
    spill.hasten()
    assert eventually(lambda: world.queue.away)
    assert spill.is_active
    del world.queue.commit
    world.queue.away = False
    assert eventually(is_over(spill))
    assert world.moved() == ids_of(jobs)


# -- several processes -------------------------------------------------------------------------------------------------


def test_what_an_earlier_process_left_goes_first(world):
    """It died with jobs under its lease: they come free when that ends, at the latest."""
    left, later = new_jobs(3), new_jobs(2)
    dead = world.file()
    dead.commit(left)
    dead.claim("dead", ClaimTerms(limit=2, visibility_timeout=0.3))
    dead.close()
    spill = world.spill()
    spill.look(100.0)
    assert spill.is_active
    spill.commit(later, begin=False)
    world.queue.away = False
    assert eventually(is_over(spill))
    assert world.moved() == ids_of(left + later)


def test_an_empty_file_of_an_earlier_process_changes_nothing(world):
    world.file().close()
    world.spill().look(100.0)
    empty = world.file()
    empty.open()
    empty.close()
    spill = world.spill()
    spill.look(100.0)
    assert not spill.is_active


def test_the_file_is_looked_at_now_and_then_only(world):
    """Another process that shares it may die at any time, with jobs in it."""
    spill = world.spill()
    spill.look(100.0)
    other = world.file()
    other.commit(new_jobs(1))
    other.close()
    spill.look(159.0)
    assert not spill.is_active
    spill.look(160.0)
    assert spill.is_active


def test_processes_that_share_a_file_do_not_interleave(world):
    """Three movers on one file: the queue gets the file's order."""
    jobs = new_jobs(400)
    spills = [world.spill() for _ in range(3)]
    for at in range(0, 400, 8):
        spills[at % 3].commit(jobs[at : at + 8], begin=True)
    world.queue.away = False
    for spill in spills:
        spill.hasten()
    for spill in spills:
        assert eventually(is_over(spill))
    assert world.moved() == ids_of(jobs)


# -- accounts ----------------------------------------------------------------------------------------------------------


def test_a_spilled_job_is_stored_but_not_looked_up_in_the_queue(world):
    """The queue does not know it, and would seem to say that it was delivered."""
    spill, job = world.spill(), new_job(2)
    world.open_job(job)
    spill.commit([job], begin=True)
    assert world.ledger.await_stored(2, 0)
    assert world.ledger.counts()[:5] == (0, 0, 0, 2, 2)
    assert world.ledger.stale_jobs(-1.0, 10) == []
    world.queue.away = False
    assert eventually(is_over(spill))
    assert world.ledger.counts()[:5] == (0, 0, 0, 2, 0)
    assert world.ledger.stale_jobs(-1.0, 10) == [job.id]
    world.ledger.settle(job.id)
    assert world.ledger.counts()[:5] == (2, 0, 0, 0, 0)


def test_a_job_that_is_delivered_out_of_an_unknown_commit_leaves_the_accounts_once(world):
    """The queue had it after all, and delivered it, while the file holds it too."""
    spill, job = world.spill(), new_job(2)
    world.open_job(job)
    spill.commit([job], begin=True)
    world.ledger.settle(job.id)
    assert world.ledger.counts()[:5] == (2, 0, 0, 0, 0)
    world.queue.away = False
    assert eventually(is_over(spill))
    assert world.ledger.counts()[:5] == (2, 0, 0, 0, 0)


def test_a_job_that_was_moved_is_looked_up_as_one_of_the_queues(world):
    """Its epoch was the file's. Under that the queue would say of what was delivered that it is lost."""
    spill, job = world.spill(), new_job()
    world.open_job(job)
    spill.commit([job], begin=True)
    [epoch] = world.ledger.by_epoch([job.id])
    assert epoch not in ("", world.queue._epoch)
    world.queue.away = False
    assert eventually(is_over(spill))
    assert world.ledger.by_epoch([job.id]) == {world.queue._epoch: [job.id]}
    assert world.lookups == []


def test_what_another_process_moved_is_looked_up_too(world):
    ours, theirs, job = world.spill(), world.spill(), new_job()
    world.open_job(job)
    ours.commit([job], begin=True)
    theirs.look(100.0)
    world.queue.away = False
    theirs.hasten()
    assert eventually(is_over(theirs))
    assert eventually(is_over(ours))
    assert world.ledger.stale_jobs(-1.0, 10) == [job.id]


def test_a_job_without_a_payload_fails_and_holds_nothing_up(world):
    file, jobs = world.file(), new_jobs(2)
    spill, claim = world.spill(file), file.claim

    def claim_damaged(*args, **terms):
        found = claim(*args, **terms)
        return replace(
            found, jobs=tuple(replace(j, payload=None) if j.id == jobs[0].id else j for j in found.jobs)
        )

    file.claim = claim_damaged
    spill.commit(jobs, begin=True)
    world.queue.away = False
    assert eventually(is_over(spill))
    assert world.moved() == [jobs[1].id]
    [([job_id], standing)] = world.lookups
    assert (job_id, standing[job_id].reason) == (jobs[0].id, "missing")
    assert ids_of(file.jobs(JobState.FAILED, limit=9)) == [jobs[0].id]


def test_one_warning_and_one_line_when_it_is_over(world, caplog):
    caplog.set_level(logging.INFO, "eventspool")
    spill = world.spill()
    for _ in range(20):
        spill.commit([new_job(5)], begin=True)
    world.queue.away = False
    assert eventually(is_over(spill))
    assert eventually(lambda: len(caplog.records) == 2)
    assert [(r.levelname, "spill file" in r.getMessage()) for r in caplog.records] == [
        ("WARNING", True),
        ("INFO", True),
    ]
    assert "100 events" in caplog.records[1].getMessage()


def test_a_file_that_cannot_be_used_says_so_and_does_not_begin(world):
    File.broken_by = ("commit",)
    spill = world.spill()
    with pytest.raises(QueueError):
        spill.commit(new_jobs(1), begin=True)
    assert not spill.is_active


def test_stopping_gives_the_lease_back_at_once(world):
    """The next process need not wait for it to run out."""
    spill = world.spill()
    spill.commit(new_jobs(2), begin=True)
    assert eventually(lambda: world.queue.tries)
    spill.stop(5)
    file = world.file()
    assert len(drain(file, "next")) == 2
    file.close()


# -- the flusher's choice ----------------------------------------------------------------------------------------------


@pytest.fixture
def track(world):
    """Accept an event into a buffer that a flusher empties: ``track(text)``."""
    buffer = Buffer(1000)
    options = ClientOpts(write_key="k", flush_interval=0.01)
    flusher = Flusher(
        buffer,
        world.ledger,
        world.queue,
        options,
        spill=world.spill(),
        on_stored=lambda: None,
        on_lookup=lambda ids, standing: None,
    )
    loop = Loop("flusher", flusher)
    loop.start()
    yield lambda text: buffer.put(b'"%s"' % text.encode())
    flusher.stop()
    loop.join(30)


def events_of(queue):
    return [event.decode() for id_ in ids_of(queue._entries.jobs.values()) for event in split(queue, id_)]


def split(queue, job_id):
    return open_envelope(queue.payload(job_id)).split()


def test_nothing_overtakes_what_is_in_a_file_that_takes_no_more(world, track):
    """The disk is full, say; the file can be read: events wait in memory until it is empty."""
    [spill] = world.spills
    track("first")
    assert eventually(lambda: world.ledger.counts()[4])
    File.broken_by = ("commit",)
    world.queue._max_jobs = 0  # it can be reached, and is full
    world.queue.away = False
    track("second")
    assert eventually(lambda: not spill.is_away)
    assert not eventually(lambda: world.moved(), timeout=0.5)
    assert world.ledger.counts()[3:5] == (1, 1)
    world.queue._max_jobs = 9
    assert eventually(lambda: len(events_of(world.queue)) == 2)
    assert events_of(world.queue) == ['"first"', '"second"']


def test_a_file_that_cannot_be_read_either_holds_up_nobody(world, track):
    """Waiting for what is in it would mean to wait for ever."""
    [spill] = world.spills
    track("first")
    assert eventually(lambda: world.ledger.counts()[4])
    File.broken_by = ("commit", "claim", "stats", "leave")
    world.queue.away = False
    track("second")
    assert eventually(lambda: events_of(world.queue) == ['"second"'])
    File.broken_by = ()
    assert eventually(is_over(spill))
    assert events_of(world.queue) == ['"second"', '"first"']


def test_a_short_outage_leaves_no_trace_in_the_file(world, track):
    track("first")
    assert eventually(lambda: world.queue.tries)
    world.queue.away = False
    assert eventually(lambda: events_of(world.queue) == ['"first"'])
    assert not world.path.exists()
