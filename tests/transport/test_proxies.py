"""The way through a proxy, as users of `requests` and curl have it in their environment, or as the option says."""

from __future__ import annotations

import base64
import socket
import ssl

import pytest
import trustme

from eventspool._delivery.verdict import Verdict, judge

from .conftest import OK, WRITE_KEY, Connection
from .forwarding import ForwardProxy

LOGIN = "Basic " + base64.b64encode(b"user:canary-p@ss").decode()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusted(authority, tmp_path):
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


@pytest.fixture
def serve_tls(serve, authority):
    def start(name, script=Connection.answer, **options):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        return serve(script, wrap=lambda sock: context.wrap_socket(sock, server_side=True), **options)

    return start


def _closing(connection):
    connection.request()
    connection.send(OK)


def test_plain_http_is_forwarded(serve, transport):
    plane = serve(_closing)
    forward = ForwardProxy({"plane.example": ("127.0.0.1", plane.port)}, login=LOGIN)
    proxy = serve(forward)
    sender = transport("http://plane.example/base", proxy=f"http://user:canary-p%40ss@127.0.0.1:{proxy.port}")
    for _ in range(3):
        assert sender.send(b"{}", gzip=False).status == 200
    assert forward.heads[0].startswith("POST http://plane.example/base/v1/batch HTTP/1.1\r\n")
    assert b"proxy-authorization" not in plane.requests[0][1].lower()
    assert (len(plane.connections), len(proxy.connections)) == (3, 1)


def test_tls_goes_through_a_tunnel_of_which_the_proxy_sees_nothing(serve, serve_tls, transport, trusted):
    plane = serve_tls("plane.example")
    forward = ForwardProxy({"plane.example": ("127.0.0.1", plane.port)}, login=LOGIN)
    proxy = serve(forward)
    at = f"user:canary-p%40ss@127.0.0.1:{proxy.port}"
    sender = transport("https://plane.example", proxy=at, ca_file=trusted)
    for _ in range(3):
        assert sender.send(b"{}", gzip=False).status == 200
    assert (len(plane.requests), len(plane.connections), len(proxy.connections)) == (3, 1, 1)
    [head] = forward.heads
    assert head.split("\r\n") == [
        "CONNECT plane.example:443 HTTP/1.1",
        "Host: plane.example:443",
        f"Proxy-Authorization: {LOGIN}",
    ]
    assert b"proxy-authorization" not in plane.requests[0][1].lower()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("form", ["{}_PROXY", "{}_proxy", "ALL_PROXY", "all_proxy"])
def test_every_variable_names_a_proxy(serve, transport, monkeypatch, scheme, form):
    proxy = serve()
    monkeypatch.delenv("REQUEST_METHOD", raising=False)
    name = form.format(scheme if form.endswith("proxy") else scheme.upper())
    monkeypatch.setenv(name, proxy.url)
    sender = transport(f"{scheme}://plane.example", timeout=1.0)
    for _ in range(20):  # a busy machine may take longer than that to connect
        sender.send(b"{}", gzip=False)
        if proxy.requests:
            break
    assert proxy.requests[0][1].startswith(b"POST http://plane" if scheme == "http" else b"CONNECT plane")


def test_the_option_goes_before_the_environment(serve, transport, monkeypatch):
    other, proxy, plane = serve(), serve(), serve()
    monkeypatch.setenv("HTTP_PROXY", other.url)
    assert transport("http://plane.example", proxy=proxy.url).send(b"{}", gzip=False).status == 200
    assert transport(plane.url, proxy="").send(b"{}", gzip=False).status == 200
    monkeypatch.setenv("NO_PROXY", "*")
    assert transport("http://plane.example", proxy=proxy.url).send(b"{}", gzip=False).status == 200
    assert [len(each.requests) for each in (other, proxy, plane)] == [0, 2, 1]


@pytest.mark.parametrize("value", ["127.0.0.0/8", "10.0.0.0/8,127.0.0.1/32", "{host}:{port}", "*"])
def test_no_proxy_takes_networks_too(serve, transport, monkeypatch, value):
    proxy, plane = serve(), serve()
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", value.format(host="127.0.0.1", port=plane.port))
    assert transport(plane.url).send(b"{}", gzip=False).status == 200
    assert (len(proxy.connections), len(plane.connections)) == (0, 1)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_credentials_that_a_proxy_no_longer_takes_are_an_outage_of_the_way(serve, transport, scheme):
    """407 is never about the events, nor about the write key."""
    proxy = serve(ForwardProxy(login=LOGIN))
    sender = transport(f"{scheme}://plane.example", proxy=f"http://user:canary-old@127.0.0.1:{proxy.port}")
    result = sender.send(b"{}", gzip=False)
    assert judge(result) is Verdict.RETRY
    assert result.describe().startswith(f"the proxy {proxy.url} answered 407")
    assert "canary" not in repr(result) + result.describe()


