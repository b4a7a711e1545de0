"""Every accepted event is settled exactly once, whoever learns of it first, and every wait counts exactly."""

from __future__ import annotations

import gc
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventspool._exceptions import DeliveryError
from eventspool._settling import ledger as ledger_module
from eventspool._settling import watched
from eventspool._settling.ledger import Ledger
from eventspool._settling.waiter import FlushResult

REJECTED = DeliveryError("no", "rejected")
LOST = DeliveryError("closed", "lost")


def run_all(calls):
    for call in calls:
        call()


class Book:
    """A ledger, the callbacks that it made, and the buffer that would number its events."""

    def __init__(self):
        self.calls = []
        self.ledger = Ledger(run_all)
        self.buffer = []
        self.accepted = 0

    def accept(self, *, callback=True):
        event = self.ledger.watch(b"{}", self._note, f"m{self.accepted}") if callback else b"{}"
        self.buffer.append(event)
        self.accepted += 1

    def _note(self, error, message_id):
        self.calls.append((message_id, error))

    def open(self, job_id, events, *, callback=True, stored=True):
        for _ in range(events):
            self.accept(callback=callback)
        self.batch(job_id, events)
        if stored:
            self.ledger.note_stored([job_id])

    def batch(self, job_id, events):
        """Take the last *events* of the buffer as a job."""
        taken, self.buffer = self.buffer[-events:], self.buffer[:-events]
        self.ledger.open_job(job_id, self.accepted - events, taken)

    @property
    def counts(self):
        """Delivered, failed, lost, stored."""
        return self.ledger.counts()[:4]


@pytest.fixture
def book():
    return Book()


def test_a_delivered_job_calls_back_for_each_of_its_events_once(book):
    book.open("a", 3)
    assert book.ledger.settle("a") == 3
    assert book.calls == [("m0", None), ("m1", None), ("m2", None)]
    assert book.ledger.settle("a") == 0
    assert book.ledger.settle("a", REJECTED) == 0
    assert len(book.calls) == 3
    assert book.counts == (3, 0, 0, 0)


def test_a_job_that_is_not_ours_is_nobodys_business(book):
    assert book.ledger.settle("foreign", REJECTED) == 0
    assert book.counts == (0, 0, 0, 0)


def test_of_a_job_that_failed_in_part_only_the_failed_events_hear_the_error(book):
    book.open("a", 4)
    book.ledger.settle("a", REJECTED, (1, 3))
    assert book.calls == [("m0", None), ("m1", REJECTED), ("m2", None), ("m3", REJECTED)]
    assert book.counts == (2, 2, 0, 0)


def test_a_job_may_be_settled_before_it_is_noted_as_stored(book):
    """The processor is sometimes quicker than the thread that committed."""
    book.open("a", 2, stored=False)
    book.ledger.settle("a")
    book.ledger.note_stored(["a"])
    assert book.counts == (2, 0, 0, 0)
    assert book.ledger.stored == 2


def test_an_event_that_never_left_the_buffer_leaves_no_callback_behind(book):
    book.accept()
    assert not book.ledger.has_waiters


