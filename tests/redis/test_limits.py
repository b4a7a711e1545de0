"""A batch that a server can never take is told apart from one that has to wait."""

from __future__ import annotations

import pytest
import redis

from eventspool._backends.redis.settings import find_longest
from eventspool._config import Ordering
from eventspool._contract.tools import drain, ids_of, new_jobs
from eventspool._exceptions import QueueUnavailable
from eventspool._job import CommitResult, NewJob, new_job_id
from redis_servers import NEWEST, OLDEST, available_servers, documented_acl, make_backend, running

MIB = 1 << 20


@pytest.fixture(params=[name for name in (OLDEST, *NEWEST) if name in available_servers()])
def own(request):
    """A server whose settings are ours to change."""
    with running(request.param) as server:
        yield server


@pytest.fixture
def admin(own):
    with redis.Redis.from_url(own.url) as client:
        yield client


def large(size):
    return NewJob(new_job_id(), bytes(size), 1)


@pytest.mark.parametrize("setting", ["proto-max-bulk-len", "client-query-buffer-limit"])
@pytest.mark.parametrize("ordering", [Ordering.NONE, Ordering.FIFO], ids=["shared", "in order"])
def test_what_the_server_never_takes_is_impossible_and_the_rest_is_stored(own, admin, setting, ordering):
    admin.config_set(setting, MIB)
    backend = make_backend(own, ordering=ordering)
    backend.open()
    before, after = new_jobs(2)
    long = large(MIB + 1)
    assert backend.commit([before, long, after]) == CommitResult(2, impossible=(long.id,))
    assert ids_of(drain(backend, "t")) == ids_of([before, after])
    backend.close()


@pytest.mark.parametrize("setting", ["proto-max-bulk-len", "client-query-buffer-limit"])
def test_a_limit_that_is_set_while_a_client_runs_is_found_out_and_one_that_is_lifted_too(own, admin, setting):
    backend = make_backend(own)
    backend.open()
    admin.config_set(setting, MIB)
    long = large(2 * MIB)
    with pytest.raises(QueueUnavailable):
        backend.commit([long])  # it closes the connection without a word
    assert backend.commit([long]).impossible == (long.id,)
    admin.config_set(setting, 64 * MIB)
    assert backend.commit([long]) == CommitResult(1)
    backend.close()


def test_small_batches_of_one_commit_are_cut_to_what_the_server_takes_at_once(own, admin):
    admin.config_set("client-query-buffer-limit", MIB)
    backend = make_backend(own)
    backend.open()
    jobs = [large(300_000) for _ in range(12)]
    assert backend.commit(jobs) == CommitResult(12)
    backend.close()


def test_a_batch_larger_than_the_whole_memory_is_impossible_but_a_full_one_is_waited_for(own, admin):
    admin.config_set("maxmemory", 4 * MIB)
    backend = make_backend(own)
    backend.open()
    long = large(5 * MIB)
    assert backend.commit([long]).impossible == (long.id,)
    admin.config_set("maxmemory", 1)
    for _ in range(3):
        with pytest.raises(QueueUnavailable, match=r"\(OOM\)"):
            backend.commit([large(100)])
    backend.close()


def test_a_commit_without_open_finds_the_limit_too(own, admin):
    admin.config_set("proto-max-bulk-len", MIB)
    backend = make_backend(own)
    long = large(3 * MIB)
    with pytest.raises(QueueUnavailable):
        backend.commit([long])
    assert backend.commit([long]).impossible == (long.id,)
    backend.close()


def test_who_may_not_ask_for_the_limits_stores_all_the_same(own, admin):
    admin.execute_command("ACL", "SETUSER", "least", "on", ">pw", "~test:*", *documented_acl())
    backend = make_backend(own.url.replace("unix://", "unix://least:pw@"))
    backend.open()
    assert backend.commit([large(2 * MIB)]) == CommitResult(1)
    backend.close()


@pytest.mark.parametrize("long_bytes", [1000, 20_000], ids=["one command", "a transaction"])
def test_what_a_hosted_server_says_of_a_long_request_is_understood(own, monkeypatch, long_bytes):
    """Their limits are in no setting: they name them when they refuse."""
    backend = make_backend(own)
    backend.open()
    short, long = large(10), large(long_bytes)
    from redis.client import Pipeline
    from redis.connection import AbstractConnection

    execute, send_command = Pipeline.execute, AbstractConnection.send_command

    def limited(pipeline, *args, **options):
        if any(long.payload in command.args for command in _commands(pipeline)):
            raise redis.ResponseError("max request size exceeded. Limit: 900 bytes, Actual: 1234 bytes")
        return execute(pipeline, *args, **options)

    def send(connection, *args, **options):
        if long.payload in args:
            raise redis.ResponseError("max request size exceeded. Limit: 900 bytes, Actual: 1234 bytes")
        return send_command(connection, *args, **options)

    monkeypatch.setattr(Pipeline, "execute", limited)
    monkeypatch.setattr(AbstractConnection, "send_command", send)
    assert backend.commit([short, long]) == CommitResult(1, impossible=(long.id,))
    backend.close()


def _commands(pipeline):
    class Command:
        def __init__(self, entry):
            self.args = getattr(entry, "args", None) or entry[0]

    return [Command(entry) for entry in pipeline.command_stack]


def test_limits_that_make_no_sense_are_none():
    assert find_longest({}, {}) == float("inf")
    assert find_longest(
        {"maxmemory": 0}, {"proto-max-bulk-len": "", "client-query-buffer-limit": "-1"}
    ) == float("inf")
    assert find_longest({"maxmemory": 100, "used_memory_startup": 500_000}, {}) == float("inf")
    assert find_longest({"maxmemory": 700_000, "used_memory_startup": 500_000}, {}) == 200_000
