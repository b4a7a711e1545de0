"""Starting, stopping and starting again."""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from eventspool._dataplane import DataPlane
from lasting_threads import lasting_threads


def test_a_stopped_data_plane_refuses_and_leaves_no_thread(event, call):
    before = lasting_threads()
    plane = DataPlane().start()
    caller = call(plane)
    caller.post(event("a"))
    plane.stop()
    plane.stop()

    assert lasting_threads() <= before
    with pytest.raises((OSError, http.client.HTTPException)):
        caller.post(event())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((plane.host, plane.port), timeout=60)


def test_a_restarted_data_plane_has_the_same_address_and_memory(event, call):
    with DataPlane() as plane:
        address = plane.url
        call(plane).post(event("a"))
    with plane:
        assert plane.url == address
        assert call(plane).post(event("b"))[0] == 200
        assert plane.unique_ids() == ["a", "b"]


def test_a_port_in_use_is_an_os_error_and_leaks_nothing(plane):
    with pytest.raises(OSError):
        DataPlane(port=plane.port).start()


def test_the_address_is_unknown_before_the_start():
    with pytest.raises(RuntimeError, match="before it is started"):
        _ = DataPlane().url


def test_ipv6_is_served(start_plane, call, event):
    plane = start_plane(host="::1")

    assert plane.url.startswith("http://[::1]:")
    assert call(plane).post(event())[0] == 200
    assert call(plane).get("/__stats", Host="[::1]")[0] == 200


def test_serve_forever_ends_when_it_is_stopped(call, event):
    plane = DataPlane()
    thread = threading.Thread(target=plane.serve_forever)
    thread.start()
    deadline = time.monotonic() + 60
    while not plane.port and time.monotonic() < deadline:
        time.sleep(0.005)
    assert call(plane).post(event())[0] == 200
    plane.stop()
    thread.join(60)

    assert not thread.is_alive()


def test_a_stop_within_serve_forever_leaves_the_rest_to_it():
    """A signal handler runs in the thread that it interrupts: whatever it waits for might never come."""
    plane = DataPlane()
    start = plane.start

    def start_and_be_interrupted():
        start()
        plane.stop()
        assert plane._acceptor is not None, "the handler has returned, and nothing was joined"

    plane.start = start_and_be_interrupted
    thread = threading.Thread(target=plane.serve_forever)
    thread.start()
    thread.join(60)

    assert not thread.is_alive()
    assert plane._acceptor is None


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_it_runs_as_a_process_of_its_own_until_a_signal(signum):
    """What a program does: SIGTERM calls stop, Ctrl-C needs no handler."""
    script = """
import signal, threading, time
from eventspool._dataplane import DataPlane

plane = DataPlane()

def tell():  # once it serves: a signal that comes before that ends the process as it ends any other
    while not plane.port:
        time.sleep(0.005)
    print(plane.port, flush=True)

signal.signal(signal.SIGTERM, lambda *_: plane.stop())
threading.Thread(target=tell).start()
plane.serve_forever()
print("ended")
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(process.stdout.readline())
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                connection.request("GET", "/__stats")
                assert connection.getresponse().status == 200
                process.send_signal(signum)
                assert process.stdout.read() == "ended\n"
                assert process.wait(60) == 0
        finally:
            process.kill()
