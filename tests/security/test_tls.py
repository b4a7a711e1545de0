"""A certificate that is wrong is an outage: nothing is sent, nothing is lost, and all of it arrives once it is right."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import threading

import pytest
import trustme

from e2e.harness import PATIENCE, eventually
from eventspool import Client, QueueError, QueueUnavailable, open_queue

GOOD = "the right certificate"
FAULTS = ["another host's", "expired", "of an unknown authority"]


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def trusted(authority, tmp_path_factory):
    """The path of a file with the authority's certificate."""
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def context_of(authority, kind):
    """Return what a server with a certificate of *kind* for ``localhost`` needs."""
    issuer = trustme.CA() if kind == "of an unknown authority" else authority
    name = "other.example" if kind == "another host's" else "localhost"
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    expiry = {"not_after": yesterday} if kind == "expired" else {}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issuer.issue_cert(name, **expiry).configure_cert(context)
    return context


class Terminator:
    """Takes TLS off and passes the bytes on to *target*. Its certificate can be changed while it runs."""

    def __init__(self, context, family, target):
        self.context = context
        self.passed = 0
        self._target = (family, target)
        self._sockets = [socket.create_server(("127.0.0.1", 0))]
        self.port = self._sockets[0].getsockname()[1]
        self._threads = []
        self._closing = False
        self._spawn(self._accept)

    def _spawn(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._sockets[0].accept()
                self._spawn(self._serve, connection)

    def _serve(self, plain):
        family, target = self._target
        with plain, contextlib.suppress(OSError):
            plain.settimeout(PATIENCE)
            with self.context.wrap_socket(plain, server_side=True) as near, socket.socket(family) as far:
                near.settimeout(None)
                self._sockets += [near, far]
                # The thread that closes has ended the others already: this one would last as long as its client.
                if self._closing:
                    return
                far.connect(target)
                self._spawn(self._pass, far, near)
                self._pass(near, far)

    def _pass(self, source, sink):
        with contextlib.suppress(OSError, ValueError):
            while data := source.recv(65_536):
                self.passed += len(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def close(self):
        self._closing = True
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._sockets[0].close()
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.fixture
def terminate(authority):
    with contextlib.ExitStack() as stack:

        def start(kind, family, target):
            terminator = Terminator(context_of(authority, kind), family, target)
            stack.callback(terminator.close)
            return terminator

        yield start


@pytest.fixture
def make_client(plane, monkeypatch, trusted):
    """Make clients that trust the authority, as an application does: by the environment."""
    monkeypatch.setenv("SSL_CERT_FILE", trusted)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with contextlib.ExitStack() as stack:

        def make(**options):
            client = Client(
                plane.write_key, **{"data_plane_url": plane.url, "flush_interval": 0.01, **options}
            )
            stack.callback(client.close, 0.5)
            return client

        yield make


@pytest.mark.parametrize("fault", FAULTS)
def test_a_data_planes_wrong_certificate_keeps_the_events(
    make_client, terminate, plane, store, authority, fault, caplog
):
    front = terminate(fault, socket.AF_INET, ("127.0.0.1", int(plane.url.rpartition(":")[2])))
    persistence = store.opts(is_multi_processor=True, job_opts={"max_attempts": 1_000})
    client = make_client(data_plane_url=f"https://localhost:{front.port}", persistence=persistence)
    ids = [client.track("u1", "E", {"n": n}) for n in range(3)]
    assert client.flush(timeout=0.5).pending == 3
    assert (store.stored_events(), store.failed_events()) == (3, 0)
    assert (front.passed, plane.stats().requests) == (0, 0)
    eventually(lambda: "was not accepted: " in caplog.text, "it says why")

    front.context = context_of(authority, GOOD)
    assert client.flush(timeout=PATIENCE).delivered == 3
    assert sorted(plane.unique_ids()) == sorted(ids)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_redis_with_a_wrong_certificate_gets_nothing_and_events_wait_in_memory(
    make_client, terminate, plane, redis_store, shared_redis, trusted, authority, fault
):
    front = terminate(fault, socket.AF_UNIX, str(shared_redis.socket_path))
    url = f"rediss://:canary-of-the-password@localhost:{front.port}/0?ssl_ca_certs={trusted}"
    with pytest.raises(QueueUnavailable) as caught:
        open_queue(url, redis_store.queue_name)
    assert "canary" not in str(caught.value)
    url = url.replace(":canary-of-the-password@", "")
    client = make_client(persistence=redis_store.opts(url=url))
    ids = [client.track("u1", "E", {"n": n}) for n in range(3)]
    assert client.flush(timeout=0.5).pending == 3
    assert (front.passed, client.stats().buffered) == (0, 3)

    front.context = context_of(authority, GOOD)
    assert client.flush(timeout=PATIENCE).delivered == 3
    assert sorted(plane.unique_ids()) == sorted(ids)
    assert front.passed > 0


def test_redis_over_tls_by_options_works_for_clients_and_operators(
    make_client, terminate, redis_store, shared_redis, trusted
):
    front = terminate(GOOD, socket.AF_UNIX, str(shared_redis.socket_path))
    redis_opts = {"host": "localhost", "port": front.port, "ssl": True, "ssl_ca_certs": trusted}
    client = make_client(persistence={"queue_name": redis_store.queue_name, "redis_opts": redis_opts})
    client.track("u1", "E")
    assert client.flush(timeout=PATIENCE).delivered == 1
    assert client.queue.stats().waiting.jobs == 0
    assert front.passed > 0


def test_redis_in_plain_text_where_tls_was_asked_for_is_an_outage(
    make_client, shared_redis, redis_store, trusted
):
    """As of a proxy that was put in between and takes the encryption off."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_plainly, args=(listener,), daemon=True)
        thread.start()
        url = f"rediss://localhost:{listener.getsockname()[1]}/0?ssl_ca_certs={trusted}"
        with pytest.raises(QueueError):
            open_queue(url, redis_store.queue_name)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE)


def _answer_plainly(listener):
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(100)
                connection.sendall(b"+PONG\r\n")
