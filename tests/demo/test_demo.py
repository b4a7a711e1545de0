"""``eventspool demo`` keeps its promise, leaves nothing behind, and would notice if it did not."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from eventspool._demo import DemoError, DemoOptions, DemoResult, run_demo
from eventspool._redis_server import RedisServer

pytestmark = pytest.mark.rotating("demo", turns=3)


def start(*arguments: str, folder: Path) -> subprocess.Popen[str]:
    """Start the demo on the sample with *folder* as the place for temporary files."""
    return subprocess.Popen(
        [sys.executable, "-m", "eventspool", "demo", "--sample", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )


def check(process: subprocess.Popen[str], kills: int) -> dict:
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, out + err
    result = json.loads(out)
    assert result["ok"] is True
    assert result["accepted"] == result["delivered"] == result["total"] == 6_919
    assert result["lost"] == result["changed"] == result["failed"] == 0
    assert result["kills"] == result["kills_planned"] == kills
    assert result["statuses"]["200"] > 0
    return result


def wait_until(condition, timeout: float = 60.0):
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


@pytest.mark.rotating("whole demos")
def test_on_sqlite_nothing_is_lost(tmp_path):
    result = check(start("--json", folder=tmp_path), kills=5)

    assert result["queue"] == "sqlite"
    assert result["faults"]["outage"] >= 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.rotating("whole demos")
def test_on_a_private_redis_nothing_is_lost(tmp_path):
    assert check(start("--redis", "--kills", "2", "--json", folder=tmp_path), kills=2)["queue"] == "redis"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.rotating("whole demos")
def test_the_users_redis_is_left_as_it_was(tmp_path):
    with RedisServer() as server, redis.Redis.from_url(server.url) as client:
        client.set("mine", 1)
        check(start("--queue", server.url, "--kills", "1", "--json", folder=tmp_path), kills=1)

        assert client.keys() == [b"mine"]


@pytest.mark.rotating("whole demos")
def test_without_kills_and_for_people(tmp_path):
    process = start("--kills", "0", folder=tmp_path)
    out, err = process.communicate(timeout=200)

    assert process.returncode == 0, out + err
    assert "Nothing lost. 6,919 purchases in, 6,919 delivered, 0 kills survived." in out
    assert "6,919 purchases, 0 kills to come" in err
    assert "\x1b" not in out + err


@pytest.mark.rotating("whole demos")
def test_keep_keeps_the_queue_the_log_and_the_result(tmp_path):
    check(start("--kills", "0", "--json", "--keep", str(tmp_path / "kept"), folder=tmp_path), kills=0)

    assert {"queue.db", "child.log", "result.json"} <= {path.name for path in (tmp_path / "kept").iterdir()}
    assert json.loads((tmp_path / "kept/result.json").read_text())["ok"] is True
    again = start("--keep", str(tmp_path / "kept"), folder=tmp_path)
    assert "another folder" in again.communicate(timeout=200)[1]
    assert again.returncode == 1


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(each) for each in found.stdout.split()]


def is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("number", "status", "left"), [(signal.SIGINT, 130, 0), (signal.SIGTERM, 130, 0), (signal.SIGKILL, -9, 1)]
)
def test_no_process_is_left_behind(tmp_path, number, status, left):
    """Not even when the demo itself is killed; only its folder stays then."""
    process = start("--redis", folder=tmp_path)
    wait_until(lambda: "purchases" in process.stderr.readline())
    theirs = wait_until(lambda: len(found := children(process.pid)) == 2 and found)
    process.send_signal(number)
    _, err = process.communicate(timeout=200)

    assert process.returncode == status
    assert "Traceback" not in err
    wait_until(lambda: not any(map(is_alive, theirs)))
    if not left:
        assert list(tmp_path.iterdir()) == []


class Silent:
    def __init__(self) -> None:
        self.incidents = []

    def progress(self, progress) -> None:
        pass

    def incident(self, incident) -> None:
        self.incidents.append(incident)


def test_a_demo_that_does_not_move_is_given_up(monkeypatch):
    monkeypatch.setattr("eventspool._demo.conductor.ChildProcess", _StuckChild)
    with pytest.raises(DemoError, match=r"nothing moved for 0.5 seconds: 0 of 6,919 stored"):
        run_demo(DemoOptions(sample=True, stall_timeout=0.5), Silent())


class _StuckChild:
    exit_status = None

    def __init__(self, orders, log) -> None:
        pass

    def hear(self, timeout: float) -> None:
        time.sleep(timeout)

    def kill(self) -> bool:
        return True


def test_a_child_that_does_not_stay_alive_is_given_up_with_its_last_words(monkeypatch):
    monkeypatch.setattr("eventspool._demo.conductor._JOB_OPTS", {"nonsense": 1})
    with pytest.raises(DemoError, match=r"does not stay alive: .*nonsense"):
        run_demo(DemoOptions(sample=True), Silent())


GOOD = DemoResult(
    source="",
    queue="sqlite",
    seed=1,
    total=10,
    accepted=10,
    delivered=10,
    lost=0,
    duplicates=3,
    changed=0,
    failed=0,
    kills_planned=2,
    kills=2,
    requests=1,
    elapsed=1.0,
    events_per_second=10.0,
)


@pytest.mark.parametrize("wrong", [{"lost": 1}, {"changed": 1}, {"failed": 1}, {"kills": 1}, {"accepted": 9}])
def test_the_verdict_is_bad_for_any_broken_promise(wrong):
    assert GOOD.ok
    assert not dataclasses.replace(GOOD, **wrong).ok
