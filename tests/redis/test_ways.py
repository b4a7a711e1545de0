"""Why the way to a server does not work is told for what it is, with its address, and without a word of the driver's."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import resource
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import traceback
from pathlib import Path

import pytest
import redis
import trustme

from eventspool._backends.redis.errors import translate
from eventspool._config import RedisOpts
from eventspool._contract.tools import new_job
from eventspool._exceptions import QueueUnavailable
from redis_servers import NEWEST, make_backend, running

PASSWORD = "canary-password"
DAY = dt.timedelta(days=1)
NOW = dt.datetime.now(dt.UTC)


def told(url, *, within=20.0, **options):
    """Return what each kind of call says of the server at *url*, *within* so many seconds; all say the same."""
    backend = make_backend(
        "", opts=RedisOpts(url=url, socket_timeout=within, socket_connect_timeout=within, **options)
    )
    said = set()
    for call in (backend.open, backend.stats, lambda: backend.commit([new_job()]), lambda: backend.wait(0.1)):
        with pytest.raises(QueueUnavailable) as caught:
            call()
        text = "".join(traceback.format_exception(caught.value))
        assert PASSWORD not in text
        assert "redis.exceptions" not in text
        said.add(str(caught.value))
    backend.close()
    [one] = said
    return one


@contextlib.contextmanager
def listening(serve):
    """Listen on a port of the loopback, and have *serve* do what it does with each connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    opened = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                opened.append(connection)
                threading.Thread(target=guarded, args=(connection,), daemon=True).start()

    def guarded(connection):
        with contextlib.suppress(OSError):
            serve(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for each in (listener, *opened):
            each.close()


def tls(context, path=None):
    """Serve TLS, and behind it the Unix socket *path*."""

    def serve(connection):
        with context.wrap_socket(connection, server_side=True) as near:
            if path is None:
                near.recv(1)
                return
            with socket.socket(socket.AF_UNIX) as far:
                far.connect(str(path))
                far.settimeout(0.05)
                near.settimeout(0.05)
                while True:
                    for source, sink in ((near, far), (far, near)):
                        with contextlib.suppress(TimeoutError):
                            data = source.recv(65_536)
                            if not data:
                                return
                            sink.sendall(data)

    return serve


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


def context_of(cert):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    cert.configure_cert(context)
    return context


@pytest.fixture
def ca_file(ca, tmp_path):
    path = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return str(path)


@pytest.mark.parametrize(
    ("make", "trusted", "expected"),
    [
        (
            lambda ca: ca.issue_cert("127.0.0.1"),
            False,
            "is of an authority that is not trusted here: name that in ssl_ca_certs",
        ),
        (
            lambda ca: ca.issue_cert("127.0.0.1", not_after=NOW - DAY, not_before=NOW - 2 * DAY),
            True,
            "has expired",
        ),
        (
            lambda ca: ca.issue_cert("127.0.0.1", not_before=NOW + DAY, not_after=NOW + 2 * DAY),
            True,
            "is not valid yet",
        ),
        (lambda ca: ca.issue_cert("127.0.0.2"), True, "is for another IP address"),
    ],
    ids=["unknown authority", "expired", "not yet valid", "another address"],
)
def test_a_certificate_is_told_from_an_unreachable_server(ca, ca_file, make, trusted, expected):
    with listening(tls(context_of(make(ca)))) as port:
        said = told(f"rediss://:{PASSWORD}@127.0.0.1:{port}", ssl_ca_certs=ca_file if trusted else None)
    assert f"at 127.0.0.1:{port} cannot be reached: its certificate {expected}" in said


def test_a_certificate_for_another_name_is_told(ca, ca_file):
    with listening(tls(context_of(ca.issue_cert("elsewhere.example")))) as port:
        assert "its certificate is for another host name" in told(
            f"rediss://localhost:{port}", ssl_ca_certs=ca_file
        )


def test_a_server_with_the_right_certificate_is_used(ca, ca_file, server):
    with listening(tls(context_of(ca.issue_cert("localhost")), server.socket_path)) as port:
        backend = make_backend("", opts=RedisOpts(url=f"rediss://localhost:{port}", ssl_ca_certs=ca_file))
        backend.open()
        assert backend.commit([new_job()]).accepted == 1
        backend.close()


def test_a_server_that_wants_our_certificate_says_so(ca, ca_file):
    context = context_of(ca.issue_cert("localhost"))
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = ssl.TLSVersion.TLSv1_2  # later ones refuse it only after the handshake
    ca.configure_trust(context)
    with listening(tls(context)) as port:
        said = told(f"rediss://localhost:{port}", ssl_ca_certs=ca_file)
    assert "it wants a certificate of this client's (ssl_certfile, ssl_keyfile)" in said


def test_tls_where_none_is_spoken_is_told(unused_port):
    with running(NEWEST[1], port=unused_port):
        said = told(f"rediss://:{PASSWORD}@127.0.0.1:{unused_port}", within=2.0)
    assert "TLS" in said
    assert "redis://" in said


def test_no_tls_where_it_is_spoken_is_told(ca):
    with listening(tls(context_of(ca.issue_cert("127.0.0.1")))) as port:
        said = told(f"redis://:{PASSWORD}@127.0.0.1:{port}")
    assert "it wants TLS (rediss://)" in said


def test_what_is_no_redis_server_is_told():
    def serve(connection):
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with listening(serve) as port:
        assert "what answers there is no Redis server" in told(f"redis://127.0.0.1:{port}")


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile"])
@pytest.mark.parametrize("state", ["missing", "junk"])
def test_files_of_certificates_that_cannot_be_read_are_told(ca, tmp_path, option, state):
    path = tmp_path / "file.pem"
    if state == "junk":
        path.write_text("junk")
    with listening(tls(context_of(ca.issue_cert("127.0.0.1")))) as port:
        said = told(f"rediss://127.0.0.1:{port}", **{option: str(path)})
    assert "a file of ssl_ca_certs, ssl_certfile or ssl_keyfile" in said


def test_a_port_that_nobody_listens_on_is_told(unused_port):
    assert f"at 127.0.0.1:{unused_port} cannot be reached: nothing listens there" in told(
        f"redis://127.0.0.1:{unused_port}"
    )
    said = told(f"rediss://[::1]:{unused_port}")
    assert f"at [::1]:{unused_port} cannot be reached: " in said


def test_a_host_that_has_no_address_is_told():
    said = told(f"redis://app:{PASSWORD}@nowhere.invalid:7/1")
    assert "at nowhere.invalid:7 cannot be reached: there is no address for that host name (DNS)" in said


def test_a_server_that_accepts_nothing_is_told_in_time():
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):  # its queue is full of connections that the server does not accept
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        said = told(f"redis://127.0.0.1:{full.getsockname()[1]}", within=1.0)
    assert "did not accept a connection in time: is it behind a firewall?" in said


