"""``eventspool dev``: one command to develop against, with a data plane, the dashboard and a worker on one port."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

from eventspool import Client, open_queue
from eventspool._cli.commands.dev import command

pytestmark = pytest.mark.rotating("dev", turns=3)

PATIENCE = 60.0


class Dev:
    """One that runs, as its ``--json`` describes it."""

    def __init__(self, process):
        self.process = process
        line = process.stdout.readline()
        assert line, process.stderr.read()
        self.told = json.loads(line)
        self.url = self.told["data_plane_url"]

    def ask(self, path, body=None, **headers):
        headers = {
            "Authorization": f"Bearer {self.told['token']}",
            "Content-Type": "application/json",
            **headers,
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def names(self):
        """Return the names of the events on the page *Events*, oldest first."""
        return [event["name"] for event in reversed(self.ask("/api/inbox")["events"])]

    def await_names(self, *names):
        deadline = time.monotonic() + PATIENCE
        while self.names() != list(names):
            assert time.monotonic() < deadline, self.names()
            time.sleep(0.05)


@pytest.fixture
def dev(start, tmp_path):
    """Start one, on a free port and with a home of its own."""

    def dev(*arguments, **env):
        env = {"XDG_STATE_HOME": str(tmp_path / "state"), **env}
        return Dev(start("dev", "--port", "0", "--json", *arguments, env=env))

    return dev


def run_program(code, **env):
    clean = {name: text for name, text in os.environ.items() if not name.startswith("EVENTSPOOL_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, **env},
        check=True,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def test_the_snippet_works_as_pasted_and_its_event_is_on_the_page(dev):
    running = dev()
    assert len(running.told["snippet"].splitlines()) == 4
    done = run_program(running.told["snippet"])

    assert "FlushResult(delivered=1, failed=0, pending=0" in done.stdout
    assert running.names() == ["Order Completed"]
    [event] = running.ask("/api/inbox")["events"]
    assert f"'{running.url}/v1/batch'" not in event
    assert f"{running.url}/v1/batch" in running.ask(f"/api/event?id={event['key']}")["curl"]


def test_what_it_exports_makes_a_client_without_arguments_send_here(dev, tmp_path):
    running = dev()
    code = """
