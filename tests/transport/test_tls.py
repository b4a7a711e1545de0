"""Certificates are verified, always; the environment or an option says whom to trust."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading

import pytest
import trustme

from .conftest import OK, WRITE_KEY, Connection

pytestmark = pytest.mark.rotating("TLS", turns=3)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority, tmp_path_factory):
    """The path of a file with the authority's certificate."""
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def serve_tls(serve, authority):
    def start(name="localhost", *, script=Connection.answer, issuer=authority, version=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issuer.issue_cert(name).configure_cert(context)
        if version is not None:
            context.maximum_version = version
        return serve(script, wrap=lambda sock: context.wrap_socket(sock, server_side=True))

    return start


TRUSTING = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")

_SEND = """
import sys
from eventspool._config import ClientOpts
from eventspool._delivery.transport import HTTPTransport
sender = HTTPTransport(ClientOpts(write_key=sys.argv[2], data_plane_url=sys.argv[1], timeout=10.0))
for _ in range(int(sys.argv[3])):
    result = sender.send(b"{}", gzip=False)
    print(result.status, result.error)
"""


def _send(url, trusted=None, *, times=1, **environment):
    """Send from a process of its own, which has read ``SSL_CERT_FILE``."""
    kept = {n: v for n, v in os.environ.items() if not n.lower().endswith("_proxy") and n not in TRUSTING}
    if trusted is not None:
        environment["SSL_CERT_FILE"] = str(trusted)
    done = subprocess.run(
        [sys.executable, "-c", _SEND, url, WRITE_KEY, str(times)],
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert WRITE_KEY not in done.stdout + done.stderr
    return done.stdout.splitlines()


def test_an_authority_named_by_ssl_cert_file_is_trusted(serve_tls, trusting):
    assert _send(f"https://localhost:{serve_tls().port}", trusting) == ["200 "]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_tls_connection_is_kept(serve_tls, trusting, version):
    """Session tickets, which TLS 1.3 sends unasked, do not make it look as if it had been dropped."""
    server = serve_tls(version=version)
    assert _send(f"https://localhost:{server.port}", trusting, times=5) == ["200 "] * 5
    assert len(server.connections) == 1


def test_a_tls_connection_that_was_closed_while_idle_is_replaced_without_a_word(serve_tls, trusting):
    def script(connection):
        connection.request()
        connection.send(OK)

    server = serve_tls(script=script)
    assert _send(f"https://localhost:{server.port}", trusting, times=3) == ["200 "] * 3


def test_an_unknown_authority_is_refused_before_anything_is_sent(serve_tls, trusting):
    server = serve_tls(issuer=trustme.CA())
    [line] = _send(f"https://localhost:{server.port}", trusting)
    assert line.startswith(f"None the certificate of https://localhost:{server.port} was not accepted: ")
    assert server.requests == []


def test_without_ssl_cert_file_the_systems_authorities_decide(serve_tls):
    server = serve_tls()
    [line] = _send(f"https://localhost:{server.port}")
    assert line.startswith(f"None the certificate of https://localhost:{server.port} was not accepted: ")
    assert server.requests == []


def test_a_certificate_for_another_name_is_refused(serve_tls, trusting):
    server = serve_tls("other.example")
    [line] = _send(f"https://localhost:{server.port}", trusting)
    assert line.startswith(f"None the certificate of https://localhost:{server.port} was not accepted: ")
    assert server.requests == []


def test_a_certificate_may_name_an_address(serve_tls, trusting):
    assert _send(f"https://127.0.0.1:{serve_tls('127.0.0.1').port}", trusting) == ["200 "]


@pytest.mark.parametrize("variable", TRUSTING)
def test_every_variable_may_name_an_authority(serve_tls, trusting, tmp_path, variable):
    """Those that the others name are believed besides."""
    url = f"https://localhost:{serve_tls().port}"
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    beside = {other: str(tmp_path / "other.pem") for other in TRUSTING if other != variable}
    assert _send(url, **{variable: str(trusting)}) == ["200 "]
    assert _send(url, **{variable: str(trusting), **beside}) == ["200 "]


@pytest.mark.parametrize("variable", TRUSTING)
@pytest.mark.parametrize("path", ["/nowhere/ca.pem", __file__])
def test_a_variable_that_does_not_help_is_told_beside_the_certificate(serve_tls, variable, path):
    [line] = _send(f"https://localhost:{serve_tls().port}", **{variable: path})
    assert " was not accepted: " in line
    assert f"({variable} does not help: {path} " in line


def test_the_authorities_of_the_option_are_believed_and_no_others(
    serve_tls, transport, trusting, tmp_path, monkeypatch
):
    url = f"https://localhost:{serve_tls().port}"
    assert transport(url, ca_file=str(trusting)).send(b"{}", gzip=False).status == 200
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusting))
    result = transport(url, ca_file=str(tmp_path / "other.pem")).send(b"{}", gzip=False)
    assert result.error.startswith(f"the certificate of {url} was not accepted: ")
    assert "REQUESTS_CA_BUNDLE" not in result.error


def test_a_file_of_authorities_that_goes_away_is_an_outage_until_it_is_back(
    serve_tls, transport, trusting, tmp_path
):
    path = tmp_path / "ca.pem"
    path.write_bytes(trusting.read_bytes())
    sender = transport(f"https://localhost:{serve_tls().port}", ca_file=str(path))
    path.rename(tmp_path / "away.pem")
    assert sender.send(b"{}", gzip=False).error == f"ca_file: {path} cannot be read (ENOENT)"
    (tmp_path / "away.pem").rename(path)
    assert sender.send(b"{}", gzip=False).status == 200


def test_obsolete_tls_is_refused(serve, trusting, authority):
    """A server that offers nothing newer than TLS 1.1, by hand: modern libraries no longer do it."""

    def script(connection):
        connection.sock.recv(4_096)
        connection.send(b"\x15\x03\x02\x00\x02\x02\x46")  # fatal alert: protocol_version

    server = serve(script)
    [line] = _send(f"https://localhost:{server.port}", trusting)
    assert line.startswith(f"None TLS with https://localhost:{server.port} failed: ")


def test_through_a_tunnel_the_data_planes_own_certificate_counts(serve_tls, serve, trusting):
    """The proxy passes bytes and sees neither key nor events."""
    server = serve_tls("data-plane.example")
    seen = []

    def script(connection):
        head, _ = connection.request()
        seen.append(head)
        with socket.create_connection(("127.0.0.1", server.port)) as target:
            connection.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pass, args=(target, connection.sock), daemon=True)
            back.start()
            _pass(connection.sock, target, seen)
            back.join(5.0)

    proxy = serve(script)
    lines = _send("https://data-plane.example", trusting, times=3, HTTPS_PROXY=proxy.url)
    assert lines == ["200 "] * 3
    assert len(proxy.connections) == 1
    assert b"host: data-plane.example\r\n" in server.requests[0][1].lower()
    assert b"authorization" not in b"".join(seen).lower()


def _pass(source, target, seen=None):
    try:
        while data := source.recv(65_536):
            if seen is not None:
                seen.append(data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
