"""Each fault of the proxy does what it says, seen from a client and from a server on real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from torture.processes import ProxyProcess
from torture.redis_process import free_port

SOON = 60.0
REQUEST, REPLY = b"request " * 20, b"reply " * 20


class Upstream:
    """A server that notes what it gets and answers every complete request."""

    def __init__(self) -> None:
        self.got = b""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            mine = b""
            while data := connection.recv(4096):
                mine += data
                self.got += data
                if mine.endswith(REQUEST):
                    connection.sendall(REPLY)

    def await_got(self, count: int) -> None:
        """Wait until so many bytes came."""
        deadline = time.monotonic() + SOON
        while len(self.got) < count:
            assert time.monotonic() < deadline, f"only {len(self.got)} bytes came"
            time.sleep(0.005)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def proxy(upstream, tmp_path):
    process = ProxyProcess(upstream.port, seed=3, name="proxy", errors=tmp_path / "errors")
    yield process
    assert process.end(SOON) == 0, process.last_words()


def connect(proxy: ProxyProcess, timeout: float = SOON) -> socket.socket:
    """Return a connection through the proxy."""
    return socket.create_connection(("127.0.0.1", proxy.port), timeout)


def exchange(proxy: ProxyProcess, timeout: float = SOON) -> bytes | None:
    """Return what came back for one request, ``None`` when the connection was reset."""
    with connect(proxy, timeout) as connection:
        try:
            connection.sendall(REQUEST)
            answer = b""
            while len(answer) < len(REPLY) and (data := connection.recv(4096)):
                answer += data
            return answer
        except ConnectionResetError:
            return None


def until_hit(proxy: ProxyProcess) -> bytes | None:
    """Repeat exchanges until one of them was hit (a share of them is), and return what that one got."""
    for _ in range(50):
        answer = exchange(proxy)
        if answer != REPLY:
            return answer
    pytest.fail("no exchange was hit")


def test_without_a_fault_everything_passes(proxy, upstream):
    assert exchange(proxy) == REPLY
    assert upstream.got == REQUEST
    assert proxy.order(mode=None)["hits"] == 0


def test_refuse_breaks_open_connections_and_takes_no_new_ones(proxy):
    with connect(proxy) as connection:
        connection.sendall(REQUEST)
        assert connection.recv(4096)
        assert proxy.order(mode="refuse")["hits"] == 1
        with pytest.raises(ConnectionResetError):
            connection.recv(4096)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.order(mode=None)
    assert exchange(proxy) == REPLY


def test_a_black_hole_lets_nothing_pass_until_it_is_healed(proxy, upstream):
    proxy.order(mode="blackhole")
    with connect(proxy) as connection:
        connection.sendall(REQUEST)
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert not upstream.got
        assert proxy.order(mode=None)["before"] == 1
        connection.settimeout(SOON)
        assert connection.recv(4096) == REPLY


def test_what_was_sent_into_a_black_hole_arrives_late_even_when_its_sender_is_gone(proxy, upstream):
    """The kernel goes on sending for a socket that was closed: a write that timed out may be executed yet."""
    proxy.order(mode="blackhole")
    with connect(proxy) as connection:
        connection.sendall(REQUEST)
    proxy.order(mode=None)
    upstream.await_got(len(REQUEST))
    assert upstream.got == REQUEST


def test_reset_lets_the_request_pass_whole_and_resets_instead_of_the_reply(proxy, upstream):
    proxy.order(mode="reset")
    assert until_hit(proxy) is None
    assert len(upstream.got) % len(REQUEST) == 0
    assert proxy.order(mode=None)["before"] == 1


def test_what_clients_ask_is_counted(proxy):
    assert exchange(proxy) == REPLY
    assert exchange(proxy) == REPLY
    assert (proxy.order()["requests"], proxy.order()["unreached"]) == (2, 0)


def test_connections_for_which_nobody_listens_are_counted(tmp_path):
    proxy = ProxyProcess(free_port(), seed=3, name="proxy", errors=tmp_path / "errors")
    with contextlib.suppress(ConnectionResetError):  # in connecting already, or after it
        assert exchange(proxy) is None
    assert (proxy.order()["requests"], proxy.order()["unreached"]) == (0, 1)
    assert proxy.end(SOON) == 0


def test_truncate_ends_the_reply_in_the_middle_in_good_order(proxy, upstream):
    proxy.order(mode="truncate")
    assert until_hit(proxy) == REPLY[: len(REPLY) // 2]
    assert proxy.order(mode=None)["before"] == 1


def test_cut_ends_the_request_in_the_middle(proxy, upstream):
    proxy.order(mode="cut")
    assert until_hit(proxy) is None
    assert len(upstream.got) % len(REQUEST) in (0, len(REQUEST) // 2)  # 0: the reset overtook the rest
    assert proxy.order(mode=None)["before"] == 1


def test_slowloris_sends_the_reply_byte_by_byte(proxy, upstream):
    proxy.order(mode="slowloris")
    with connect(proxy) as connection:
        connection.sendall(REQUEST)
        upstream.await_got(len(REQUEST))
        assert len(connection.recv(4096)) < 5
        proxy.order(mode=None)  # the rest comes at once
        rest = b""
        while not rest.endswith(b"reply "):
            rest += connection.recv(4096)


def test_latency_makes_everything_late(proxy):
    proxy.order(mode="latency")
    began = time.monotonic()
    assert exchange(proxy) == REPLY
    assert time.monotonic() - began >= 0.04
    assert proxy.order()["hits"] == 2


def test_bandwidth_makes_everything_slow(proxy, upstream):
    proxy.order(mode="bandwidth")
    began = time.monotonic()
    with connect(proxy) as connection:
        connection.sendall(b"x" * 2048)
        upstream.await_got(2048)
    assert time.monotonic() - began >= 0.4
