"""What goes over the wire, and over which connection."""

from __future__ import annotations

import base64
import gzip
import queue
import select
import threading

import pytest

from eventspool import __version__

from .conftest import OK, PATIENCE, WRITE_KEY


def _login(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


def _headers(head):
    lines = head.decode().split("\r\n")
    return lines[0], dict(line.split(": ", 1) for line in lines[1:])


@pytest.mark.parametrize("compress", [True, False])
def test_the_request_is_exactly_this(serve, transport, compress):
    server = serve()
    body = gzip.compress(b"{}") if compress else b"{}"
    transport(server.url).send(body, gzip=compress)
    [(_, head, sent)] = server.requests
    line, headers = _headers(head)
    assert line == "POST /v1/batch HTTP/1.1"
    assert headers == {
        "Host": f"127.0.0.1:{server.port}",
        "Accept-Encoding": "identity",
        "Authorization": _login(f"{WRITE_KEY}:"),
        "Content-Type": "application/json",
        "User-Agent": f"eventspool/{__version__}",
        "Content-Length": str(len(body)),
    } | ({"Content-Encoding": "gzip"} if compress else {})
    assert sent == body


@pytest.mark.parametrize(
    ("base", "path", "line"),
    [
        ("", "/v1/batch", "POST /v1/batch HTTP/1.1"),
        ("/", "/v1/batch", "POST /v1/batch HTTP/1.1"),
        ("/proxy/", "/v1/batch", "POST /proxy/v1/batch HTTP/1.1"),
        ("/proxy", "/b?x=1", "POST /proxy/b?x=1 HTTP/1.1"),
    ],
)
def test_the_path_is_that_of_the_url_and_the_option(serve, transport, base, path, line):
    server = serve()
    transport(server.url + base, path=path).send(b"{}", gzip=False)
    assert _headers(server.requests[0][1])[0] == line


def test_many_requests_take_one_connection(serve, transport):
    server = serve()
    sender = transport(server.url)
    assert [sender.send(b"{}", gzip=False).status for _ in range(50)] == [200] * 50
    assert len(server.connections) == 1


def test_threads_do_not_share_a_connection_at_the_same_time(serve, transport):
    together = threading.Barrier(4)

    def script(connection):
        while connection.request():
            together.wait(PATIENCE)
            connection.send(OK)

    server = serve(script)
    sender, results = transport(server.url), queue.SimpleQueue()

    def send():
        for _ in range(5):
            results.put(sender.send(b"{}", gzip=False).status)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [results.get_nowait() for _ in range(20)] == [200] * 20
    assert len(server.connections) == 4


def test_a_connection_that_was_closed_while_idle_is_replaced_without_a_word(serve, transport):
    def script(connection):
        connection.request()
        connection.send(OK)

    server = serve(script)
    sender = transport(server.url)
    assert [sender.send(b"{}", gzip=False).status for _ in range(5)] == [200] * 5
    assert len(server.connections) == 5


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_connection_that_breaks_under_the_request_is_replaced_once(serve, transport, end):
    """The server gave the idle connection up at the very moment that we used it."""

    def script(connection):
        connection.request()
        connection.send(OK)
        connection.request()
        if connection.number == 1:
            return connection.reset() if end == "reset" else None
        return connection.send(OK)

    server = serve(script)
    sender = transport(server.url)
    assert sender.send(b"first", gzip=False).status == 200
    assert sender.send(b"second", gzip=False).status == 200
    assert [(number, body) for number, _, body in server.requests] == [
        (1, b"first"),
        (1, b"second"),
        (2, b"second"),
    ]


def test_a_fresh_connection_that_breaks_is_an_outage_not_a_loop(serve, transport):
    server = serve(lambda connection: connection.request())
    result = transport(server.url).send(b"{}", gzip=False)
    assert result.error == f"{server.url} broke the connection off"
    assert len(server.requests) == 1


def test_a_server_that_speaks_unasked_gets_no_request_on_that_connection(serve, transport):
    read, spoke = threading.Event(), threading.Event()

    def script(connection):
        connection.request()
        connection.send(OK)
        if connection.number == 1:
            read.wait(PATIENCE)
            connection.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
            spoke.set()
            connection.wait()

    server = serve(script)
    sender = transport(server.url)
    assert sender.send(b"{}", gzip=False).status == 200
    read.set()
    assert spoke.wait(PATIENCE)
    assert sender.send(b"{}", gzip=False).status == 200
    assert [number for number, _, _ in server.requests] == [1, 2]


def test_closing_ends_the_idle_connections(serve, transport):
    gone = threading.Event()

    def script(connection):
        connection.answer()
        gone.set()

    sender = transport(serve(script).url)
    sender.send(b"{}", gzip=False)
    sender.close()
    assert gone.wait(PATIENCE)
    sender.close()


def test_a_request_that_ends_after_closing_leaves_no_connection(serve, transport):
    """The client gave its sender up; a connection kept now would be nobody's until the process ends."""
    asked, closed, gone = threading.Event(), threading.Event(), threading.Event()

    def script(connection):
        connection.request()
        asked.set()
        closed.wait(PATIENCE)
        connection.send(OK)
        if connection.request() is None:
            gone.set()

    sender = transport(serve(script).url)
    results = []
    thread = threading.Thread(target=lambda: results.append(sender.send(b"{}", gzip=False)))
    thread.start()
    assert asked.wait(PATIENCE)
    sender.close()
    closed.set()
    thread.join(PATIENCE)
    assert [result.status for result in results] == [200]
    assert gone.wait(PATIENCE)


def test_plain_http_goes_through_the_proxy_with_the_whole_url(serve, transport, monkeypatch):
    proxy = serve()
    monkeypatch.setenv("HTTP_PROXY", f"http://user:p%40ss@127.0.0.1:{proxy.port}")
    monkeypatch.delenv("REQUEST_METHOD", raising=False)
    assert transport("http://data-plane.example:8080/x").send(b"{}", gzip=False).status == 200
    line, headers = _headers(proxy.requests[0][1])
    assert line == "POST http://data-plane.example:8080/x/v1/batch HTTP/1.1"
    assert headers["Host"] == "data-plane.example:8080"
    assert headers["Proxy-Authorization"] == _login("user:p@ss")
    assert headers["Authorization"] == _login(f"{WRITE_KEY}:")


@pytest.mark.parametrize(
    ("base", "host"),
    [
        ("http://data-plane.example", "data-plane.example"),
        ("http://data-plane.example:80", "data-plane.example"),
        ("http://data-plane.example:443", "data-plane.example:443"),
        ("http://[2001:db8::1]:8080", "[2001:db8::1]:8080"),
        ("http://b\u00fccher.example", "xn--bcher-kva.example"),
        ("http://data..plane.example", "data..plane.example"),
    ],
)
def test_the_host_is_named_as_http_wants_it(serve, transport, monkeypatch, base, host):
    proxy = serve()
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    assert transport(base).send(b"{}", gzip=False).status == 200
    line, headers = _headers(proxy.requests[0][1])
    assert (line, headers["Host"]) == (f"POST http://{host}/v1/batch HTTP/1.1", host)


def test_a_proxy_may_be_named_without_a_scheme_and_in_lower_case(serve, transport, monkeypatch):
    proxy = serve()
    monkeypatch.setenv("http_proxy", f"127.0.0.1:{proxy.port}")
    assert transport("http://data-plane.example").send(b"{}", gzip=False).status == 200


def test_tls_asks_the_proxy_for_a_tunnel_and_shows_it_no_write_key(serve, transport, monkeypatch):
    def script(connection):
        connection.request()
        connection.send(b"HTTP/1.1 407 secret\r\nContent-Length: 0\r\n\r\n")

    proxy = serve(script)
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:p%40ss@127.0.0.1:{proxy.port}")
    result = transport("https://data-plane.example").send(b"{}", gzip=False)
    assert result.status is None
    assert "secret" not in result.error
    line, headers = _headers(proxy.requests[0][1])
    assert line.startswith("CONNECT data-plane.example:443 HTTP/1.")
    assert headers["Proxy-Authorization"] == _login("user:p@ss")
    assert "Authorization" not in headers


@pytest.mark.parametrize("value", ["127.0.0.1", "*", "example.com, 127.0.0.1", "127.0.0.1:{port}"])
def test_no_proxy_is_obeyed(serve, transport, monkeypatch, value):
    proxy, server = serve(), serve()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", value.format(port=server.port))
    assert transport(server.url).send(b"{}", gzip=False).status == 200
    assert (len(proxy.connections), len(server.connections)) == (0, 1)


def test_a_socks_proxy_is_named_and_not_spoken_to(serve, transport, monkeypatch):
    """Talking HTTP to it would only look like a data plane that is down."""
    proxy = serve()
    monkeypatch.setenv("HTTP_PROXY", f"socks5://127.0.0.1:{proxy.port}")
    result = transport("http://data-plane.invalid").send(b"{}", gzip=False)
    assert (result.status, "'socks5'" in result.error) == (None, True)
    assert len(proxy.connections) == 0


@pytest.mark.parametrize(
    "value",
    [
        "http://[::1",
        "http://user:hunter2@proxy:port",
        "http://proxy:99999",
        "http://",
        "http://proxy:0",
        "socks5://[::1",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_malformed_proxy_is_said_and_nothing_is_sent_past_it(transport, monkeypatch, scheme, value):
    """Not raised either: the client makes its transport within an event method. Its text may hold a password."""
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", value)
    result = transport(f"{scheme}://data-plane.invalid").send(b"{}", gzip=False)
    told = f"the proxy that {scheme.upper()}_PROXY names is no URL"
    assert (result.status, result.error) == (None, told)


def test_a_proxys_login_that_is_no_text_is_malformed(transport, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://\udcff:x@proxy.invalid")
    result = transport("http://data-plane.invalid").send(b"{}", gzip=False)
    assert result.error == "the proxy that HTTP_PROXY names is no URL"


def test_a_connection_is_looked_at_without_poll_too(serve, transport, monkeypatch):
    """eventlet takes it out of the ``select`` module."""
    monkeypatch.delattr(select, "poll")
    server = serve()
    sender = transport(server.url)
    assert [sender.send(b"{}", gzip=False).status for _ in range(3)] == [200] * 3
    assert len(server.connections) == 1
