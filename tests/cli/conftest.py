"""The command as users run it, with an environment that says nothing by chance."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from documents import require_valid
from eventspool import Client, QueueOpts
from eventspool._cli import app
from eventspool._redis_server import RedisServer
from eventspool.testing import DataPlane
from shares import taking_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "canary-write-key"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What was printed, after a look whether its schema allows it, and without the name of that."""
        found = json.loads(self.out)
        require_valid(found)
        for each in found if isinstance(found, list) else [found]:
            del each["schema"]
        return found


def _environment(**extra: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("EVENTSPOOL_")}
    return {**clean, **extra}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``eventspool ARGUMENTS`` in an empty folder; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [sys.executable, "-m", "eventspool", *arguments],
            text=True,
            cwd=tmp_path,
            **{**pipes, **options, "env": _environment(**env or {})},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run ``eventspool ARGUMENTS`` in an empty folder, in this process, and return how it ended."""
    monkeypatch.chdir(tmp_path)
    for name in [*filter(lambda name: name.startswith("EVENTSPOOL_"), os.environ), "COLUMNS"]:
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str, data: bytes = b"", **env: str) -> Done:
        streams = {name: io.TextIOWrapper(io.BytesIO(), "utf-8") for name in ("stdin", "stdout", "stderr")}
        streams["stdin"].buffer.write(data)
        streams["stdin"].seek(0)
        with monkeypatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, value)
            for name, stream in streams.items():
                patch.setattr(sys, name, stream)
            try:
                status = app.run(arguments)
            except SystemExit as done:
                status = done.code
            for name in ("stdout", "stderr"):
                streams[name].flush()
        return Done(status, *(streams[name].buffer.getvalue().decode() for name in ("stdout", "stderr")))

    return run


@pytest.fixture
def plane() -> Iterator[DataPlane]:
    with DataPlane(KEY) as plane:
        yield plane


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture(params=taking_turns("sqlite", "redis"))
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """A queue of each kind, as the environment names it."""
    url = f"sqlite:///{tmp_path}/queue.db"
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").url
    return {"EVENTSPOOL_QUEUE": url, "EVENTSPOOL_QUEUE_NAME": tmp_path.name.replace("[", "").replace("]", "")}


@pytest.fixture
def enqueue(queue: dict[str, str]) -> Callable[..., None]:
    """Store a job of one event per name. No processor runs that would deliver it."""
    opts = QueueOpts(url=queue["EVENTSPOOL_QUEUE"], queue_name=queue["EVENTSPOOL_QUEUE_NAME"])

    def enqueue(*names: str) -> None:
        with Client(KEY, process=False, persistence=opts) as client:
            for name in names:
                client.track("u1", name, message_id=f"id-{name}")
                assert client.flush(until="persisted", timeout=60).pending == 0

    return enqueue


@pytest.fixture
def target(plane: DataPlane) -> dict[str, str]:
    """Where to deliver, as the environment names it."""
    return {"EVENTSPOOL_WRITE_KEY": KEY, "EVENTSPOOL_DATA_PLANE_URL": plane.url}


@pytest.fixture
def failed(
    queue: dict[str, str],
    target: dict[str, str],
    plane: DataPlane,
    run: Callable[..., Done],
    enqueue: Callable[..., None],
) -> dict[str, str]:
    """A queue with two failed jobs of one event each, ``bad-0`` and ``bad-1``."""
    enqueue("bad-0", "bad-1")
    plane.script("status=404")
    done = run("worker", "--once", **target, **queue)
    assert done.status == 1, done
    plane.script()
    return queue
