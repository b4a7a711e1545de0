"""
Whatever is read from the queue or the network is bounded, in size, depth and time; what breaks a bound is survived.

The bounds of single parts are tested beside these: envelopes in ``unit/test_envelope.py``, answers in
``transport/test_answers.py`` and ``transport/test_deadline.py``, the local data plane in
``dataplane/test_hostile_clients.py``, lines of a file in ``cli/test_lines.py``. Here it is the client that must go on.
"""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import sqlite3
import struct
import threading
import time
import tracemalloc
import zlib

import pytest
import redis

from e2e.harness import PATIENCE, assert_delivered, eventually
from e2e.test_poison_data import put
from eventspool import Client, ConfigError, QueueError
from eventspool._backends.redis.backend import RedisBackend
from eventspool._claim import ClaimTerms
from eventspool._config import ClientOpts, Ordering, RedisOpts
from eventspool._envelope import MAX_PAYLOAD_BYTES, MAX_TEXT_BYTES, seal
from eventspool._job import new_job_id

MIB = 1 << 20


def bomb(claimed, real):
    """Return an envelope that says it inflates to *claimed* bytes and inflates to *real*; every checksum fits."""
    text = b'{"batch":[' + b"0" * (real - 10)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)
    rest = struct.pack("<III", 1, zlib.crc32(text), claimed) + stream
    head = b"ES\1\1"
    return head + struct.pack("<I", zlib.crc32(rest, zlib.crc32(head))) + rest


@pytest.fixture(scope="module")
def hostile_payloads():
    """They take seconds to make, which processes that run other tests need not pay for."""
    return (
        bomb(1 << 31, 10 * MIB),
        bomb(
            1_000, 200 * MIB
        ),  # says less. It is sent as it is, which inflates nothing: the data plane refuses it
        seal([b"{}"])[:8] + b"\xff" * 4 + seal([b"{}"])[12:],  # a count of events beyond all bounds
        seal([b""] * 100_000)[:-1],  # nothing but separators
    )


@pytest.fixture
def peak():
    """Measure the most memory that Python takes beyond what it had."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    yield lambda: tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()


# -- the queue --


def test_hostile_payloads_are_parked_within_bounded_memory(clients, plane, store, hostile_payloads, peak):
    put(store, {new_job_id(): payload for payload in hostile_payloads})
    client = clients(persistence=store.opts(is_multi_processor=True))
    message_id = client.track("u1", "E")
    assert_delivered(client, 1)
    eventually(lambda: client.queue.stats().failed.jobs == 4, "all are parked")
    reasons = [job.reason for job in client.queue.jobs("failed")]
    assert sorted(reasons) == ["corrupt", "corrupt", "corrupt", "too_large"]
    assert plane.unique_ids() == [message_id]
    assert peak() < 32 * MIB


def test_a_payload_larger_than_any_batch_is_parked_unread(clients, plane, store, peak):
    size, job_id = MAX_PAYLOAD_BYTES + 1, new_job_id()
    put(store, {job_id: b"x"})
    if store.kind == "redis":
        # The server makes it, so that it does not pass through here.
        with redis.Redis.from_url(store.url, socket_timeout=60) as server:
            grow = "return redis.call('HSET', KEYS[1], ARGV[1], string.rep('x', ARGV[2]))"
            server.eval(grow, 1, f"hightouch:{{{store.queue_name}:0}}:d", job_id, size)
    else:
        db = sqlite3.connect(store.url.removeprefix("sqlite:///"))
        with db:
            db.execute("update payloads set payload = zeroblob(?)", (size,))
        db.close()
    client = clients(persistence=store.opts())
    client.track("u1", "E")
    assert_delivered(client, 1)
    [job] = client.queue.jobs("failed")
    assert (job.id, job.reason) == (job_id, "corrupt")
    with pytest.raises(QueueError):
        client.queue.events(job_id)
    assert client.queue.purge() == 1
    assert peak() < 16 * MIB


@pytest.mark.parametrize("event", [b"[" * 100_000 + b"]" * 100_000, b"9" * 100_000, b"\xff\xfe", b"{"])
def test_an_event_that_is_no_sane_json_cannot_be_shown_and_harms_nothing(clients, store, event, tmp_path):
    """The queue's bytes are what somebody else wrote; the data plane judges them, and we survive to look at them."""
    job_id = new_job_id()
    put(store, {job_id: seal([event])})
    client = clients(persistence=store.opts(), process=False)
    client.track("u1", "E")
    assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    with pytest.raises(QueueError, match="cannot be read"):
        client.queue.events(job_id)
    assert client.queue.export(tmp_path / "all.jsonl", "waiting") == 2


