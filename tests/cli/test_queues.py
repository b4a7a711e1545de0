"""``eventspool queues`` and ``eventspool top``: all queues of a server, found, judged and sorted."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
import time
from typing import Any

import pytest
import redis

from eventspool import Client, QueueOpts
from eventspool._redis_server import RedisServer


def store(url: str, name: str, events: int = 1, **more) -> None:
    with Client("k", process=False, persistence=QueueOpts(url=url, queue_name=name, **more)) as client:
        for number in range(events):
            client.track(f"u{number}", "E")
        assert client.flush(until="persisted", timeout=60).pending == 0


@pytest.fixture(scope="module")
def server():
    with RedisServer() as server:
        store(server.url, "orders", 5, is_multi_processor=True)
        store(server.url, "divided", 7, is_multi_processor=True, partitions=3, prefix="shop")
        client = redis.Redis(unix_socket_path=str(server.socket_path))
        client.set("{hightouch}:old:id", 4)
        client.rpush("{hightouch}:old:wait", "1", "2", "3")
        client.zadd("{hightouch}:old:failed", {"4": 1})
        client.set("counter:of:id", 1)  # of another program
        client.close()
        yield server


@pytest.fixture
def ask(run):
    def ask(*arguments: str, status: int = 0) -> Any:
        done = run(*arguments, "--json")
        assert done.status == status, done.err
        return done.json

    return ask


def test_all_queues_of_a_server_are_found_whatever_their_prefix(server, ask):
    seen = ask("queues", server.url)
    orders, divided, bull = sorted(seen["queues"], key=lambda each: (each["is_bull"], each["pending_events"]))

    assert (orders["queue_name"], orders["prefix"], orders["pending_events"]) == ("orders", "hightouch", 5)
    assert (divided["queue_name"], divided["prefix"], divided["pending_events"]) == ("divided", "shop", 7)
    assert (bull["queue_name"], bull["jobs"], bull["failed_jobs"], bull["is_bull"]) == ("old", 4, 1, True)
    assert orders["memory_bytes"] > orders["payload_bytes"] > 0
    assert (orders["level"], orders["troubles"][0]["code"]) == ("error", "queue.processors")
    assert orders["accepted_per_second"] == 0.0
    assert seen["servers"][0]["used_bytes"] > orders["memory_bytes"]
    assert seen["unreachable"] == []


def test_a_table_shows_them_with_what_is_wrong(server, run):
    lines = run("queues", server.url).out.splitlines()

    assert {line.split()[0] for line in lines[2:5]} == {"orders", "shop:divided", "{hightouch}:old"}
    assert "no worker delivers" in lines[2]
    assert "of Bull" in lines[4]


def test_names_and_prefixes_narrow_it_and_may_be_repeated(server, ask):
    def names(*arguments: str) -> set[str]:
        return {each["queue_name"] for each in ask("queues", server.url, *arguments)["queues"]}

    assert names("--queue-name", "orders", "--queue-name", "divided") == {"orders", "divided"}
    assert names("--prefix", "shop") == {"divided"}
    assert names("--queue-name", "nothing") == set()


def test_a_server_that_is_away_is_named_and_the_others_are_listed(server, ask):
    seen = ask("queues", "redis://127.0.0.1:1/0", server.url, status=1)

    assert {each["queue_name"] for each in seen["queues"]} == {"orders", "divided", "old"}
    assert "127.0.0.1:1" in seen["unreachable"][0]["problem"]


def test_the_queues_of_a_file_are_found_and_a_file_that_is_not_there_is_not_made(tmp_path, run, ask):
    url = f"sqlite:///{tmp_path}/q.db"
    store(url, "a", 2)
    store(url, "b", 3)
    seen = ask("queues", url)
    assert {(each["queue_name"], each["pending_events"]) for each in seen["queues"]} == {("a", 2), ("b", 3)}

    missing = run("queues", f"sqlite:///{tmp_path}/other.db")
    assert (missing.status, "check the path" in missing.err) == (1, True)
    assert not (tmp_path / "other.db").exists()


def test_one_queue_named_twice_is_refused_instead_of_the_last_taken(server, run):
    asked = ["queue", "status", "--queue", server.url, "--queue-name", "orders", "--queue-name", "divided"]

    done = run(*asked)
    assert (done.status, "eventspool queues" in done.err) == (2, True)


def test_top_without_a_terminal_prints_one_look(server, run):
    done = run("top", server.url, "--interval", "0.1")
    assert (done.status, "orders" in done.out) == (0, True)


@pytest.mark.parametrize("end", [b"q", b"\x03"], ids=["q", "ctrl-c"])
def test_top_moves_on_a_terminal_until_a_key_ends_it(server, end):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "eventspool", "top", server.url, "--interval", "0.2"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"},
        start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(theirs, __import__("termios").TIOCSCTTY, 0),
    )
    os.close(theirs)
    seen, deadline = b"", time.monotonic() + 60
    while seen.count(b"q ends it") < 3 and time.monotonic() < deadline:
        seen += os.read(ours, 65536)
    os.write(ours, end)
    with contextlib.suppress(OSError):  # the terminal is gone
        while os.read(ours, 65536):
            pass
    os.close(ours)
    assert (process.wait(60), b"orders" in seen) == (0, True)
