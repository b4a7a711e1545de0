"""``eventspool worker``: delivers, stops when it is told to, and says what it does."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import threading
import time
import urllib.request
from dataclasses import fields

import pytest

from eventspool import Client, JobOpts, open_queue
from eventspool._cli.commands import worker
from eventspool._cli.health import STALE_AFTER, Health
from eventspool.testing import DataPlane, Rule

pytestmark = pytest.mark.rotating("worker", turns=3)

PATIENCE = 60.0


def test_once_empties_the_queue_and_ends(run, plane, target, queue, enqueue):
    enqueue("a", "b", "c")
    done = run("worker", "--once", "--json", **target, **queue)

    assert done.status == 0, done
    assert done.json == {
        "batches": 3,
        "waiting": 0,
        "leased": 0,
        "failed": 0,
        "paused": False,
        "queue_paused": False,
        "reachable": True,
        "troubles": [],
    }
    assert plane.unique_ids() == ["id-a", "id-b", "id-c"]


def test_once_waits_for_retries(run, plane, target, queue, enqueue):
    enqueue("a")
    plane.script("status=503,next=1")

    assert run("worker", "--once", **target, **queue).status == 0
    assert plane.stats().unique == 1


def test_once_fails_when_something_new_failed_only(run, target, failed):
    assert run("worker", "--once", **target, **failed).status == 0


def test_max_attempts_sends_to_the_failed_queue(run, plane, target, queue, enqueue):
    enqueue("a")
    plane.script("status=503")
    done = run("worker", "--once", "--max-attempts", "1", "--json", **target, **queue)

    assert (done.status, done.json["failed"]) == (1, 1)


def test_every_option_of_a_job_can_be_given_as_an_option_or_in_the_environment(
    run, target, queue, monkeypatch
):
    given, create = [], Client.create_persistence_queue
    monkeypatch.setattr(
        Client, "create_persistence_queue", lambda client, opts: given.append(opts) or create(client, opts)
    )
    wanted = {
        "max_attempts": 3,
        "retry_for": 4.0,
        "backoff_initial": 0.5,
        "backoff_max": 6.0,
        "concurrency": 7,
        "max_events_per_second": 250.5,
        "visibility_timeout": 8.0,
    }
    assert wanted.keys() == {field.name for field in fields(JobOpts)}
    options = [word for name, value in wanted.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    environment = {f"EVENTSPOOL_{name.upper()}": str(value) for name, value in wanted.items()}

    assert run("worker", "--once", "--multi", *options, **target, **queue).status == 0
    again = {**environment, "EVENTSPOOL_MULTI": "1", "EVENTSPOOL_GRACE": "9"}
    assert run("worker", "--once", **again, **target, **queue).status == 0
    assert [(opts.jobs, opts.is_multi_processor) for opts in given] == [(JobOpts(**wanted), True)] * 2
    assert run("worker", "--once", **target, **queue, EVENTSPOOL_GRACE="soon").status == 2
    assert run("worker", "--once", "--backoff-max", "0.1", **target, **queue).status == 2


def test_another_path_of_the_data_plane_is_taken_by_all_who_send(run, queue, tmp_path):
    event = b'{"type": "track", "event": "E", "userId": "u", "messageId": "%d"}'
    with DataPlane("key", path="/v2/events") as plane:
        there = {
            "EVENTSPOOL_WRITE_KEY": "key",
            "EVENTSPOOL_DATA_PLANE_URL": plane.url,
            "EVENTSPOOL_PATH": "/v2/events",
        }
        assert run("send", "-", data=event % 1, **there).status == 0
        assert run("send", "-", "--enqueue-only", data=event % 2, **queue).status == 0
        assert run("worker", "--once", **there, **queue).status == 0
        assert plane.unique_ids() == ["1", "2"]
        assert run("doctor", **there).status == 0
        wrong = run("doctor", "--path", "/v1/batch", **there)
        assert (wrong.status, "--path" in wrong.out) == (1, True)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_in_good_order(start, plane, target, queue, enqueue, number, status):
    """The request under way is finished: the event is delivered once, and the queue knows."""
    asked, answer = threading.Event(), threading.Event()
    plane.script(Rule(latency=0.0, predicate=lambda _: asked.set() or not answer.wait(PATIENCE)))
    enqueue("a")
    process = start("worker", "--json", env={**target, **queue})
    assert asked.wait(PATIENCE)
    process.send_signal(number)
    while "stopping" not in (line := process.stderr.readline()):
        assert line, "it ended without a word"
    answer.set()
    out, err = process.communicate(timeout=PATIENCE)

    assert process.returncode == status, err
    assert json.loads(out)["batches"] == 1
    assert plane.received("id-a") == 1
    with open_queue(queue["EVENTSPOOL_QUEUE"], queue["EVENTSPOOL_QUEUE_NAME"]) as opened:
        assert opened.stats().leased.jobs == opened.stats().waiting.jobs == 0


def test_a_second_signal_ends_it_at_once_and_gives_the_lease_back(start, plane, target, queue, enqueue):
    plane.script("hang=600")
    enqueue("a")
    process = start("worker", "--grace", "300", env={**target, **queue})
    assert plane.wait_for(lambda stats: stats.requests == 1, timeout=PATIENCE)
    process.send_signal(signal.SIGTERM)
    while "stopping" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)

    assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    with open_queue(queue["EVENTSPOOL_QUEUE"], queue["EVENTSPOOL_QUEUE_NAME"]) as opened:
        assert opened.stats().leased.jobs == 0
        assert opened.stats().waiting.jobs == 1


def test_once_fails_where_it_cannot_be_ended_in_good_order(run, target, queue, monkeypatch):
    """1, as for any failure: 128 and more is for signals, and none was sent."""

    def leave(status):
        raise SystemExit(status)

    monkeypatch.setattr(worker, "_close", lambda client, *_: bool(client.close()))
    monkeypatch.setattr(worker.os, "_exit", leave)
    assert run("worker", "--once", **target, **queue).status == 1


def test_a_queue_that_is_not_there_yet_is_waited_for(start, target):
    process = start("worker", env={**target, "EVENTSPOOL_QUEUE": "redis://127.0.0.1:9/0"})

    assert "trying again" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_a_refused_write_key_is_said_loudly_and_costs_nothing(start, plane, target, queue, enqueue):
    enqueue("a")
    process = start("worker", env={**target, **queue, "EVENTSPOOL_WRITE_KEY": "wrong"})
    while "write key" not in (line := process.stderr.readline()):
        assert line, "it ended without a word"
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0

    with open_queue(queue["EVENTSPOOL_QUEUE"], queue["EVENTSPOOL_QUEUE_NAME"]) as opened:
        assert opened.stats().failed.jobs == 0
    assert "wrong" not in process.stderr.read()


def test_a_spill_file_that_somebody_left_is_moved_on(run, plane, target, redis_server, tmp_path):
    """A producer was killed while Redis was away: a worker with its file delivers what is in there."""
    name = {"EVENTSPOOL_QUEUE_NAME": tmp_path.name}
    spill = f"sqlite:///{tmp_path}/spill.db"
    event = b'{"type": "track", "event": "E", "userId": "u"}'
    assert run("send", "-", "--enqueue-only", EVENTSPOOL_QUEUE=spill, data=event, **name).status == 0
    redis = {"EVENTSPOOL_QUEUE": redis_server.url, "EVENTSPOOL_SPILL": spill}
    done = run("worker", "--once", "--json", **target, **redis, **name)

    assert done.status == 0, done
    assert plane.stats().unique == 1
    assert run("queue", "status", "--json", EVENTSPOOL_QUEUE=spill, **name).json["waiting"]["events"] == 0


def test_a_spill_file_is_for_redis(run, target, tmp_path):
    files = [f"sqlite:///{tmp_path}/{name}.db" for name in ("queue", "spill")]
    for command in ("worker", "send"):
        arguments = [command, *(["-"] if command == "send" else []), "--queue", files[0], "--spill", files[1]]
        done = run(*arguments, **target)

        assert done.status == 2, done
        assert "spill" in done.err
    done = run("send", "-", "--spill", files[1], **target)
    assert (done.status, "--queue" in done.err) == (2, True), done


@pytest.fixture
def port():
    """A port that is free, as far as one can know."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def ask(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body else None
    finally:
        connection.close()


