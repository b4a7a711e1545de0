"""``eventspool dataplane``: a server to develop against, with faults, that counts."""

from __future__ import annotations

import json
import re
import signal
import socket

import pytest

from eventspool import Client


def url_of(stream) -> str:
    found = re.search(r"http://[\d.:]+", stream.readline())
    assert found
    return found.group()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_serves_until_a_signal_and_prints_the_counts(start, number, status):
    process = start("dataplane", "--port", "0", "--json", "--fault", "status=503,next=1")
    with Client("dev", data_plane_url=url_of(process.stderr)) as client:
        client.track("u1", "A")
        assert client.flush(timeout=60).delivered == 1
    process.send_signal(number)
    out, err = process.communicate(timeout=60)

    assert process.returncode == status, err
    assert json.loads(out)["statuses"] == {"200": 1, "503": 1}
    assert json.loads(out)["faults"] == {"status=503,next=1": 1}


def test_the_snippet_works_as_it_stands(start):
    process = start("dataplane", "--port", "0", "--write-key", "other-key")
    url = url_of(process.stdout)
    lines = []
    while not lines or "flush" not in lines[-1]:
        lines.append(process.stdout.readline())
    exec("".join(lines), scope := {})
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    scope["client"].close()

    assert url in "".join(lines)
    assert re.search(r"unique\s+1\b", out)


def test_a_port_in_use_is_said_with_a_way_out(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("dataplane", "--port", str(taken.getsockname()[1]))

    assert done.status == 1
    assert "--port" in done.err
