"""Asking a server what it refuses runs nothing, whatever comes in between."""

from __future__ import annotations

import pytest
import redis

from eventspool import QueueError
from eventspool._backends.redis.probe import find_refused
from eventspool._claim import ClaimTerms
from eventspool._contract.tools import new_jobs
from redis_servers import make_backend


@pytest.fixture
def stored(server):
    """A queue that holds three jobs."""
    backend = make_backend(server.url)
    backend.open()
    backend.commit(new_jobs(3))
    yield backend
    backend.close()


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, redis.ConnectionError])
@pytest.mark.parametrize("number", [1, 3, 4, 10, 14])
def test_whatever_comes_amid_it_the_queue_is_as_it_was(stored, monkeypatch, error, number):
    """The driver connects anew then, outside of the transaction that only lists what it is sent."""
    read = redis.connection.AbstractConnection.read_response
    replies = []

    def cut_off(self, *args, **kwargs):
        replies.append(self)
        if len(replies) == number:
            self.disconnect()
            raise error
        return read(self, *args, **kwargs)

    client = stored._connection._connect()
    monkeypatch.setattr(redis.connection.AbstractConnection, "read_response", cut_off)
    with pytest.raises(error):
        find_refused(client, stored._payloads)
    claimed = stored.claim("t", ClaimTerms(limit=9, visibility_timeout=60.0)).jobs
    assert [job.payload is not None for job in claimed] == [True] * 3


@pytest.mark.parametrize(
    "words", ["transactions are disabled", "command 'MULTI' not support for normal user"]
)
def test_without_a_transaction_nothing_is_asked(stored, monkeypatch, words):
    """However a server says that it has none."""
    sent = []
    send = redis.connection.AbstractConnection.send_command

    def note(self, *args, **kwargs):
        sent.append(args[0])
        return send(self, "PING") if args[0].lower() == "multi" else send(self, *args, **kwargs)

    read = redis.connection.AbstractConnection.read_response

    def refuse(self, *args, **kwargs):
        reply = read(self, *args, **kwargs)
        if reply == b"PONG":
            raise redis.ResponseError(words)
        return reply

    client = stored._connection._connect()
    monkeypatch.setattr(redis.connection.AbstractConnection, "send_command", note)
    monkeypatch.setattr(redis.connection.AbstractConnection, "read_response", refuse)
    find_refused(client, stored._payloads)
    assert {name.lower() for name in sent} <= {"multi", "exec", "select", "client"}


def test_settings_that_cannot_be_asked_for_are_no_excuse_for_what_comes_from_outside(stored, monkeypatch):
    from eventspool._backends.redis.settings import ask_settings

    client = stored._connection._connect()

    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(client, "config_get", fail)
    with pytest.raises((MemoryError, QueueError)):
        ask_settings(client, "maxmemory")
