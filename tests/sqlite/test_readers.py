"""A program reads in a transaction and does not end it. Then the log cannot begin anew, and no step waits for that."""

from __future__ import annotations

import sqlite3
import sys
import time
from contextlib import closing
from itertools import pairwise

import pytest

from eventspool._backends.sqlite import handle as handle_module
from eventspool._backends.sqlite.readers import reader_pids
from eventspool._claim import ClaimTerms
from eventspool._contract.tools import LONG, drain, ids_of, new_job, new_jobs
from eventspool._exceptions import QueueUnavailable


@pytest.fixture
def reader(path, make, monkeypatch):
    """A reader that stalls while the log gets too long."""
    monkeypatch.setattr(handle_module, "_LONG_LOG_BYTES", 6 << 20)
    backend = make()
    backend.commit(new_jobs(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as program:
        program.execute("begin")
        program.execute("select count(*) from jobs").fetchone()
        while path.with_name(f"{path.name}-wal").stat().st_size <= 6 << 20:
            backend.commit([new_job(filling="x" * 200_000)])
        yield program


def seconds(action):
    began = time.monotonic()
    action()
    return time.monotonic() - began


def test_nobody_waits_for_a_reader_and_the_rest_goes_on(path, make, reader):
    backend, other = make(), make()
    waiting = backend.stats().waiting.jobs
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(QueueUnavailable, match="log is full"):
            backend.commit(new_jobs(1))
        assert seconds(other.stats) < 9.0  # a wait for the file would take ten
    assert time.monotonic() - began < 60.0
    assert len(drain(other, "t")) == waiting
    assert backend.stats().waiting.jobs == 0
    size = path.with_name(f"{path.name}-wal").stat().st_size
    for _ in range(20):
        with pytest.raises(QueueUnavailable):
            backend.commit(new_jobs(1))
    assert path.with_name(f"{path.name}-wal").stat().st_size == size


def test_a_log_that_a_reader_keeps_is_tried_again_after_a_pause_and_no_sooner(make, reader, monkeypatch):
    backend, tries, clock = make(), [], [1000.0]
    handle = backend._file._handle
    tried = handle._checkpointed
    monkeypatch.setattr(handle, "_checkpointed", lambda *how: tries.append(clock[0]) or tried(*how))
    monkeypatch.setattr(handle_module.time, "monotonic", lambda: clock[0])
    for _ in range(700):
        with pytest.raises(QueueUnavailable):
            backend.commit(new_jobs(1))
        clock[0] += 0.01
    pauses = [round(b - a, 2) for a, b in pairwise(tries)]
    assert pauses[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8], abs=0.021)
    assert max(pauses) < 2.1


def test_new_jobs_are_taken_again_once_the_reader_has_ended(path, make, reader):
    backend = make()
    with pytest.raises(QueueUnavailable):
        backend.commit(new_jobs(1))
    reader.execute("commit")
    deadline = time.monotonic() + 60.0
    while True:
        try:
            assert backend.commit(new_jobs(1)).accepted == 1
            break
        except QueueUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    backend.commit(new_jobs(1))
    assert path.with_name(f"{path.name}-wal").stat().st_size <= 8 << 20


def test_a_failed_sync_beside_a_reader_stops_what_must_last_and_nothing_else(make, reader):
    backend = make()
    backend.stats()
    handle = backend._file._handle
    handle.log_is_sound = False
    claimed = backend.claim("t", ClaimTerms(limit=3, visibility_timeout=LONG)).jobs
    assert backend.ack(ids_of(claimed)) == len(claimed) > 0
    assert not handle.log_is_sound
    with pytest.raises(QueueUnavailable, match="read transaction"):
        backend.pause(True)
    reader.execute("commit")
    handle._next_try = 0.0
    backend.pause(True)
    assert handle.log_is_sound


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which process holds a lock")
def test_the_reader_is_named(path, make, spawn, monkeypatch):
    backend = make()
    backend.commit(new_jobs(1))
    process = spawn("read")
    assert process.stdout.readline() == "reading\n"
    monkeypatch.setattr(handle_module, "_LONG_LOG_BYTES", 0)
    with pytest.raises(QueueUnavailable, match=f"process {process.pid} keeps"):
        backend.commit(new_jobs(1))


LOCKS = """\
1: POSIX  ADVISORY  READ  4321 08:01:77 124 124
2: POSIX  ADVISORY  READ  4322 08:01:77 128 128
3: POSIX  ADVISORY  WRITE 4323 08:01:77 120 120
4: POSIX  ADVISORY  READ  4324 08:01:78 124 124
5: FLOCK  ADVISORY  WRITE 4325 08:01:77 0 EOF
5: -> POSIX  ADVISORY  READ 4326 08:01:77 124 124
6: POSIX  ADVISORY  READ  10 08:01:77 125 125
7: POSIX  ADVISORY  READ  -1 08:01:77 125 125
8: OFDLCK ADVISORY  READ  4327 fd:00:77 0 EOF
nonsense
"""


def test_a_reader_is_who_holds_one_of_five_bytes_of_the_index():
    assert reader_pids(LOCKS, inode=77, own=10) == [4321, 4327]
