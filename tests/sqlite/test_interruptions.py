"""A signal handler or a lack of memory may raise at any line of a step. Then the step has happened, or it has not."""

from __future__ import annotations

import fcntl
import gc
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from eventspool._claim import ClaimTerms
from eventspool._contract.tools import LONG, fail, ids_of, new_jobs
from eventspool._exceptions import QueueUnavailable
from eventspool._job import JobState


class Stop(BaseException):
    """What a host raises to end a thread's work."""


EXCEPTIONS = [Stop, MemoryError, TimeoutError]
"""``TimeoutError`` is an ``OSError`` that no system call has raised."""


def trace(action, see):
    """Run *action*, and have *see* called before each line of this backend with its place. Return what came out of it."""

    def watch(frame, event, _argument):
        code = frame.f_code
        if "_backends/sqlite/" not in code.co_filename:
            return None
        if event == "line" and not leaves_a_lock(code):
            see((code.co_filename, code.co_name, frame.f_lineno))
        return watch

    came_out = []

    def run():
        sys.settrace(watch)
        try:
            action()
        except BaseException as caught:
            came_out.append(caught)
        finally:
            sys.settrace(None)

    # On a thread of its own: CPython 3.11 may go on handling, in that thread, what a tracer has raised.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return came_out[0] if came_out else None


def leaves_a_lock(code):
    """
    Say whether *code* is where a `with` lets go of the mutex.

    A tracer is called between the last line and the release; no exception can come there.
    """
    return code.co_name == "_alone" and code.co_filename.endswith("sqlite/file.py")


def lines_of(action):
    """Return the lines that *action* runs, each with its first time and its last."""
    times = Counter()
    for _ in range(3):
        once = Counter()
        assert trace(action, lambda place: once.update([place])) is None  # noqa: B023
        times |= once
    return [(place, nth) for place, last in times.items() for nth in {1, last}]


def raise_at(place, nth, action, exception):
    """Raise *exception* where *action* runs the line at *place* for the *nth* time. Return what came out, if any."""
    left = nth

    def see(here):
        nonlocal left
        left -= here == place
        if left == 0 and here == place:
            raise exception

    return trace(action, see)


def descriptors():
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def is_free(path):
    with Path(path).open("rb+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def mutex_is_free(file):
    """Another thread has to ask: this thread could take the lock twice."""
    found = []

    def look():
        if file._mutex.acquire(timeout=10.0):
            file._mutex.release()
            found.append(True)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return bool(found)


def reopen(backend):
    backend.close()
    backend.stats()


def deliver(backend):
    backend.ack(ids_of(backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs))


def give_up(backend):
    [job] = backend.claim("t", ClaimTerms(limit=1, visibility_timeout=LONG)).jobs
    backend.settle("t", [fail(job.id)])


def purge(backend):
    [job] = backend.jobs(JobState.WAITING, limit=1)
    backend.purge(JobState.WAITING, [job.id])


def store(backend):
    backend.commit(new_jobs(1))


ACTIONS = [store, deliver, give_up, purge, reopen]


@pytest.mark.rotating
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_a_step_that_is_interrupted_anywhere_leaves_nothing_behind(path, make, action):
    backend, other = make(), make()
    other.commit(new_jobs(800))
    lines, before, interrupted = lines_of(lambda: action(backend)), descriptors(), 0
    for number, (place, nth) in enumerate(lines):
        where = f"time {nth} of {place}"
        exception = EXCEPTIONS[number % len(EXCEPTIONS)]("of the host")
        came_out = raise_at(place, nth, lambda: action(backend), exception)
        assert came_out in (None, exception), where
        interrupted += came_out is exception
        connection = backend._file._handle.connection
        assert connection is None or not connection.in_transaction, where
        assert mutex_is_free(backend._file), where
        assert not backend._file.lock.held, where
        assert is_free(f"{path}-lock"), where
        assert is_free(f"{path}-next"), where
        backend.stats()
        other.stats()
    assert interrupted > 100
    assert descriptors() <= before + 2  # SQLite closes some later


def test_a_time_limit_comes_out_of_the_wait_for_another_program(path, make):
    """It does so at once: not after ten seconds, and not as an outage."""
    backend = make()

    def stop(*_):
        raise TimeoutError

    previous = signal.signal(signal.SIGALRM, stop)
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as program:
            program.execute("begin immediate")
            began = time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(TimeoutError):
                backend.commit(new_jobs(1))
            assert time.monotonic() - began < 9.0
            program.execute("rollback")
        assert backend.commit(new_jobs(1)).accepted == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, previous)


def test_a_destructor_that_calls_amid_a_step_is_refused_and_does_not_hang(make):
    backend = make()

    class Late:
        def __del__(self):
            with pytest.raises(QueueUnavailable, match="this very thread"):
                backend.stats()
            refused.append(True)

    def step(_db):
        late = Late()
        del late
        return "done"

    refused = []
    assert backend._file.run(step, durable=False) == "done"
    assert refused == [True]
    assert backend.commit(new_jobs(1)).accepted == 1


def error_of(code):
    error = sqlite3.OperationalError()
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("problem", "sound"),
    [
        (Stop(), False),
        (MemoryError(), False),
        (error_of(sqlite3.SQLITE_IOERR_FSYNC), False),
        (error_of(sqlite3.SQLITE_FULL), True),
    ],
    ids=["a signal", "no memory", "a failed sync", "a full disk"],
)
def test_a_commit_whose_end_is_not_known_may_have_failed_to_sync(make, problem, sound):
    """The next step must not build on that log, so it begins the log anew."""

    class Connection:
        def execute(self, _statement):
            raise problem

    backend = make()
    handle = backend._file._handle
    with pytest.raises(type(problem)):
        handle.commit(Connection())
    assert handle.log_is_sound is sound
    handle.log_is_sound = False
    backend.stats()
    assert handle.log_is_sound