def test_of_many_threads_that_settle_the_same_jobs_each_job_is_settled_by_one(book):
    for i in range(200):
        book.open(f"j{i}", 2)
    barrier = threading.Barrier(4)
    totals = []

    def settle_all():
        barrier.wait()
        totals.append(sum(book.ledger.settle(f"j{i}") for i in range(200)))

    threads = [threading.Thread(target=settle_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert sum(totals) == 400
    assert sorted(book.calls) == sorted((f"m{i}", None) for i in range(400))


def test_a_flush_counts_what_was_accepted_before_it_and_is_unsettled(book):
    book.open("old", 2)
    book.ledger.settle("old")
    book.open("a", 3)
    book.accept()
    book.accept()
    waiter = book.ledger.open_waiter(book.accepted)
    assert waiter.remaining == 5
    book.batch("b", 2)
    book.open("later", 1)
    book.ledger.settle("later")
    book.ledger.settle("a", REJECTED, (0,))
    assert not waiter.is_over
    book.ledger.settle("b")
    assert waiter.is_over
    assert book.ledger.close_waiter(waiter) == FlushResult(delivered=4, failed=1, pending=0)


def test_a_job_that_straddles_the_flush_counts_with_its_older_part(book):
    book.accept()
    book.accept()
    waiter = book.ledger.open_waiter(book.accepted)
    book.accept()
    book.batch("a", 3)
    book.ledger.settle("a", REJECTED, (1, 2))
    assert waiter.is_over
    assert book.ledger.close_waiter(waiter) == FlushResult(1, 1, 0)


def test_a_flush_of_nothing_is_done_at_once(book):
    waiter = book.ledger.open_waiter(0)
    assert waiter.is_over
    assert book.ledger.close_waiter(waiter) == FlushResult()


def test_a_flush_that_ends_early_says_what_is_pending(book):
    book.open("a", 3)
    waiter = book.ledger.open_waiter(book.accepted)
    assert book.ledger.close_waiter(waiter) == FlushResult(0, 0, 3)
    book.ledger.settle("a")
    assert waiter.result() == FlushResult(0, 0, 3), "closed is closed"


def test_a_closing_client_without_a_durable_queue_loses_all_that_is_open(book):
    book.open("stored", 2)
    book.open("unstored", 2, stored=False)
    book.open("left in the buffer", 1, stored=False)
    assert book.ledger.lose(stored_too=True, error=LOST) == 5
    assert book.calls == [(f"m{i}", LOST) for i in range(5)]
    assert book.counts == (0, 0, 5, 0)


def test_a_closing_client_with_a_durable_queue_loses_only_what_is_not_in_it(book):
    book.open("stored", 2)
    book.open("unstored", 2, stored=False)
    book.open("left in the buffer", 1, stored=False)
    assert book.ledger.lose(stored_too=False, error=LOST) == 3
    assert [message_id for message_id, _ in book.calls] == ["m2", "m3", "m4"]
    assert book.counts == (0, 0, 3, 2)
    assert book.ledger.lose(stored_too=False, error=LOST) == 0
    book.ledger.settle("stored")
    assert book.counts == (2, 0, 3, 0)


def test_purged_events_are_lost_by_their_own_reason(book):
    book.open("a", 2)
    purged = DeliveryError("deleted", "purged")
    waiter = book.ledger.open_waiter(book.accepted)
    assert book.ledger.settle("a", purged) == 2
    assert book.calls == [("m0", purged), ("m1", purged)]
    assert (book.counts, book.ledger.counts().lost_reasons) == ((0, 0, 2, 0), {"purged": 2})
    assert waiter.result() == FlushResult(0, 2, 0)


def test_what_is_stored_is_told_in_order_also_when_a_later_batch_was_first(book):
    book.open("a", 2, stored=False)
    book.open("b", 3, stored=False)
    assert book.ledger.stored == 0
    book.ledger.note_stored(["b"])
    assert book.ledger.stored == 0
    book.ledger.note_stored(["a"])
    assert book.ledger.stored == 5


def test_a_wait_for_storage_ends_when_the_last_event_is_stored(book):
    book.open("a", 2, stored=False)
    assert not book.ledger.await_stored(2, 0.0)
    thread = threading.Thread(target=lambda: book.ledger.note_stored(["a"]))
    thread.start()
    assert book.ledger.await_stored(2, 30.0)
    thread.join(30.0)


def test_releasing_ends_every_wait(book):
    book.open("a", 2, stored=False)
    waiter = book.ledger.open_waiter(2)
    results = []
    thread = threading.Thread(target=lambda: results.append(book.ledger.await_stored(2, 60.0)))
    thread.start()
    book.ledger.release_waiters()
    thread.join(30.0)
    assert results == [False]
    assert waiter.is_over
    assert book.ledger.open_waiter(2).is_over, "later ones, too"


def test_stale_jobs_come_in_turn_so_that_none_is_never_asked_about(book):
    for name in "abcde":
        book.open(name, 1)
    assert book.ledger.stale_jobs(60.0, 10) == []
    time.sleep(0.002)
    assert [book.ledger.stale_jobs(0.001, 2) for _ in range(3)] == [["a", "b"], ["c", "d"], ["e", "a"]]
    book.open("young", 1)
    assert "young" not in book.ledger.stale_jobs(60.0, 10)


def test_open_jobs_are_asked_about_by_the_epoch_that_they_were_stored_in(book):
    for name in "abcd":
        book.open(name, 1, stored=False)
    book.ledger.note_stored(["a", "b"], "old")
    book.ledger.note_stored(["a", "c", "d"], "new")
    book.ledger.settle("d")
    assert book.ledger.by_epoch("abcd") == {"old": ["a", "b"], "new": ["c"]}
    assert book.ledger.by_epoch("d") == {}


def test_jobs_that_are_not_stored_are_not_asked_about(book):
    """The queue does not know them yet, and that would read as: delivered."""
    book.open("a", 1, stored=False)
    book.open("b", 1)
    time.sleep(0.002)
    assert book.ledger.stale_jobs(0.001, 10) == ["b"]


steps = st.lists(
    st.tuples(
        st.sampled_from(["accept", "batch", "store", "deliver", "fail", "part", "flush", "lookup"]),
        st.integers(0, 30),
    ),
    max_size=80,
)


@settings(max_examples=200)
@given(steps, st.booleans())
def test_in_any_order_every_event_is_settled_once_and_the_books_balance(script, durable):
    book, open_jobs, batched, made, waiters = Book(), [], 0, 0, []
    for step, n in script:
        if step == "accept":
            for _ in range(n % 4):
                book.accept()
        elif step == "batch" and book.accepted > batched:
            job_id, made = f"j{made}", made + 1
            book.batch(job_id, book.accepted - batched)
            open_jobs.append((job_id, book.accepted - batched))
            batched = book.accepted
        elif step == "store" and open_jobs:
            book.ledger.note_stored([open_jobs[n % len(open_jobs)][0]])
        elif step == "flush":
            waiters.append((book.ledger.open_waiter(book.accepted), book.accepted))
        elif step in ("deliver", "fail", "part", "lookup") and open_jobs:
            job_id, events = open_jobs[n % len(open_jobs)]
            error = None if step in ("deliver", "lookup") else REJECTED
            book.ledger.settle(job_id, error, (n % events,) if step == "part" else None)
        delivered, failed, lost, stored = book.counts
        assert min(delivered, failed, lost, stored) >= 0
        assert delivered + failed + lost + stored <= book.accepted
    if book.accepted > batched:
        book.batch("left in the buffer", book.accepted - batched)
    lost = book.ledger.lose(stored_too=not durable, error=LOST)
    delivered, failed, counted, stored = book.counts
    assert lost == counted
    assert delivered + failed + lost + stored == book.accepted
    assert durable or not stored
    called = [message_id for message_id, _ in book.calls]
    assert len(called) == len(set(called)) == book.accepted - stored
    for waiter, _ in waiters:
        result = book.ledger.close_waiter(waiter)
        assert result.pending <= stored
        assert waiter.is_over is (result.pending == 0)


STEPS = {
    "stored": lambda book: book.ledger.note_stored(["a", "b"], "epoch"),
    "spilled": lambda book: book.ledger.note_spilled(["a", "b"], "epoch"),
    "settled": lambda book: book.ledger.settle("a", REJECTED, (1,)),
    "lost": lambda book: book.ledger.lose(stored_too=True, error=LOST),
    "unfollowed": lambda book: (book.ledger.note_stored(["a", "b"]), book.ledger.unfollow(1)),
    "opened": lambda book: book.ledger.open_job("c", 5, [book.ledger.watch(b"{}", book._note, "m5")]),
}


def interrupt_at(line, call):
    """Make *call*; at the so-manieth line of the ledger an exception comes. Return whether it came to that."""
    left = line

    def trace(frame, event, arg):
        nonlocal left
        if frame.f_code.co_filename not in (ledger_module.__file__, watched.__file__):
            return None
        if event == "line":
            left -= 1
            if not left:
                raise MemoryError
        return trace

    # On this very thread: a tracer is called where a `with` lets go of the lock, too, and leaves it held by whoever it stops.
    before = sys.gettrace()  # coverage's
    sys.settrace(trace)
    try:
        call()
    except MemoryError:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_cut_off_at_any_line_and_repeated_is_as_if_made_once(step):
    line, expected = 0, None
    while True:
        book = Book()
        book.open("a", 3, stored=False)
        book.open("b", 2, stored=False, callback=False)
        waiter = book.ledger.open_waiter(5)
        came = line and interrupt_at(line, lambda book=book: STEPS[step](book))
        STEPS[step](book)
        found = (
            book.ledger.counts(), sorted(book.calls, key=str), waiter.seen, waiter.is_over,
            list(book.ledger._open), list(book.ledger._unstored), book.ledger.stored,
        )  # fmt: skip
        expected = expected or found
        assert found == expected, f"cut off at line {line}"
        if line and not came:
            break
        line += 1
    assert line > 10


def test_a_durable_call_hears_of_its_own_job_and_never_that_a_lost_one_is_stored(book):
    heard = {"stored": [], "delivered": [], "lost": [], "left": []}
    for number, name in enumerate(heard):
        book.ledger.open_job(name, number, [book.ledger.watch(b"{}", None, "m", heard[name].append)])
    book.ledger.note_stored(["stored"])
    book.ledger.settle("delivered")
    book.ledger.settle("lost", LOST)
    book.ledger.release_waiters()
    assert {name: set(replies) for name, replies in heard.items()} == {
        "stored": {True}, "delivered": {True}, "lost": {False}, "left": {False},
    }  # fmt: skip


def test_where_replicas_are_asked_for_neither_a_delivery_nor_the_spill_file_acknowledges():
    ledger = Ledger(run_all, is_strict=True)
    heard = {name: [] for name in ("stored", "delivered", "spilled", "lost", "moved elsewhere")}
    for number, name in enumerate(heard):
        ledger.open_job(name, number, [ledger.watch(b"{}", None, "m", heard[name].append)])
    waiter = ledger.open_waiter(len(heard), until_stored=True)
    ledger.note_stored(["stored"])
    ledger.settle("delivered")
    ledger.note_spilled(["spilled", "moved elsewhere"])
    ledger.settle("lost", LOST)
    assert heard == {"stored": [True], "delivered": [], "spilled": [], "lost": [False], "moved elsewhere": []}
    assert (ledger.stored, waiter.is_over) == (2, False)
    ledger.note_stored(["delivered"])
    assert heard["delivered"] == [True]
    ledger.note_moved(["spilled"], "epoch")
    assert heard["spilled"] == [True]
    assert (ledger.stored, waiter.is_over) == (4, False)
    ledger.note_moved()
    assert heard["moved elsewhere"] == [], "whether replicas have it is not known"
    assert waiter.is_over
    ledger.release_waiters()
    assert heard["moved elsewhere"] == [False]


def test_of_too_many_stored_jobs_the_oldest_are_followed_no_more_but_counted(book):
    book.open("watched", 1)
    for name in "abcd":
        book.open(name, 2, callback=False)
    book.open("new", 2, callback=False, stored=False)
    waiter = book.ledger.open_waiter(book.accepted)
    assert book.ledger.unfollow(4) == 2
    assert set(book.ledger._open) == {"watched", "c", "d", "new"}
    counts = book.ledger.counts()
    assert (counts.stored, counts.unfollowed) == (9, 4)
    for name in ("watched", "c", "d", "new"):
        book.ledger.settle(name)
    assert book.ledger.counts()[:4] == (7, 0, 0, 4)
    assert waiter.is_over
    assert waiter.result() == FlushResult(7, 0, 0)


def test_a_wait_that_nobody_holds_any_more_counts_for_nobody(book):
    """A call that was interrupted before it could close its waiter must not have the queue asked for ever."""
    book.open("a", 1, callback=False)
    waiter = book.ledger.open_waiter(1)
    assert book.ledger.has_waiters
    del waiter
    gc.collect()
    assert not book.ledger.has_waiters


def test_a_callback_that_is_no_function_stops_nobody(book):
    calls = []
    ledger = Ledger(calls.extend)
    ledger.open_job("a", 0, [ledger.watch(b"{}", "no function", "m")])
    assert ledger.settle("a") == 1
    assert ledger.counts()[:4] == (1, 0, 0, 0)
    with pytest.raises(TypeError):
        calls[0]()


def test_why_events_failed_or_were_lost_is_counted():
    ledger = Ledger(run_all)
    for number, job_id in enumerate("abcd"):
        ledger.open_job(job_id, 2 * number, [b"{}", b"{}"])
    ledger.settle("a", DeliveryError("no", "rejected"), (1,))
    ledger.settle("b", DeliveryError("no", "too_large"))
    ledger.settle("c", DeliveryError("the queue was emptied", "lost"))
    ledger.lose(stored_too=False, error=DeliveryError("closed", "lost"))

    counts = ledger.counts()
    assert (counts.failed, counts.failed_reasons) == (3, {"rejected": 1, "too_large": 2})
    assert (counts.lost, counts.lost_reasons) == (4, {"emptied": 2, "unstored": 2})


def test_each_event_of_a_job_that_went_into_the_queue_in_parts_ends_with_its_part():
    book = Book()
    book.open("whole", 5, stored=False)
    book.ledger.note_spilled(["whole"], "of the file")
    for _ in range(2):
        book.ledger.note_parted("whole", [("a", 3, "1"), ("b", 2, "2")], [0, 2, 4, 1, 3])
    assert book.ledger.by_epoch(["whole", "a", "b"]) == {"1": ["a"], "2": ["b"]}
    assert book.counts == (0, 0, 0, 5)
    assert book.ledger.spilled_jobs == []
    book.ledger.settle("a", REJECTED, [1])
    assert sorted(book.calls) == [("m0", None), ("m2", REJECTED), ("m4", None)]
    book.ledger.settle("b")
    assert sorted(book.calls)[1::2] == [("m1", None), ("m3", None)]
    assert book.ledger.audit().open == 0


def test_a_flush_whose_cut_is_amid_a_job_that_is_parted_waits_for_all_of_it():
    """The job would have ended as a whole. Of its parts one may hold what was tracked before and after the flush began."""
    book = Book()
    book.open("whole", 4, stored=False)
    book.ledger.note_spilled(["whole"])
    waiter = book.ledger.open_waiter(2)
    book.ledger.note_parted("whole", [("a", 2, ""), ("b", 2, "")], [0, 2, 1, 3])
    book.ledger.settle("a")
    assert not waiter.is_over
    book.ledger.settle("b")
    assert book.ledger.close_waiter(waiter) == FlushResult(4)


def test_a_job_that_went_into_the_queue_as_it_is_stays_open_under_its_id():
    book = Book()
    book.open("whole", 2, stored=False)
    book.ledger.note_spilled(["whole"], "of the file")
    book.ledger.note_parted("whole", [("whole", 2, "1")], [0, 1])
    assert book.ledger.by_epoch(["whole"]) == {"1": ["whole"]}
    assert book.ledger.spilled_jobs == []
