"""``eventspool doctor`` finds what was planted on real servers, and nothing on a healthy set-up."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import http.server
import re
import socket
import sqlite3
import ssl
import threading
import time
import uuid
from pathlib import Path

import pytest
import redis
import trustme

from eventspool import open_queue
from eventspool._backends import create_backend
from eventspool._backends.redis.commands import IN_CLUSTERS, NEEDED
from eventspool._claim import ClaimTerms
from eventspool._config import QueueOpts
from eventspool._doctor import redis_checks
from eventspool._job import Failure, NewJob, Settlement, SettlementKind
from eventspool._redis_server import RedisServer
from redis_servers import NEWEST, OLDEST, documented_acl, running

KEY = "canary-write-key"
PASSWORD = "canary-password"
NAME = "doctor"
SLOW = 5.0
"""Seconds that a PING may take: more than on any machine, so that a busy one is not found slow."""
FRESH = ("queue.missing", "note")
"""What is told of a queue in which nothing was stored yet, on a server that has no other: most of these are."""
MACHINES = {"sqlite.volatile", "sqlite.disk"}
"""What may be true of the machine that runs the tests."""


@pytest.fixture(scope="module")
def server():
    """A server as it should be."""
    with RedisServer(aof="everysec") as server:
        yield server


def test_an_encryption_key_that_nothing_can_use_is_found(run, examine, tmp_path):
    """`queue status` ends with 2 for it, and doctor says why."""
    url = f"sqlite:///{tmp_path}/queue.db"
    with contextlib.closing(create_backend(QueueOpts(url=url, queue_name=NAME))) as backend:
        backend.open()
    for key in ("garbage", "c2hvcnQ="):
        assert run("queue", "status", "--queue", url, EVENTSPOOL_ENCRYPTION_KEY=key).status == 2
        assert examine(url, EVENTSPOOL_ENCRYPTION_KEY=key)["encryption.key"] == "error"
        assert key not in run("doctor", "--interval", "0", "--queue", url, EVENTSPOOL_ENCRYPTION_KEY=key).out
    good = base64.b64encode(bytes(32)).decode()
    assert "encryption.key" not in examine(url, EVENTSPOOL_ENCRYPTION_KEY=good)


@pytest.fixture
def examine(run, target, monkeypatch):
    """Run doctor; return its findings by check, and make sure that its exit status and its words fit them."""

    monkeypatch.setattr(redis_checks, "SLOW", SLOW)

    def examine(url=None, *arguments, **env):
        queue = ["--queue", url, "--queue-name", NAME] if url else []
        done = run("doctor", *queue, "--interval", "0", "--json", *arguments, **{**target, **env})
        found = {each["check"]: each for each in done.json["findings"]}
        needs_action = any(each["severity"] != "note" for each in found.values())
        assert (done.status, done.json["healthy"]) == (int(needs_action), not needs_action), done
        assert all(each["what"] and each["action"] for each in found.values())
        assert KEY not in done.out + done.err
        assert PASSWORD not in done.out + done.err
        severities = {check: each["severity"] for check, each in found.items()}
        return {check: severity for check, severity in severities.items() if (check, severity) != FRESH}

    return examine


@pytest.fixture
def backend(server):
    """An empty queue on the healthy server."""
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    opened = create_backend(QueueOpts(url=server.url, queue_name=NAME, is_multi_processor=True))
    opened.open()
    yield opened
    opened.close()


def job(payload=b"rubbish", *, age=0.0):
    created = int((time.time() - age) * 1000)
    return NewJob(f"{created:012x}{uuid.uuid4().hex[:16]}", payload, 1)


# A healthy set-up


@pytest.mark.parametrize("name", [OLDEST, *NEWEST])
def test_a_healthy_redis_set_up_is_left_in_peace(examine, name):
    with running(name, aof="everysec") as server:
        assert examine(server.url) == {}


def test_a_healthy_sqlite_set_up_is_left_in_peace(examine, file):
    assert examine(f"sqlite:///{file}").keys() <= MACHINES


def test_a_set_up_at_work_is_healthy(examine, backend, server):
    backend.commit([job()])
    backend.claim("token", ClaimTerms(limit=1, visibility_timeout=60))
    backend.renew("token", [], visibility_timeout=60, note="")

    assert examine(server.url) == {}


def test_the_least_user_can_be_examined_and_only_cannot_say_how_the_file_is_synced(examine, server):
    assert examine(as_user(server, *documented_acl())) == {"redis.appendfsync": "note"}


def test_a_misspelt_variable_and_a_wrong_value_are_found_and_not_repeated(run, examine, file):
    url = f"sqlite:///{file}"
    wrong = {
        "EVENTSPOOL_WRITEKEY": "canary-1",
        "EVENTSPOOL_FLUSH_AT": "canary-2",
        "EVENTSPOOL_XYZZY": "canary-3",
    }
    found = examine(url, **wrong)
    done = run("doctor", "--interval", "0", "--queue", url, **wrong)

    assert (found["environment.unknown"], found["environment.value"]) == ("note", "error")
    assert "did you mean EVENTSPOOL_WRITE_KEY?" in done.out
    assert "EVENTSPOOL_FLUSH_AT must be a whole number" in done.out
    assert "canary" not in done.out + done.err
    assert examine(url, EVENTSPOOL_WRITEKEY="1")["environment.unknown"] == "warning"


def test_people_read_what_to_do(run, server, target):
    done = run("doctor", "--queue", server.url, **{**target, "EVENTSPOOL_WRITE_KEY": "wrong"})

    assert done.status == 1
    assert "EVENTSPOOL_WRITE_KEY" in done.out
    assert "1 of them urgent" in done.err
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    assert "All is well" in run("doctor", "--queue", server.url, **target).out


def test_nothing_is_written(examine, server):
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
        examine(server.url)
        assert client.keys() == []


def test_a_queue_that_is_not_there_is_not_made(examine, tmp_path):
    assert examine(f"sqlite:///{tmp_path}/typo.db").items() >= {("sqlite.missing", "note")}
    assert list(tmp_path.iterdir()) == []


def test_it_needs_something_to_check(run):
    done = run("doctor", "--no-data-plane")

    assert (done.status, "--queue" in done.err) == (2, True)


# Redis


def as_user(server, *rules):
    """Return the URL of a user of *server* with these *rules*."""
    with redis.Redis.from_url(server.url) as admin:
        admin.execute_command("ACL", "SETUSER", "u", "reset", "on", f">{PASSWORD}", "~hightouch:*", *rules)
    return server.url.replace("unix://", f"unix://u:{PASSWORD}@")


@pytest.mark.parametrize(
    ("args", "aof", "expected"),
    [
        ((), None, {"redis.persistence": "error"}),
        (("--save", "3600 1"), None, {"redis.persistence": "warning"}),
        (("--appendfsync", "no"), "everysec", {"redis.appendfsync": "warning"}),
        (("--maxmemory-policy", "allkeys-lru"), "always", {"redis.eviction": "error"}),
        (("--maxmemory-policy", "volatile-ttl"), "always", {"redis.eviction": "warning"}),
        (("--maxmemory", "1"), "always", {"queue.full": "error"}),
        (("--replicaof", "127.0.0.1", "9"), "always", {"queue.read_only": "error"}),
        (("--requirepass", PASSWORD), "always", {"redis.reachable": "error"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_server_that_is_set_up_wrong_is_found(examine, args, aof, expected):
    with RedisServer(aof=aof, args=args) as server:
        assert examine(server.url) == expected


def test_a_server_that_is_not_there_is_found(examine):
    assert examine("redis://127.0.0.1:9/0") == {"redis.reachable": "error"}


def test_a_wrong_password_is_found(examine, server):
    url = as_user(server, *documented_acl()).replace(PASSWORD, "wrong")
    assert examine(url) == {"redis.reachable": "error"}


@pytest.mark.parametrize(
    "missing", ["+evalsha", "+rpush", "+exec", "+multi", "+info", "+ping", "+script|load"]
)
@pytest.mark.parametrize("name", [OLDEST, NEWEST[1]])
def test_a_permission_that_is_missing_is_named(run, name, missing):
    with running(name, aof="always") as server:
        url = as_user(server, *(rule for rule in documented_acl() if rule != missing))
        done = run("doctor", "-q", url, "--no-data-plane", "--json")
    [found] = [each for each in done.json["findings"] if each["check"] == "redis.acl"]

    assert missing[1:].replace("|", " ").upper() in re.findall(r"[A-Z]+(?: LOAD)?", found["what"])
    assert done.status == 1


def test_keys_outside_of_the_users_pattern_are_found(examine, server):
    url = as_user(server, *documented_acl())
    assert examine(url, "--prefix", "other")["redis.acl"] == "error"


def test_every_command_that_a_queue_needs_is_tried():
    assert {f"+{name}" for name in (*NEEDED, *IN_CLUSTERS, "multi", "exec")} == set(documented_acl())


def test_a_save_that_failed_is_found(examine):
    args = ("--dbfilename", "taken")
    with RedisServer(aof="always", args=args) as server, redis.Redis.from_url(server.url) as client:
        (server.socket_path.parent / "taken").mkdir()
        with contextlib.suppress(redis.RedisError):
            client.bgsave()
        deadline = time.monotonic() + 60
        while client.info()["rdb_last_bgsave_status"] == "ok" and time.monotonic() < deadline:
            time.sleep(0.02)

        assert examine(server.url) == {"redis.saving": "error"}


def test_a_slow_way_to_the_server_is_found(examine, server, monkeypatch):
    monkeypatch.setattr(redis_checks, "SLOW", 0.02)
    with slow_relay(str(server.socket_path), 0.03) as port:
        assert examine(f"redis://127.0.0.1:{port}/0") == {"redis.latency": "warning"}


@contextlib.contextmanager
def slow_relay(path, delay):
    """Listen on a port and pass everything on to the Unix socket *path*, *delay* seconds late."""
    listener = socket.create_server(("127.0.0.1", 0))
    opened = [listener]

    def pump(source, sink, pause):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                time.sleep(pause)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(path)
                opened.extend((near, far))
                for source, sink, pause in ((near, far, delay), (far, near, 0)):
                    threading.Thread(target=pump, args=(source, sink, pause), daemon=True).start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join(5)
        for each in opened:
            each.close()


def test_a_clock_that_is_wrong_is_found(examine, server, monkeypatch):
    """This host's is: then it differs from both the server's and the data plane's."""
    true = time.time
    monkeypatch.setattr("time.time", lambda: true() - 60)

    assert examine(server.url, "--no-data-plane") == {"clock.apart": "warning"}