import eventspool
client = eventspool.Client(process=False)
client.track("u1", "Stored")
print(client.flush(timeout=60), client._beginning.queue_opts.url)
"""
    done = run_program(code, **running.told["environment"])

    assert "delivered=1" in done.stdout, "the worker of `dev` has delivered it"
    assert done.stdout.strip().endswith(f"sqlite:///{tmp_path}/state/eventspool/dev.db")
    assert running.names() == ["Stored"]
    assert running.ask("/api/overview")["stats"]["delivered_events"] == 1


@pytest.mark.rotating("first hour")
def test_people_read_the_same(start, tmp_path):
    process = start("dev", "--port", "0", env={"XDG_STATE_HOME": str(tmp_path)})
    said = []
    while not said or not said[-1].startswith("export EVENTSPOOL_QUEUE="):
        said.append(process.stdout.readline())
        assert said[-1], process.stderr.read()
    text = "".join(said)
    [snippet] = re.findall(r"^import eventspool\n(?:.+\n){3}", text, re.MULTILINE)
    exported = dict(re.findall(r"^export (\w+)=(.+)$", text, re.MULTILINE))

    assert re.search(r"^Dashboard +http://127\.0\.0\.1:\d+/\?token=[\w-]{32}#/events$", text, re.MULTILINE)
    assert "delivered=1" in run_program(snippet).stdout
    assert exported.keys() == {"EVENTSPOOL_DATA_PLANE_URL", "EVENTSPOOL_WRITE_KEY", "EVENTSPOOL_QUEUE"}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_without_a_word_and_what_is_left_waits_for_the_next_one(
    dev, tmp_path, number, status
):
    running = dev()
    running.ask("/api/faults", {"rules": ["status=503"]}, Origin=running.url)
    with Client(process=False, write_key="k", persistence=running.told["queue"]) as client:
        client.track("u1", "Left")
        assert client.flush(until="persisted", timeout=PATIENCE).pending == 0
    connection = http.client.HTTPConnection(running.url.removeprefix("http://"), timeout=PATIENCE)
    connection.request("GET", "/static/app.css")
    connection.getresponse().read()  # and it stays open, as a browser's does
    running.process.send_signal(number)
    out, err = running.process.communicate(timeout=PATIENCE)
    connection.close()

    assert running.process.returncode == status
    assert out == ""
    assert "Traceback" not in err
    with open_queue(running.told["queue"]) as queue:
        assert queue.stats().waiting.events + queue.stats().delayed.events == 1
        assert queue.processors() == []
    dev().await_names("Left")


def test_any_write_key_is_taken_and_none_is_refused(dev):
    running = dev()
    with Client("another-key", data_plane_url=running.url, gzip=False) as client:
        client.track("u1", "E")
        assert client.flush(timeout=PATIENCE).delivered == 1
    request = urllib.request.Request(
        f"{running.url}/v1/batch", b'{"batch": []}', {"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=PATIENCE)

    with refused.value as answer:
        assert answer.code == 401
        assert "write key" in answer.read().decode()


@pytest.mark.rotating("first hour")
def test_the_page_needs_the_token_and_outlives_an_outage_that_it_has_set_off(dev):
    running = dev()
    for path in ("/api/overview", "/__events", "/"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{running.url}{path}", timeout=PATIENCE)
        with refused.value as answer:
            assert answer.code == 401
    running.ask("/api/faults", {"rules": ["outage,to=3600"]}, Origin=running.url)
    with Client("k", data_plane_url=running.url) as client:
        client.track("u1", "E")
        deadline = time.monotonic() + PATIENCE
        while "answered 502" not in (reason := client.flush(timeout=0.2).reason):
            assert time.monotonic() < deadline, reason
        assert running.ask("/api/overview")["queue"] == "hightouchEventsQueue"
        client.close(0.0)


@pytest.mark.rotating("first hour")
def test_what_breaks_the_connection_is_tried_again(dev):
    running = dev()
    for rule in ("drop=before,next=1", "drop=after,record,next=1", "drop=half,record,next=1"):
        running.ask("/api/faults", {"rules": [rule]}, Origin=running.url)
        with Client("k", data_plane_url=running.url) as client:
            client.track("u1", rule)
            assert client.flush(timeout=PATIENCE).delivered == 1


@pytest.mark.rotating("first hour")
def test_it_ends_while_a_request_hangs_and_after_a_client_has_given_up(dev):
    running = dev()
    running.ask("/api/faults", {"rules": ["hang=3600"]}, Origin=running.url)
    body = b'{"batch": [{"type": "track", "event": "E", "userId": "u", "messageId": "m"}], "writeKey": "k"}'
    head = (
        b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    port = int(running.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port)) as gone,
        socket.create_connection(("127.0.0.1", port)) as there,
    ):
        for number, each in enumerate((gone, there)):
            each.sendall(head % len(body) + body)
            deadline = time.monotonic() + PATIENCE
            while running.ask("/api/inbox")["stats"]["requests"] != number + 1:
                assert time.monotonic() < deadline
                time.sleep(0.02)
        gone.close()
        running.process.send_signal(signal.SIGINT)
        _, err = running.process.communicate(timeout=PATIENCE)

    assert running.process.returncode == 130
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_client_that_is_amid_its_body_does_not_litter_the_end(dev, number):
    running = dev()
    port = int(running.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as slow:
        slow.sendall(
            b"POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        )
        assert b"100 Continue" in slow.recv(1000)  # so it waits for the body
        running.process.send_signal(number)
        _, err = running.process.communicate(timeout=PATIENCE)
        assert b"HTTP/1.1 503" in slow.recv(1000)

    assert running.process.returncode == (130 if number == signal.SIGINT else 0)
    assert "Traceback" not in err


def test_the_page_stays_where_batches_are_posted_to_the_root(dev):
    running = dev("--path", "/")
    with Client("key", data_plane_url=running.url, path="/", persistence=None) as client:
        client.track("u1", "Asked")
        assert client.flush(timeout=PATIENCE).delivered == 1
    page = urllib.request.Request(
        f"{running.url}/", headers={"Authorization": f"Bearer {running.told['token']}"}
    )
    with urllib.request.urlopen(page, timeout=PATIENCE) as answer:
        assert answer.headers["Content-Type"].startswith("text/html")


def test_an_answer_of_the_data_plane_has_one_date(dev):
    connection = http.client.HTTPConnection(dev().url.removeprefix("http://"), timeout=PATIENCE)
    connection.request("POST", "/v1/batch", b"{}")
    assert len(connection.getresponse().headers.get_all("Date")) == 1
    connection.close()


def test_a_user_without_a_home_is_told_of_the_option(monkeypatch):
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)

    def refuse():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", refuse)
    done = CliRunner().invoke(command, ["--port", "0"])
    assert done.exit_code == 2
    assert "--queue" in done.output


def test_the_data_plane_says_itself_what_it_takes(dev):
    running = dev()
    connection = http.client.HTTPConnection(running.url.removeprefix("http://"), timeout=PATIENCE)
    answers = {}
    for method, path, body in (
        ("HEAD", "/v1/batch", None),
        ("POST", "/v1/batch", b"x" * ((1 << 20) + 1)),
        ("POST", "/v1/track", b'{"event": "E", "userId": "u", "messageId": "m", "writeKey": "k"}'),
    ):
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        answers[method, path, len(body or b"")] = answer.status
    connection.close()

    assert [*answers.values()] == [405, 413, 200]
    assert running.names() == ["E"]


@pytest.mark.rotating("first hour")
def test_it_never_takes_the_queue_of_the_environment(dev, tmp_path):
    """Else its worker would deliver to this machine what must go elsewhere."""
    running = dev(
        EVENTSPOOL_QUEUE=f"sqlite:///{tmp_path}/other.db", EVENTSPOOL_DATA_PLANE_URL="http://127.0.0.1:9"
    )

    assert running.told["queue"].endswith("/state/eventspool/dev.db")
    assert not (tmp_path / "other.db").exists()


@pytest.mark.rotating("first hour")
def test_it_works_whatever_an_application_has_in_the_environment(dev):
    running = dev(
        EVENTSPOOL_PROCESS="0",
        EVENTSPOOL_ENABLE="0",
        EVENTSPOOL_SPILL="sqlite:///spill.db",
        EVENTSPOOL_PROXY="http://127.0.0.1:9",
        EVENTSPOOL_PATH="/v2/events",
        EVENTSPOOL_QUEUE_NAME="orders",
    )
    environment = {
        **running.told["environment"],
        "EVENTSPOOL_QUEUE_NAME": "orders",
        "EVENTSPOOL_PROCESS": "0",
    }
    done = run_program(
        'import eventspool; c = eventspool.Client(); c.track("u1", "E"); print(c.flush(timeout=60))',
        **environment,
    )

    assert environment["EVENTSPOOL_PATH"] == "/v2/events"
    assert "delivered=1" in done.stdout
    assert running.names() == ["E"]
    assert 'path="/v2/events"' in running.told["snippet"]


@pytest.mark.rotating("first hour")
def test_another_one_on_the_same_queue_is_told_of(dev):
    dev()
    second = dev()

    assert "Another process delivers this queue, too" in second.process.stderr.readline()


def test_a_port_in_use_is_said_with_a_way_out(run, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run("dev", "--port", port, XDG_STATE_HOME=str(tmp_path))

    assert done.status == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.err
    assert "--port" in done.err
    assert not (tmp_path / "eventspool").exists()


def test_without_its_packages_it_says_how_to_get_them(start, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['uvicorn'] = None\n")
    process = start("dev", env={"PYTHONPATH": str(tmp_path)})
    _, err = process.communicate(timeout=PATIENCE)

    assert process.returncode == 1
    assert "pip install 'eventspool[dashboard]'" in err