def test_407_of_a_data_plane_is_an_outage_too(serve, transport):
    """A proxy that nobody told us of stands before it."""
    server = serve(lambda c: c.answer(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"))
    result = transport(server.url).send(b"{}", gzip=False)
    assert (judge(result), result.describe()) == (Verdict.RETRY, f"{server.url} answered 407")


@pytest.mark.parametrize("status", [403, 407, 500, 502, 503, 302])
def test_a_tunnel_that_is_refused_is_told_as_the_proxys_doing(serve, transport, status):
    """It must not end like an answer of the data plane: 403 there would mean the write key."""
    answer = f"HTTP/1.1 {status} canary\r\nContent-Length: 0\r\n\r\n".encode()
    proxy = serve(ForwardProxy(refusal=answer))
    result = transport("https://plane.example", proxy=f"http://user:canary@127.0.0.1:{proxy.port}").send(
        b"{}", gzip=False
    )
    assert (result.status, result.error) == (None, f"the proxy {proxy.url} answered {status} to CONNECT")


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 20", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 200 OK\r\n\r\nhello"]
)
def test_a_proxy_that_breaks_off_or_speaks_something_else_is_named(serve, transport, said):
    proxy = serve(ForwardProxy(refusal=said or b"\r\n"))
    result = transport("https://plane.example", proxy=f"http://user:canary@127.0.0.1:{proxy.port}").send(
        b"{}", gzip=False
    )
    assert result.status is None
    assert result.error in (
        f"the proxy {proxy.url} did not speak HTTP",
        f"the proxy {proxy.url} broke the connection off",
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_not_there_is_named_without_its_password(transport, monkeypatch, scheme):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gone = transport(f"{scheme}://plane.example", proxy=f"http://user:canary@127.0.0.1:{port}")
    assert gone.send(b"{}", gzip=False).error == f"the proxy http://127.0.0.1:{port} refused the connection"
    nowhere = transport(f"{scheme}://plane.example", proxy="http://user:canary@nowhere.invalid:3128")
    assert nowhere.send(b"{}", gzip=False).error == "the proxy http://nowhere.invalid:3128 did not resolve"


def test_what_goes_wrong_behind_a_proxy_names_both(serve, transport):
    proxy = serve(lambda connection: connection.request())
    result = transport("http://plane.example", proxy=proxy.url).send(b"{}", gzip=False)
    assert result.error == f"http://plane.example (through the proxy {proxy.url}) broke the connection off"


@pytest.mark.parametrize("kind", ["https", "socks5", "socks5h"])
def test_a_proxy_of_another_kind_is_named_and_not_spoken_to(serve, transport, monkeypatch, kind):
    proxy = serve()
    monkeypatch.setenv("ALL_PROXY", f"{kind}://user:canary@127.0.0.1:{proxy.port}")
    result = transport("https://plane.example").send(b"{}", gzip=False)
    assert result.error.startswith(
        f"the proxy that ALL_PROXY names is of a kind that is not supported, '{kind}'"
    )
    assert ("canary" in result.error, proxy.connections) == (False, [])


def test_the_tunnel_to_an_ipv6_address_is_asked_for_in_brackets(serve, transport):
    forward = ForwardProxy(refusal=b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    proxy = serve(forward)
    transport("https://[2001:db8::1]:8443", proxy=proxy.url).send(b"{}", gzip=False)
    assert forward.heads[0].split("\r\n")[:2] == [
        "CONNECT [2001:db8::1]:8443 HTTP/1.1",
        "Host: [2001:db8::1]:8443",
    ]


def test_a_proxy_may_have_an_ipv6_address(serve, transport):
    proxy = serve(family=socket.AF_INET6)
    assert (
        transport("http://plane.example", proxy=f"http://[::1]:{proxy.port}").send(b"{}", gzip=False).status
        == 200
    )
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        port = listener.getsockname()[1]
    gone = transport("http://plane.example", proxy=f"http://[::1]:{port}")
    assert gone.send(b"{}", gzip=False).error == f"the proxy http://[::1]:{port} refused the connection"


def test_the_write_key_goes_to_a_proxy_only_with_plain_http(serve, transport):
    forward = ForwardProxy(refusal=b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")
    transport("https://plane.example", proxy=serve(forward).url).send(b"{}", gzip=False)
    assert base64.b64encode(f"{WRITE_KEY}:".encode()).decode() not in forward.heads[0]