def own_address():
    """Return an address of this machine that is not the loopback's, or "" on a machine without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("198.51.100.1", 9))  # sends nothing
        return probe.getsockname()[0]
    return ""


@pytest.mark.parametrize("address", [own_address()] if own_address() else [])
def test_a_server_open_to_the_network_is_found(examine, address):
    with socket.create_server((address, 0)) as free:
        port = free.getsockname()[1]
    args = ("--bind", "127.0.0.1", address, "--protected-mode", "no")
    with RedisServer(port=port, aof="always", args=args):
        found = examine(f"redis://{address}:{port}/0")
    assert found == {"redis.auth": "error", "redis.tls": "warning"}


# SQLite


@pytest.fixture
def file(tmp_path):
    """A queue's file."""
    path = tmp_path / "queue.db"
    with contextlib.closing(create_backend(QueueOpts(url=f"sqlite:///{path}", queue_name=NAME))) as backend:
        backend.open()
    return path


def examine_file(examine, file):
    return {check: how for check, how in examine(f"sqlite:///{file}").items() if check not in MACHINES}


def test_a_file_that_others_can_read_is_found(examine, file):
    file.chmod(0o644)
    assert examine_file(examine, file) == {"sqlite.mode": "warning"}


def test_a_file_that_another_program_changed_is_found(examine, file):
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("pragma journal_mode = delete")
    assert examine_file(examine, file) == {"sqlite.journal": "warning"}


