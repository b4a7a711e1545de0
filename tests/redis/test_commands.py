"""A command that a server does not give is done without where it can be, and named where it cannot."""

from __future__ import annotations

import re
import secrets

import pytest
import redis

from eventspool import Client, QueueError, open_queue
from eventspool._backends.redis.commands import DISPENSABLE, NEEDED, Refusal, read_refusal, select_missing
from eventspool._backends.redis.errors import find_refusal, translate
from eventspool._config import RedisOpts
from eventspool._contract.tools import LONG, claim_soon, eventually, fail, ids_of, new_job, new_jobs, retry
from eventspool._doctor.finding import Severity
from eventspool._doctor.redis_checks import check_redis
from eventspool._doctor.redis_facts import ask_redis
from eventspool._job import JobState
from eventspool.testing import DataPlane
from redis_servers import (
    NEWEST,
    OLDEST,
    available_servers,
    documented_acl,
    make_backend,
    new_queue_name,
    running,
)

SERVERS = [name for name in (OLDEST, *NEWEST) if name in available_servers()]
OTHERS = ("client", "config", "hello", "command", "exec", "multi")
RENAMED = sorted({*(name.partition("|")[0] for name in NEEDED), *OTHERS})
FREE = {"client", "config", "hello", "command", *(name.partition("|")[0] for name in DISPENSABLE)}
"""Without these everything goes on."""
CANARY = "canary-4711"


def go_through(backend):
    """Call what clients and operators call."""
    backend.open()
    jobs = new_jobs(5)
    assert backend.commit(jobs).accepted == 5
    assert backend.wait(20.0) is True
    assert backend.wait(0.3) is False, "the token was taken"
    assert ids_of(claim_soon(backend, "t", limit=5)) == ids_of(jobs)
    backend.renew("t", ids_of(jobs), visibility_timeout=LONG, note="{}")
    assert backend.settle("t", [fail(jobs[0].id), retry(jobs[1].id)]) == [True, True]
    assert backend.ack(ids_of(jobs[2:])) == 3
    backend.leave("t")
    assert backend.lookup(ids_of(jobs)).keys() == set(ids_of(jobs[:2]))
    assert (backend.stats().failed.jobs, len(backend.processors())) == (1, 0)
    assert [job.id for job in backend.jobs(JobState.FAILED, limit=5, after="x")] == [jobs[0].id]
    assert backend.reasons()["rejected"].jobs == 1
    backend._connection.execute("HSETNX", backend._payloads, "orphan", b"x")
    assert backend.repair() == 1
    assert backend.replay([jobs[0].id]) == 1


def ask_doctor(url):
    return list(check_redis(ask_redis(RedisOpts(url=url), prefix="test", queue_name=CANARY)))


def find_named(text):
    return set(re.findall(r"\b[A-Z]{3,}(?: LOAD)?\b", text)) - {
        "ACL",
        "THE",
        "USER",
        "LACKS",
        "PERMISSION",
        "NOPERM",
    }


@pytest.mark.rotating
@pytest.mark.parametrize("name", [SERVERS[0], SERVERS[-1]])
@pytest.mark.parametrize("command", RENAMED)
def test_each_command_that_a_server_has_not_is_done_without_or_named(name, command):
    with running(name, "--rename-command", command.upper(), "") as server:
        backend = make_backend(server, queue_name=CANARY)
        if command in FREE or command == "eval":
            go_through(backend)
        else:
            with pytest.raises(
                QueueError, match=rf"has no {command.upper()}\b|, {command.upper()}\b"
            ) as caught:
                go_through(backend)
            assert find_named(str(caught.value)) == {command.upper()}
            assert caught.value.__context__ is caught.value.__cause__ is None
        backend.close()


@pytest.mark.rotating
@pytest.mark.parametrize("name", [SERVERS[0], SERVERS[-1]])
@pytest.mark.parametrize("command", [*NEEDED, "multi", "exec"])
def test_each_command_that_an_acl_denies_is_done_without_or_named(name, command):
    rules = [rule for rule in documented_acl() if rule != f"+{command}"]
    with running(name) as server, redis.Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "few", "reset", "on", ">pw", "~test:*", *rules)
        backend = make_backend(server.url.replace("unix://", "unix://few:pw@"), queue_name=CANARY)
        if command in DISPENSABLE or command == "eval":
            go_through(backend)
        else:
            with pytest.raises(
                QueueError, match=rf"LACKS A PERMISSION: it may not call {command.upper()} \(NOPERM\)"
            ):
                go_through(backend)
        backend.close()


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize(
    ("missing", "named"),
    [
        (("EVALSHA", "EVAL"), "EVAL"),
        (("EVAL", "SCRIPT"), "EVAL"),
        (("MULTI", "TIME"), "MULTI"),
        (("HSETNX", "TIME"), "HSETNX, TIME"),
    ],
    ids=" ".join,
)
def test_what_is_missing_together_is_named_together(name, missing, named):
    args = [word for command in missing for word in ("--rename-command", command, "")]
    with running(name, *args) as server:
        backend = make_backend(server)
        with pytest.raises(QueueError) as caught:
            backend.open()
        told = re.search(r"has no ([A-Z, ]+) \(", str(caught.value))[1]
        assert set(named.split(", ")) <= set(told.split(", "))
        backend.close()


def test_a_script_that_was_lost_is_loaded_again_where_it_cannot_be_sent_along():
    with (
        running(NEWEST[1], "--rename-command", "EVAL", "") as server,
        redis.Redis.from_url(server.url) as admin,
    ):
        backend = make_backend(server)
        backend.open()
        admin.script_flush()
        assert backend.commit([new_job()]).accepted == 1
        backend.close()