def await_answer(port, path, status, process):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        try:
            found, body = ask(port, path)
        except OSError:
            found, body = None, None
        if found == status:
            return body
        time.sleep(0.05)
    raise AssertionError(f"{path} never answered {status}, but {found}: {body}")


def test_probes_are_answered_over_http_and_as_a_command(start, run, plane, target, queue, enqueue, port):
    """Ready while events flow; not while the data plane is down, though there is no reason to restart anything."""
    health = {"EVENTSPOOL_HEALTH_PORT": str(port)}
    process = start("worker", env={**target, **queue, **health})
    await_answer(port, "/readyz", 200, process)
    assert ask(port, "/livez") == (200, {"ok": True, "reason": None})
    assert ask(port, "/livez", "HEAD") == (200, None)
    assert ask(port, "/")[0] == 404
    assert run("health", **health).status == run("health", "--live", **health).status == 0
    assert run("health", **health, EVENTSPOOL_HEALTH_HOST="0.0.0.0").status == 0
    assert run("health", **health, EVENTSPOOL_HEALTH_HOST="127.1.2.3").status == 1

    plane.script("status=503")
    enqueue("a")
    assert "data plane" in await_answer(port, "/readyz", 503, process)["reason"]
    assert ask(port, "/livez")[0] == 200
    done = run("health", "--json", **health)
    assert (done.status, done.json["ready"]) == (1, False)
    assert "data plane" in run("health", **health).err

    plane.script()
    await_answer(port, "/readyz", 200, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    done = run("health", "--live", **health)
    assert (done.status, "--health-port" in done.err) == (1, True)


def test_a_queue_that_is_away_is_no_reason_to_restart(start, target, port):
    env = {**target, "EVENTSPOOL_QUEUE": "redis://127.0.0.1:9/0", "EVENTSPOOL_HEALTH_PORT": str(port)}
    process = start("worker", env=env)

    await_answer(port, "/livez", 200, process)
    assert ask(port, "/readyz")[0] == 503


def test_a_worker_that_drains_is_live_but_not_ready(start, plane, target, queue, enqueue, port):
    plane.script("hang=600")
    enqueue("a")
    process = start("worker", "--grace", "300", env={**target, **queue, "EVENTSPOOL_HEALTH_PORT": str(port)})
    assert plane.wait_for(lambda stats: stats.requests == 1, timeout=PATIENCE)
    process.send_signal(signal.SIGTERM)
    while "stopping" not in process.stderr.readline():
        pass

    assert "stopping" in await_answer(port, "/readyz", 503, process)["reason"]
    assert ask(port, "/livez")[0] == 200


def test_a_loop_that_hangs_or_a_processor_that_ended_is_not_live():
    now = 0.0
    health = Health(lambda: now)
    assert (health.not_live(), health.not_ready()) == ("", "the worker is starting")
    health.note(())
    assert "processor" in health.not_live()
    stop = threading.Event()
    processor = threading.Thread(target=stop.wait, name="eventspool-processor")
    processor.start()
    try:
        assert health.not_ready() == ""
        now = STALE_AFTER + 1
        assert "loop" in health.not_live()
        health.stop()
        assert (health.not_live(), health.not_ready()) == ("", "the worker is stopping")
    finally:
        stop.set()
        processor.join()


def test_a_worker_exports_its_queue_and_itself_to_prometheus(start, plane, target, queue, enqueue, port):
    enqueue("a", "b")
    process = start("worker", env={**target, **queue, "EVENTSPOOL_HEALTH_PORT": str(port)})
    await_answer(port, "/readyz", 200, process)
    assert plane.wait_for(2, timeout=PATIENCE)

    def scrape():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return dict(line.rsplit(" ", 1) for line in lines)

    name = f'{{queue="{queue["EVENTSPOOL_QUEUE_NAME"]}"}}'
    deadline = time.monotonic() + PATIENCE
    while (found := scrape())[f"eventspool_queue_delivered_events_total{name}"] != "2.0":
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    assert found[f"eventspool_queue_processors{name}"] == "1.0"
    assert 'eventspool_client_sent_batches_total{client="worker"}' in found


def test_a_port_that_is_taken_is_said(run, target, queue):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        done = run("worker", "--once", "--health-port", port, **target, **queue)
    assert (done.status, "--health-port" in done.err) == (1, True)


def test_logs_as_json_are_json_line_by_line(start, plane, target, queue, enqueue):
    enqueue("a")
    plane.script("status=503,next=5")
    env = {**target, **queue, "EVENTSPOOL_LOG_FORMAT": "json"}
    process = start("worker", env=env)
    assert plane.wait_for(1, timeout=PATIENCE)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    lines = [json.loads(line) for line in err.splitlines()]

    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert lines[-1].items() >= {"level": "info", "batches": 1, "waiting": 0, "failed": 0}.items()
    assert any(line["level"] == "warning" for line in lines), lines


def test_systemd_is_told(start, target, queue, tmp_path):
    """Ready once the queue is open, alive from then on, stopping when asked to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        manager.settimeout(PATIENCE)
        process = start("worker", env={**target, **queue, "NOTIFY_SOCKET": str(tmp_path / "n")})
        assert [manager.recv(99) for _ in range(2)] == [b"READY=1", b"WATCHDOG=1"]
        process.send_signal(signal.SIGTERM)
        while (message := manager.recv(99)) != b"STOPPING=1":
            assert message == b"WATCHDOG=1"
    assert process.wait(PATIENCE) == 0


def test_a_paused_queue_is_said(start, target, queue, enqueue):
    enqueue("a")
    with open_queue(queue["EVENTSPOOL_QUEUE"], queue["EVENTSPOOL_QUEUE_NAME"]) as opened:
        opened.pause()
    process = start("worker", "--json", env={**target, **queue, "EVENTSPOOL_LOG_FORMAT": "json"})
    while '"paused:' not in (line := process.stderr.readline()):
        assert line
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE)

    assert json.loads(out).items() >= {"queue_paused": True, "waiting": 1, "batches": 0}.items()


@pytest.mark.parametrize("command", [("worker", "--once"), ("send", "-"), ("doctor",)])
def test_a_proxy_and_authorities_are_options_of_all_that_go_to_the_data_plane(
    run, target, queue, command, tmp_path
):
    """They are read from the environment, too, and a wrong one is wrong usage; a password in it is not repeated."""
    (tmp_path / "no.pem").write_text("no certificate")
    for name, value in (("proxy", "socks5://user:canary@p"), ("ca-file", str(tmp_path / "no.pem"))):
        variable = f"EVENTSPOOL_{name.upper().replace('-', '_')}"
        for done in (
            run(*command, f"--{name}", value, **target, **queue),
            run(*command, **target, **queue, **{variable: value}),
        ):
            assert (done.status, "canary" in done.err) == (2, False)
            assert name.replace("-", "_") in done.err


def test_a_worker_goes_through_the_proxy_it_is_told(run, target, queue, enqueue):
    """One that refuses connections shows that it was asked; "" goes past that of the environment."""
    enqueue("a")
    at = "http://127.0.0.1:9"
    done = run("doctor", "--proxy", at, **target, **queue)
    assert f"the proxy {at} refused the connection" in done.out
    assert run("worker", "--once", "--proxy", "", "--json", **target, **queue, HTTP_PROXY=at).status == 0