def test_no_batch_can_be_made_that_would_be_too_large_to_be_read():
    assert ClientOpts(write_key="k", max_batch_bytes=32 * MIB).max_batch_bytes < MAX_TEXT_BYTES
    with pytest.raises(ConfigError, match="max_batch_bytes"):
        ClientOpts(write_key="k", max_batch_bytes=32 * MIB + 1)


# -- Redis itself --

REPLIES = {
    "junk": b"HTTP/1.1 200 OK\r\n\r\n",
    "no number": b":NaN\r\n",
    "a length that is none": b"$-77\r\n",
    "a length beyond all bounds": b"$99999999999999999999\r\nx",
    "deeper than any stack": b"*1\r\n" * 100_000 + b":1\r\n",
    "an error with a secret": b"-ERR canary-of-an-event\r\n",
    "half a reply": b"$100\r\nabc",
}


@contextlib.contextmanager
def fake_redis(answer):
    """Run a server that answers every piece of data by *answer*, a function of the connection."""
    stopping = threading.Event()

    def serve(connection):
        with connection, contextlib.suppress(OSError):
            while not stopping.is_set() and connection.recv(65_536):
                answer(connection, stopping)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                thread = threading.Thread(target=serve, args=(connection,), daemon=True)
                threads.append(thread)
                thread.start()

    connections, threads = [], []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        stopping.set()
        listener.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in [acceptor, *threads]:
            thread.join(30.0)


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_whatever_redis_replies_is_an_error_of_ours(reply):
    with fake_redis(lambda connection, _: connection.sendall(reply)) as url:
        opts = RedisOpts(url=url, socket_timeout=0.3)
        backend = RedisBackend(
            opts, queue_name="q", prefix="p", ordering=Ordering.NONE, max_jobs=9, max_bytes=999
        )
        for call in (
            backend.open,
            lambda: backend.claim("t", ClaimTerms(limit=1, visibility_timeout=1.0)),
            backend.stats,
            lambda: backend.lookup(["x"]),
        ):
            with pytest.raises(QueueError) as caught:
                call()
            assert "canary" not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__}"
        with contextlib.suppress(QueueError):
            backend.close()


def drip_reply(connection, stopping):
    connection.sendall(b"$1000000\r\n")
    while not stopping.wait(0.05):
        connection.sendall(b"x")


def reply_nonsense(connection, stopping):
    connection.sendall(b"*3\r\n$1\r\nx\r\n*0\r\n:7\r\n" * 20)


@pytest.mark.parametrize("answer", [drip_reply, reply_nonsense])
def test_a_redis_gone_mad_keeps_nobody_from_leaving(answer):
    """Each byte may come within the socket's timeout, for ever: the host's calls and its exit are bounded all the same."""
    with fake_redis(answer) as url:
        client = Client("k", persistence=url, data_plane_url="http://127.0.0.1:9", flush_interval=0.01)
        client.track("u1", "E")
        began = time.monotonic()
        assert client.flush(timeout=0.3).pending == 1
        client.close(timeout=0.5)
        assert time.monotonic() - began < 30.0
        assert client.stats().lost == 1


# -- the data plane --


def headed(body, *headers, status="200 OK"):
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}"))
    return head.encode() + b"\r\n" + body