def test_that_evalsha_is_missing_is_remembered():
    with (
        running(NEWEST[1], "--rename-command", "EVALSHA", "") as server,
        redis.Redis.from_url(server.url) as admin,
    ):
        backend = make_backend(server)
        for _ in range(5):
            backend.commit([new_job()])
        assert admin.info("errorstats")["errorstat_ERR"]["count"] == 1
        backend.close()


def test_a_client_delivers_without_all_that_it_can_do_without():
    missing = ("EVALSHA", "SCRIPT", "BLPOP", "INFO", "CONFIG", "CLIENT", "SELECT", "HELLO", "PING")
    args = [word for command in missing for word in ("--rename-command", command, "")]
    with running(NEWEST[1], *args) as server, DataPlane() as plane:
        ready = []
        client = Client(plane.write_key, data_plane_url=plane.url, flush_at=1)
        client.create_persistence_queue({"url": server.url}, ready.append)
        for n in range(5):
            client.track("u", f"E{n}")
        assert client.flush(timeout=60).delivered == 5
        client.close()
        assert ready == [None]


@pytest.mark.parametrize("command", ["HSETNX", "MULTI", "TIME", "ZADD"])
def test_log_callback_and_doctor_say_the_same_of_a_command_that_is_missing(caplog, command):
    with running(NEWEST[1], "--rename-command", command, "") as server, DataPlane() as plane:
        ready = []
        client = Client(plane.write_key, data_plane_url=plane.url, flush_at=1)
        client.create_persistence_queue({"url": server.url}, ready.append)
        client.track("u", CANARY, {"much": secrets.token_urlsafe(20_000)})  # a small one does without MULTI
        assert eventually(lambda: ready)
        assert eventually(lambda: "it has no" in caplog.text)
        client.close(0.1)
        findings = ask_doctor(server.url)
    sentence = f"it has no {command} (renamed, switched off, or not offered by its host)"
    assert sentence in str(ready[0])
    assert sentence in caplog.text
    assert sentence in [found.what for found in findings]
    assert CANARY not in caplog.text


@pytest.mark.parametrize("command", ["EVALSHA", "BLPOP", "INFO", "PING"])
def test_doctor_says_what_it_costs_to_do_without(command):
    with running(NEWEST[1], "--rename-command", command, "", aof="always") as server:
        [found] = ask_doctor(server.url)
    assert (found.check, found.severity) == ("redis.commands", Severity.NOTE)
    assert f"has no {command} " in found.what
    assert "without it" in found.what


def test_a_database_that_cannot_be_selected_is_done_without():
    with running(NEWEST[1], "--rename-command", "SELECT", "") as server:
        backend = make_backend(server.url.replace("db=0", "db=2"))
        with pytest.raises(QueueError, match=r"has no SELECT .*use database 0 instead of 2"):
            backend.open()
        backend.close()


def test_keys_that_an_acl_denies_are_told_from_commands(server, raw):
    raw.execute_command("ACL", "SETUSER", "few", "reset", "on", ">pw", "~elsewhere:*", "+@all")
    backend = make_backend(server.url.replace("unix://", "unix://few:pw@"), queue_name="mine")
    for call in (backend.open, lambda: backend.commit([new_job()]), backend.stats):
        with pytest.raises(
            QueueError, match=r"may not use the queue's keys, which begin with test:\{mine:0\}:"
        ):
            call()
    backend.close()


def test_who_looks_is_told_of_what_it_needs_only(server, raw):
    """An operator's user may read, and store nothing."""
    raw.execute_command(
        "ACL", "SETUSER", "look", "reset", "on", ">pw", "~hightouch:*", *documented_acl(), "-hsetnx", "-multi"
    )
    with open_queue(server.url.replace("unix://", "unix://look:pw@"), new_queue_name()) as queue:
        assert queue.stats().waiting.jobs == 0


@pytest.mark.parametrize(
    ("said", "command"),
    [
        ("unknown command `EVALSHA`, with args beginning with: `HSETNX`, ", "evalsha"),
        ("unknown command 'config', with args beginning with: 'GET' 'EVAL' ", "config"),
        ("unknown command 'SCRIPT|LOAD'", "script|load"),
        ("Command is not available: 'CONFIG'. See https://example.com", "config"),
        ("command 'blpop' is not allowed", "blpop"),
        ("unsupported command 'multi'", "multi"),
        ("This command is not supported: EVALSHA", ""),
        ("Unknown Redis command called from script script: 0a, on @user_script:9.", ""),
        (f"unknown command '{CANARY}'", ""),
    ],
)
def test_what_hosted_servers_say_is_understood_and_only_names_are_taken_from_it(said, command):
    found = find_refusal(redis.ResponseError(said))
    assert found == Refusal("unknown", command)
    text = str(translate(redis.ResponseError(said), "q"))
    assert CANARY not in text
    assert "example" not in text


@pytest.mark.parametrize("said", ["wrong number of arguments for 'get' command", "syntax error", ""])
def test_other_errors_are_no_refusal(said):
    assert find_refusal(redis.ResponseError(said)) is None


def test_names_in_arguments_are_not_taken():
    assert read_refusal(
        "NOPERM", f"User {CANARY} has no permissions to run the '{CANARY}' command"
    ) == Refusal("denied")


def test_a_script_can_be_sent_or_loaded_one_way_suffices():
    assert select_missing({"eval": "unknown"}) == {}
    assert select_missing({"evalsha": "unknown", "script|load": "denied"}) == {}
    assert select_missing({"eval": "unknown", "script|load": "unknown"}) == {"eval": "unknown"}
    assert select_missing({"hvals": "denied", "hset": "denied"}) == {"hset": "denied"}
