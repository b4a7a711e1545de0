"""
deploy/Dockerfile and deploy/compose.yaml: hadolint finds nothing, and what they run runs.

No image is built here, as there is no Docker daemon and no registry. What can be tried of it is tried: the locked packages are
those that the commands need, the health checks ask what runs, and the composed server is started by its own command line.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from e2e.harness import eventually
from eventspool._config import QueueOpts
from eventspool._doctor import examine
from eventspool._redis_server import find_server
from node_sdks import install

from .conftest import BIN, DEPLOY

pytestmark = pytest.mark.rotating("deployment", turns=3)

ROOT = DEPLOY.parent
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def read_stages():
    """Return the instructions of each stage by its name; a stage begins with those of the stage that it is made from."""
    stages, current = {}, []
    for line in DOCKERFILE.replace("\\\n", " ").splitlines():
        if not line or line.startswith("#"):
            continue
        name, rest = line.split(maxsplit=1)
        if name == "FROM":
            base, _, stage = rest.partition(" AS ")
            current = stages[stage] = list(stages.get(base, []))
        current.append((name, rest))
    return stages


STAGES = read_stages()
RUNNING = ("worker", "metrics", "dashboard")
ENVIRONMENT = {"EVENTSPOOL_WRITE_KEY": "k", "EVENTSPOOL_QUEUE": "redis://localhost"}


def only(stage, instruction):
    return [rest for name, rest in STAGES[stage] if name == instruction][-1]


def settings(stage):
    """Return the variables that a stage sets."""
    pairs = (pair for name, rest in STAGES[stage] if name == "ENV" for pair in shlex.split(rest))
    return dict(pair.split("=", 1) for pair in pairs if pair.startswith("EVENTSPOOL_"))


def test_hadolint_finds_nothing():
    done = subprocess.run([BIN / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_hadolint_would_find_something():
    done = subprocess.run([BIN / "hadolint", "-"], input="FROM x\n", capture_output=True, text=True)

    assert (done.returncode, "DL3006" in done.stdout) == (1, True)


@pytest.mark.parametrize("stage", RUNNING)
def test_each_image_runs_its_command_and_no_root(stage, understand):
    program, *first = json.loads(only(stage, "ENTRYPOINT"))
    name, _ = understand([*first, *json.loads(only(stage, "CMD"))], **settings(stage), **ENVIRONMENT)

    assert (program, name) == ("eventspool", stage)
    assert only(stage, "USER").split(":")[0] != "0"
    assert list(STAGES)[-1] == "worker"  # what is built where nobody says which


@pytest.mark.parametrize("stage", ["worker", "metrics"])
def test_the_health_check_asks_the_port_on_which_the_command_answers(stage, understand):
    given = {**settings(stage), **ENVIRONMENT}
    probe, *rest = json.loads(only(stage, "HEALTHCHECK").partition("CMD ")[2])
    asked, question = understand(rest, **given)
    _, options = understand(json.loads(only(stage, "CMD")), **given)
    port = options["health_port"] if stage == "worker" else options["port"]

    assert (probe, asked, question["question"]) == ("eventspool", "health", "live")
    assert question["port"] == port == int(only(stage, "EXPOSE"))


def test_the_health_check_of_the_dashboard_passes_while_it_runs_and_only_then(tmp_path):
    _, *rest = json.loads(only("dashboard", "HEALTHCHECK").partition("CMD ")[2])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    probe = [sys.executable, rest[0], rest[1].replace(only("dashboard", "EXPOSE"), port)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("EVENTSPOOL_")}
    env |= settings("dashboard") | {
        "EVENTSPOOL_DASHBOARD_PORT": port,
        "EVENTSPOOL_DASHBOARD_HOST": "127.0.0.1",
    }

    def ask():
        return subprocess.run(probe, capture_output=True).returncode

    assert only("dashboard", "EXPOSE") == settings("dashboard")["EVENTSPOOL_DASHBOARD_PORT"]
    assert ask() != 0
    command = [sys.executable, "-m", "eventspool", *json.loads(only("dashboard", "CMD"))]
    env["EVENTSPOOL_QUEUE"] = f"sqlite:///{tmp_path}/x.db"
    page = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: ask() == 0)
    finally:
        page.terminate()
        page.wait()


def test_an_image_for_any_command_has_no_health_check_of_another():
    assert only("any", "HEALTHCHECK") == "NONE"


def test_what_is_installed_is_locked_with_hashes_and_is_what_every_command_needs():
    installs = [rest for name, rest in STAGES["build"] if name == "RUN" and "pip install" in rest]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        re.match(r"[\w.-]+", need).group()
        for extra in ("redis", "fast", "encryption", "cli", "dashboard")
        for need in project["optional-dependencies"][extra]
    }
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements/image.txt").read_text(), re.MULTILINE))

    assert "--require-hashes -r requirements/image.txt" in installs[0]
    assert "--no-index --no-deps" in installs[1]  # nothing else comes in
    assert wanted <= locked


def test_the_base_image_can_be_pinned_by_its_digest():
    """Which digest that is cannot be asked here, and changes: the file says how to see it."""
    froms = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)

    assert set(froms) <= {"${PYTHON}", *STAGES}
    assert re.search(r"^ARG PYTHON=python:3\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
    assert "--build-arg PYTHON=" in DOCKERFILE
    assert "@sha256:" in DOCKERFILE


def test_everything_that_the_image_copies_is_sent_to_the_builder():
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        part
        for rest in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for part in rest.split()[:-1]
    }

    assert copied == sent
    assert [name for name in copied if not (ROOT / name).exists()] == []


@pytest.fixture
def composed_redis(tmp_path):
    """The composed server, started by its own command line; only the port and the place of the secret differ."""
    secret = tmp_path / "redis-password"
    secret.write_text("a-long-secret")
    tmp_path.joinpath("redis-server").symlink_to(find_server())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [part.replace("$$", "$") for part in SERVICES["redis"]["command"]]
    command[-1] = (
        command[-1]
        .replace("/run/secrets/redis-password", str(secret))
        .replace("redis-server -", f"redis-server - --bind 127.0.0.1 --port {port}")
    )
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    server = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL)

    def listens():
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            return False
        return True

    try:
        eventually(listens)
        yield server, f"redis://127.0.0.1:{port}/0", secret
    finally:
        server.terminate()
        server.wait()
    assert eventually(lambda: not listens())  # it was no shell that has ended


def test_the_composed_redis_asks_for_its_password_and_is_one_that_doctor_calls_healthy(composed_redis):
    server, url, secret = composed_redis
    found = examine(QueueOpts(url=f"{url}?password_file={secret}"), None, interval=0)
    stranger = examine(QueueOpts(url=url), None, interval=0)

    assert [each.check for each in found.findings] == ["queue.missing"], "nothing was stored yet"
    assert [each.check for each in stranger.findings] == ["redis.reachable"]
    listed = subprocess.run(
        ["ps", "-o", "args=", "-p", str(server.pid)], capture_output=True, text=True
    ).stdout
    assert "a-long-secret" not in listed


@pytest.mark.parametrize("name", RUNNING)
def test_each_composed_service_runs_and_has_the_secret(name, understand):
    service = SERVICES[name]
    environment = {
        key: re.sub(r"\$\{\w+:[?-](.*)\}", r"\1", value).replace(" ", "-")
        for key, value in service["environment"].items()
    }
    command, options = understand(service["command"], **settings(service["build"]["target"]), **environment)

    assert command == name == service["build"]["target"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert service["secrets"] == ["redis-password"]
    assert "password_file=/run/secrets/redis-password" in service["environment"]["EVENTSPOOL_QUEUE"]
    if name == "worker":
        assert int(service["stop_grace_period"].removesuffix("s")) > options["grace"]


def test_what_is_composed_is_reached_from_this_machine_alone_and_by_producers():
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]

    assert {port.rpartition(":")[2] for port in ports} == {"6379", "8182", "8124"}
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert COMPOSE["networks"]["eventspool"]["name"] == "eventspool"  # by which other compose files join it
    assert all(
        service["networks"] == ["eventspool"] and "mem_limit" in service for service in SERVICES.values()
    )


def test_git_never_takes_the_composed_password():
    secret = COMPOSE["secrets"]["redis-password"]["file"].removeprefix("./")

    assert subprocess.run(["git", "check-ignore", "-q", f"deploy/{secret}"], cwd=ROOT).returncode == 0


@pytest.fixture(scope="module")
def lint_compose():
    """Return how dclint, which knows the schema of compose files, ends with one. What is only its taste is not asked for."""
    folder = Path(__file__).parent / "compose_linter"
    install(folder)

    def lint(path):
        command = [folder / "node_modules/.bin/dclint", "--quiet", path]
        return subprocess.run(command, capture_output=True, text=True)

    return lint


def test_compose_knows_every_field(lint_compose):
    """Compose's own check (`docker compose config`) comes in no package that can be had here."""
    done = lint_compose(DEPLOY / "compose.yaml")

    assert done.returncode == 0, done.stdout


def test_a_field_that_compose_does_not_know_would_be_found(lint_compose, tmp_path):
    wrong = (DEPLOY / "compose.yaml").read_text().replace("mem_limit:", "memory_limit:")
    tmp_path.joinpath("compose.yaml").write_text(wrong)
    done = lint_compose(tmp_path / "compose.yaml")

    assert (done.returncode, "invalid-schema" in done.stdout) == (1, True), done.stdout


def test_every_yaml_file_is_well_formed():
    rules = "{extends: relaxed, rules: {line-length: disable, key-duplicates: enable, truthy: enable}}"
    files = [path for path in DEPLOY.rglob("*.y*ml") if "templates" not in path.parts]
    done = subprocess.run([BIN / "yamllint", "-s", "-d", rules, *files], capture_output=True, text=True)

    assert len(files) >= 7
    assert (done.returncode, done.stdout) == (0, "")
