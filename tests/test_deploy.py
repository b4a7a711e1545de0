"""The files in deploy/ are what they claim to be: they parse, and what they run runs."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from eventspool._cli.app import cli
from eventspool._cli.health import METRICS_PATH, PATHS
from eventspool._config import QueueOpts
from eventspool._doctor import examine
from eventspool._redis_server import RedisServer

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
ENVIRONMENT = {"EVENTSPOOL_WRITE_KEY": "k", "EVENTSPOOL_QUEUE": "redis://localhost"}


def understand(arguments, monkeypatch, **env):
    """Have the command line parse *arguments* as far as running them; return the command's name and options."""
    for name, value in {**ENVIRONMENT, **env}.items():
        monkeypatch.setenv(name, value)
    group = click.Context(cli)
    name, command, rest = cli.resolve_command(group, list(arguments))
    return name, command.make_context(name, rest, parent=group).params


@pytest.fixture(scope="module")
def unit():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(DEPLOY / "eventspool-worker.service")
    return parser


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


@pytest.fixture(scope="module")
def manifest():
    return yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text())


@pytest.fixture(scope="module")
def dockerfile():
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def only(dockerfile, instruction):
    return [rest for name, rest in dockerfile if name == instruction][-1]


def test_the_systemd_unit_runs_a_worker_that_outlives_its_grace(unit, monkeypatch):
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    name, options = understand(arguments, monkeypatch)

    assert (Path(program).name, name, options["multi"]) == ("eventspool", "worker", True)
    assert int(service["TimeoutStopSec"]) > options["grace"]


def test_systemd_does_not_start_a_worker_again_whose_settings_are_wrong(unit):
    wrong = [["worker", "--no-such-option"], ["worker"], ["worker", "-k", "k", "-q", "mysql://x"]]
    command = [sys.executable, "-m", "eventspool"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("EVENTSPOOL_")}
    statuses = {subprocess.run([*command, *rest], capture_output=True, env=env).returncode for rest in wrong}

    assert unit["Service"]["Restart"] == "always"
    assert {unit["Service"]["RestartPreventExitStatus"]} == {str(status) for status in statuses}


def test_systemd_accepts_the_unit(tmp_path):
    """Where systemd is; elsewhere the unit was read by the test above all the same."""
    if (analyze := shutil.which("systemd-analyze")) is None:
        return
    text = (
        (DEPLOY / "eventspool-worker.service")
        .read_text()
        .replace("/opt/eventspool/bin/eventspool", "/bin/true")
    )
    (tmp_path / "eventspool-worker.service").write_text(text)
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(tmp_path / "eventspool-worker.service")],
        capture_output=True,
        text=True,
    )
    complaints = [line for line in done.stderr.splitlines() if "eventspool-worker" in line]
    assert (done.returncode, complaints) == (0, []), done.stderr


def test_the_image_runs_a_worker_and_asks_it(dockerfile, monkeypatch):
    settings = dict(re.findall(r"(EVENTSPOOL_\w+)=(\S+)", only(dockerfile, "ENV")))
    program, *first = json.loads(only(dockerfile, "ENTRYPOINT"))
    name, options = understand([*first, *json.loads(only(dockerfile, "CMD"))], monkeypatch, **settings)
    probe, *rest = json.loads(only(dockerfile, "HEALTHCHECK").partition("CMD ")[2])
    asked, question = understand(rest, monkeypatch, **settings)

    assert (program, name, probe, asked) == ("eventspool", "worker", "eventspool", "health")
    assert options["health_port"] == question["port"] == int(only(dockerfile, "EXPOSE"))
    assert (options["log_format"], question["question"]) == ("json", "live")
    assert only(dockerfile, "USER").split(":")[0] != "0"


def test_the_image_holds_what_every_command_needs(dockerfile):
    installed = next(rest for name, rest in dockerfile if name == "RUN" and "pip install" in rest)
    extras = set(re.search(r"\.\[([\w,]+)\]", installed).group(1).split(","))

    assert extras >= {"redis", "cli", "dashboard", "encryption"}


def test_everything_that_the_image_copies_is_there(dockerfile):
    copied = [
        part
        for name, rest in dockerfile
        if name == "COPY" and "--from" not in rest
        for part in rest.split()[:-1]
    ]

    assert copied
    assert [name for name in copied if not (DEPLOY.parent / name).exists()] == []


def test_the_composed_redis_is_one_that_doctor_calls_healthy(compose):
    program, *arguments = compose["redis"]["command"]
    assert program == "redis-server"
    with RedisServer(args=arguments) as server:
        found = examine(QueueOpts(url=server.url), None, interval=0)
    assert found.findings == ()


def test_the_composed_worker_runs(compose, monkeypatch):
    worker = compose["worker"]
    name, options = understand(worker["command"], monkeypatch)

    assert name == "worker"
    assert int(worker["stop_grace_period"].removesuffix("s")) > options["grace"]
    assert (DEPLOY / worker["build"]["context"] / worker["build"]["dockerfile"]).is_file()
    assert worker["environment"].keys() >= ENVIRONMENT.keys()


def test_the_kubernetes_worker_runs_is_probed_and_may_drain(manifest, dockerfile, monkeypatch):
    pod = manifest["spec"]["template"]["spec"]
    [worker] = pod["containers"]
    name, options = understand(worker["args"], monkeypatch)
    wait = int(worker["lifecycle"]["preStop"]["exec"]["command"][1])
    [port] = worker["ports"]

    assert name == "worker"
    assert pod["terminationGracePeriodSeconds"] > wait + options["grace"]
    assert {each["name"] for each in worker["env"]} >= ENVIRONMENT.keys()
    assert port["containerPort"] == int(only(dockerfile, "EXPOSE"))
    for probe, path in (("livenessProbe", "live"), ("readinessProbe", "ready"), ("startupProbe", "live")):
        assert worker[probe]["httpGet"] == {"path": PATHS[path], "port": port["name"]}
    scraped = manifest["spec"]["template"]["metadata"]["annotations"]
    assert scraped == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port["containerPort"]),
        "prometheus.io/path": METRICS_PATH,
    }
    labels = manifest["spec"]["template"]["metadata"]["labels"]
    assert manifest["spec"]["selector"]["matchLabels"].items() <= labels.items()