def test_a_damaged_file_that_was_set_aside_is_found(examine, run, file):
    file.write_bytes(b"rubbish" * 1000)
    assert run("queue", "status", "-q", f"sqlite:///{file}", "--queue-name", NAME).status == 0
    assert examine_file(examine, file) == {"sqlite.damaged": "warning"}


def test_another_applications_file_is_found(examine, tmp_path):
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("pragma journal_mode = wal")
        db.execute("create table t (x)")
    path.chmod(0o600)
    assert examine_file(examine, path) == {"queue.open": "error"}


@pytest.mark.parametrize("folder", ["/dev/shm"] if Path("/dev/shm").is_dir() else [])
def test_a_file_in_memory_is_found(examine, folder):
    path = Path(folder) / f"eventspool-{uuid.uuid4().hex}.db"
    assert examine(f"sqlite:///{path}")["sqlite.volatile"] == "error"


# The data plane


@contextlib.contextmanager
def answering(status=200, headers=(), *, tls=None):
    """A server that answers every POST alike."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response_only(status)
            for name, value in (("Content-Length", "0"), *headers):
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def test_a_refused_write_key_is_found(examine):
    assert examine(EVENTSPOOL_WRITE_KEY="wrong") == {"plane.key": "error"}


def test_no_write_key_is_a_note(examine, plane):
    assert examine(EVENTSPOOL_WRITE_KEY="") == {"plane.key": "note"}
    assert plane.stats().statuses.get("401", 0) == plane.stats().statuses.get(401, 0) == 0


def test_no_event_reaches_the_data_plane(examine, plane):
    assert examine() == {}
    assert (plane.stats().requests, plane.stats().events) == (1, 0)


def test_a_data_plane_that_is_down_is_found(examine, plane):
    plane.stop()
    assert examine() == {"plane.reachable": "error"}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, {"plane.answer": "error"}),
        (404, {"plane.answer": "error"}),
        (503, {"plane.unavailable": "error"}),
        (429, {"plane.throttled": "warning"}),
        (400, {}),
        (204, {}),
    ],
)
def test_an_answer_that_is_none_is_found(examine, status, expected):
    with answering(status) as url:
        assert examine(EVENTSPOOL_DATA_PLANE_URL=url) == expected


def test_a_data_plane_with_another_time_is_found(examine):
    with answering(headers=[("Date", "Tue, 01 Jan 2019 00:00:00 GMT")]) as url:
        assert examine(EVENTSPOOL_DATA_PLANE_URL=url) == {"plane.clock": "warning"}


@pytest.mark.parametrize(
    ("days", "expected"),
    [(90, {}), (3, {"plane.certificate": "warning"}), (-1, {"plane.tls_failed": "error"})],
)
def test_a_certificate_that_runs_out_is_found(examine, tmp_path, days, expected):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    now = dt.datetime.now(dt.UTC)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    until = now + dt.timedelta(days=days)
    authority.issue_cert("localhost", not_before=now - dt.timedelta(days=9), not_after=until).configure_cert(
        tls
    )
    with answering(tls=tls) as url:
        found = examine(EVENTSPOOL_DATA_PLANE_URL=url, SSL_CERT_FILE=str(tmp_path / "ca.pem"))
    assert found == expected


# The queue


def test_a_queue_that_nobody_works_is_found(examine, backend, server):
    backend.commit([job()])
    assert examine(server.url) == {"queue.processors": "error"}


def test_a_paused_queue_is_found(examine, backend, server):
    backend.pause(True)
    assert examine(server.url) == {"queue.paused": "warning"}


def test_old_jobs_are_found(examine, backend, server):
    backend.commit([job(age=3600)])
    backend.claim("token", ClaimTerms(limit=1, visibility_timeout=60))
    assert examine(server.url) == {"queue.age": "warning"}
    assert examine(server.url, "--max-age", "7200") == {}


def fail(backend, *reasons):
    jobs = [job() for _ in reasons]
    backend.commit(jobs)
    backend.claim("token", ClaimTerms(limit=len(jobs), visibility_timeout=60))
    terms = [
        Settlement(each.id, SettlementKind.FAIL, failure=Failure(reason, "why", 1))
        for each, reason in zip(jobs, reasons, strict=True)
    ]
    assert all(backend.settle("token", terms))


@pytest.mark.parametrize(
    ("reason", "check"),
    [("rejected", "queue.failed"), ("corrupt", "queue.unreadable"), ("encrypted", "encryption.wrong_key")],
)
def test_failed_jobs_are_found_by_reason(examine, backend, server, reason, check):
    fail(backend, reason)
    assert examine(server.url) == {check: "warning"}


def test_failures_that_grow_are_found(run, backend, server):
    stop = threading.Event()

    def go_on():
        while not stop.wait(0.05):
            fail(backend, "rejected")

    failing = threading.Thread(target=go_on)
    failing.start()
    try:
        done = run(
            "doctor", "-q", server.url, "--queue-name", NAME, "--no-data-plane", "--interval", "0.5", "--json"
        )
    finally:
        stop.set()
        failing.join()
    assert [each["check"] for each in done.json["findings"]] == ["queue.failing"]


def test_many_retries_are_found(examine, backend, server):
    jobs = [job() for _ in range(30)]
    backend.commit(jobs)
    backend.claim("token", ClaimTerms(limit=30, visibility_timeout=60))
    backend.settle("token", [Settlement(each.id, SettlementKind.RETRY, delay=600) for each in jobs])
    assert examine(server.url) == {"queue.delayed": "warning"}


def test_bounds_that_are_nearly_reached_are_found(examine, backend, server):
    jobs = [job() for _ in range(9)]
    backend.commit(jobs)
    backend.claim("token", ClaimTerms(limit=9, visibility_timeout=60))
    assert examine(server.url, "--max-jobs", "10") == {"queue.bounds": "warning"}
    assert examine(server.url, "--max-jobs", "9") == {"queue.bounds": "error"}


def test_keys_of_somebody_else_are_found(examine, backend, server):
    with redis.Redis.from_url(server.url) as client:
        client.set(f"hightouch:{{{NAME}:0}}:q", "mine")
    assert examine(server.url) == {"queue.open": "error"}


def test_a_worker_that_only_probes_is_found(examine, start, backend, server, target, plane, enqueue_one):
    plane.script("status=503")
    enqueue_one(server.url)
    start("worker", "--multi", "-q", server.url, "--queue-name", NAME, env=target)
    with open_queue(server.url, NAME) as queue:
        deadline = time.monotonic() + 60
        while not any(each.paused for each in queue.processors()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
    found = examine(server.url, "--no-data-plane")
    assert found
    assert found == {"plane.unavailable": "error"}


@pytest.fixture
def enqueue_one(run):
    def enqueue_one(url):
        events = b"\n".join(b'{"type": "track", "event": "E", "userId": "u%d"}' % i for i in range(3))
        done = run("send", "-", "--enqueue-only", "--multi", "-q", url, "--queue-name", NAME, data=events)
        assert done.status == 0, done

    return enqueue_one