FLOOD = b"x" * 65_536
UNCLEAR = {
    "deep JSON": headed(b'{"errors":' + b"[" * 200_000 + b"]" * 50_000),
    "JSON that is none": headed(b'{"errors":[{"index":'),
    "a gzip bomb": headed(
        gzip.compress(compresslevel=1, data=b'"errors"' + bytes(100 * MIB)), "Content-Encoding: gzip"
    ),
}
NO_ANSWER = {
    "a header line without an end": [b"HTTP/1.1 200 OK\r\nX: ", FLOOD],
    "headers without an end": [b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10_000],
    "a status line without an end": [b"HTTP/1.1 200 ", FLOOD],
    "interim answers without an end": [b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000],
}


class Plane:
    """Answers the first request with what a test says, and every later one as it should."""

    def __init__(self, first):
        self._first = first
        self.requests = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(60)
                    while self._read(connection):
                        self.requests += 1
                        if self.requests == 1:
                            self._first(connection)
                            break
                        connection.sendall(headed(b'{"ok":true}'))

    @staticmethod
    def _read(connection):
        data = b""
        while b"\r\n\r\n" not in data:
            more = connection.recv(65_536)
            if not more:
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        left = int(re.search(rb"(?i)content-length: (\d+)", head)[1]) - len(body)
        while left > 0:
            left -= len(connection.recv(65_536))
        return True

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(70.0)


@pytest.fixture
def hostile_plane():
    with contextlib.ExitStack() as stack:

        def start(first):
            plane = Plane(first)
            stack.callback(plane.close)
            return plane

        yield start


def deliver(plane, store, **options):
    client = Client("k", data_plane_url=plane.url, persistence=store.opts(), flush_interval=0.01, **options)
    client.track("u1", "E", {"text": "x"})
    result = client.flush(timeout=PATIENCE)
    client.close(1.0)
    return result


@pytest.mark.parametrize("answer", UNCLEAR.values(), ids=UNCLEAR)
def test_a_hostile_body_of_a_2xx_is_an_unknown_outcome(hostile_plane, redis_store, peak, answer):
    """It may speak of rejections that nobody can read: the batch is tried again."""
    plane = hostile_plane(lambda connection: connection.sendall(answer))
    assert deliver(plane, redis_store).delivered == 1
    assert plane.requests == 2
    assert peak() < 64 * MIB  # up to 16 MiB are read


@pytest.mark.parametrize(
    "others", [b"9" * 100_000, b",".join(b"%d" % n for n in range(1000, 30_000))], ids=["long", "many"]
)
def test_errors_reject_what_they_are_about_whatever_else_they_name(hostile_plane, redis_store, peak, others):
    answer = headed(b'{"errors":[' + others + b",0]}")
    plane = hostile_plane(lambda connection: connection.sendall(answer))
    assert deliver(plane, redis_store).failed == 1
    assert plane.requests == 1
    assert peak() < 16 * MIB


@pytest.mark.parametrize("flood", NO_ANSWER.values(), ids=NO_ANSWER)
def test_an_endless_head_is_no_answer_and_the_events_are_kept(hostile_plane, redis_store, peak, flood):
    def pour(connection):
        connection.sendall(flood[0])
        while True:
            connection.sendall(flood[1])

    plane = hostile_plane(pour)
    assert deliver(plane, redis_store).delivered == 1
    assert plane.requests == 2
    assert peak() < 16 * MIB


@pytest.mark.parametrize(
    "opening", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"]
)
def test_a_slow_drip_ends_with_the_requests_deadline_and_the_events_are_kept(
    hostile_plane, redis_store, opening
):
    def drip(connection):
        connection.sendall(opening)
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)

    plane = hostile_plane(drip)
    began = time.monotonic()
    assert deliver(plane, redis_store, timeout=1.0).delivered == 1
    assert plane.requests >= 2  # on a busy machine, a good answer may come too late as well
    assert time.monotonic() - began < 50.0
