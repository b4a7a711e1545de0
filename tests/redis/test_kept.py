"""A connection stays out of the driver's pool from one script to the next, and no longer than it is known to be open."""

from __future__ import annotations

import os

import pytest

from eventspool._backends.redis import kept
from eventspool._contract.tools import new_job


@pytest.fixture
def taken(backend, monkeypatch):
    """The connections that were taken out of the pool."""
    pool = backend._connection._client.connection_pool
    found, get = [], pool.get_connection

    def note():
        found.append(get())
        return found[-1]

    monkeypatch.setattr(pool, "get_connection", note)
    backend._connection._kept.drop()
    monkeypatch.setattr(kept, "_FRESH", 600.0)  # on a busy machine a step of these tests takes long
    return found


@pytest.fixture
def backend(make):
    """An opened queue."""
    return make()


def test_scripts_one_after_another_take_one_connection(backend, taken):
    for _ in range(10):
        assert backend.commit([new_job()]).accepted == 1
        assert backend.stats().waiting.jobs
    assert len(taken) == 1


def test_after_a_pause_the_pool_finds_out_that_the_server_has_closed_it(backend, taken, raw, monkeypatch):
    monkeypatch.setattr(kept, "_FRESH", 0.0)
    assert backend.commit([new_job()]).accepted == 1
    raw.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert backend.commit([new_job()]).accepted == 1, "on a connection that was made anew"
    assert len(taken) == 2


def test_an_error_in_the_reply_leaves_the_connection_in_use(backend, taken, raw):
    backend.commit([new_job()])
    raw.set(backend._prefix + "m", "no hash")
    for _ in range(3):
        with pytest.raises(Exception, match="WRONGTYPE"):
            backend.commit([new_job()])
    assert len(taken) == 1


def test_two_at_a_time_have_one_each_and_the_pool_gets_one_back(backend, taken):
    connection = backend._connection
    pool = connection._client.connection_pool
    first, second = connection._kept.take(pool), connection._kept.take(pool)
    assert first is not second
    connection._kept.keep(pool, first)
    connection._kept.keep(pool, second)
    assert connection._kept.take(pool) is first
    assert connection._kept.take(pool) is second, "out of the pool"
    for each in (first, second):
        connection._kept.keep(pool, each)


def test_a_child_takes_none_of_its_parents_and_leaves_it_open(backend, taken, monkeypatch):
    backend.commit([new_job()])
    [parents] = taken
    childs = os.getpid() + 1
    monkeypatch.setattr(kept.os, "getpid", lambda: childs)
    other = backend._connection._kept.take(backend._connection._client.connection_pool)
    monkeypatch.undo()
    assert other is not parents
    assert parents._sock is not None
    other.disconnect()


def test_a_queue_that_is_closed_keeps_no_connection(backend, raw):
    backend.commit([new_job()])
    backend.close()
    assert not backend._connection._kept._kept
    assert backend.commit([new_job()]).accepted == 1, "it connects anew"
