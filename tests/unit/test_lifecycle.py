"""A client that was only made begins by itself, but not while gevent may replace threads, nor after it has."""

from __future__ import annotations

import queue
import sys
import time

import pytest

from eventspool._guest import lifecycle

PATIENCE = 60.0


class Client:
    """Notes that it begins."""

    def __init__(self):
        self.begun = 0

    def begin_unasked(self):
        self.begun += 1


@pytest.fixture
def client(monkeypatch):
    """A client that has a hundredth of a second until it begins, and nothing else that is to begin."""
    monkeypatch.setattr(lifecycle, "_BEGIN_AFTER", 0.01)
    lifecycle._forget_starts()
    yield Client()
    lifecycle._starts.retire(PATIENCE)
    lifecycle._forget_starts()


def await_begun(client):
    deadline = time.monotonic() + PATIENCE
    while not client.begun:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert client.begun == 1


def test_it_begins_by_itself(client, monkeypatch):
    monkeypatch.delitem(sys.modules, "gevent", raising=False)
    lifecycle.begin_later(client)
    await_begun(client)


def test_it_waits_while_gevent_may_replace_threads(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "gevent", object())
    lifecycle.begin_later(client)
    time.sleep(0.2)
    assert not client.begun
    monkeypatch.delitem(sys.modules, "gevent")
    await_begun(client)


def test_it_does_not_wait_for_ever_for_gevent_to_replace_threads(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "gevent", object())
    monkeypatch.setattr(lifecycle, "_PATCH_PATIENCE", 0.1)
    lifecycle.begin_later(client)
    await_begun(client)


def test_where_gevent_has_replaced_threads_the_first_event_begins(client, monkeypatch):
    class Green(queue.SimpleQueue):
        """Stands for gevent's."""

    lifecycle.begin_later(client)
    monkeypatch.setattr(queue, "SimpleQueue", Green)
    time.sleep(0.2)
    assert not client.begun