def test_a_handshake_that_never_ends_is_told():
    with listening(lambda connection: connection.recv(1 << 20) and threading.Event().wait(60)) as port:
        assert "did not accept a TLS connection in time" in told(f"rediss://127.0.0.1:{port}", within=2.0)


def test_a_server_that_hangs_up_is_told():
    with listening(lambda connection: connection.recv(1) and connection.shutdown(socket.SHUT_RDWR)) as port:
        assert "the connection was closed" in told(f"redis://127.0.0.1:{port}")


def test_sockets_that_are_none_are_told_apart(tmp_path):
    (tmp_path / "file").write_text("")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "dead"))
    dead.close()
    long = tmp_path / ("x" * 120)
    for path, expected in (
        (tmp_path / "missing", "there is no such socket"),
        (tmp_path / "file" / "below", "there is no such socket"),
        (tmp_path / "file", "nothing listens there"),
        (tmp_path / "dead", "nothing listens there"),
        (long, "the path of the socket is longer than the system takes; a symbolic link can be shorter"),
    ):
        assert f"at {path} cannot be reached: {expected}" in told(f"unix://{path}")


def test_a_symbolic_link_leads_to_the_socket_and_may_be_turned(tmp_path, server):
    link = tmp_path / "s"
    link.symlink_to(tmp_path / "nowhere")
    assert "there is no such socket" in told(f"unix://{link}")
    backend = make_backend(f"unix://{link}")
    link.unlink()
    link.symlink_to(server.socket_path)
    backend.open()
    assert backend.commit([new_job()]).accepted == 1
    backend.close()


EXHAUSTED = textwrap.dedent("""
    import os, resource, sys
    sys.path.insert(0, sys.argv[2])
    from eventspool._contract.tools import new_job
    from eventspool._exceptions import QueueUnavailable
    from redis_servers import make_backend

    held = make_backend(sys.argv[1])
    held.open()
    assert held.commit([new_job()]).accepted == 1
    backend = make_backend(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    try:
        backend.commit([new_job()])
    except QueueUnavailable as error:
        print(error)
    assert held.commit([new_job()]).accepted == 1, "what is open goes on"
    os.close(taken.pop())
    print(backend.commit([new_job()]).accepted)
""")


def test_descriptors_that_run_out_are_told_and_nothing_stays_broken(server):
    tests = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", EXHAUSTED, server.url, tests],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, accepted = done.stdout.splitlines()
    assert "this process has no file descriptor left (ulimit -n)" in said
    assert accepted == "1"
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64


def test_what_was_being_handled_before_is_no_cause(unused_port):
    """A host may ask while it handles an error of its own."""
    backend = make_backend(f"redis://127.0.0.1:{unused_port}")
    try:
        raise ssl.SSLCertVerificationError(1, "certificate verify failed")
    except ssl.SSLError:
        with pytest.raises(QueueUnavailable, match="nothing listens there"):
            backend.stats()
    backend.close()


@pytest.mark.parametrize(
    ("text", "cause", "expected"),
    [
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired",
            None,
            "has expired",
        ),
        (
            "closed",
            ssl.SSLCertVerificationError(1, "self-signed certificate"),
            "its certificate is self-signed",
        ),
        ("x", ssl.SSLError(1, "[SSL: NO_SHARED_CIPHER] no shared cipher"), "TLS could not be agreed on"),
        ("x", OSError(errno.ENETUNREACH, PASSWORD), "there is no way to that network"),
        ("x", OSError(errno.EACCES, PASSWORD), "this user may not open that socket"),
        ("max number of clients reached", None, "as many clients as it takes"),
        (PASSWORD, None, "cannot be reached"),
    ],
)
def test_causes_that_are_hard_to_come_by_are_told_too(text, cause, expected):
    error = redis.ConnectionError(text)
    error.__cause__ = cause
    said = str(translate(error, "queue 'q'"))
    assert expected in said
    assert PASSWORD not in said
