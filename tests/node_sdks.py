"""
The real Node SDKs that keep events in a queue of Bull's, and that queue as a test sees it.

``python tests/node_sdks.py`` installs their packages (``tests/cli/bull_node``). A test that needs them does so, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

FOLDER = Path(__file__).parent / "cli" / "bull_node"
RECORDED = FOLDER / "recorded"
"""Jobs as the SDKs have stored them, one file for each SDK: see ``record.py`` there."""
WRITE_KEY = "canary-write-key"
LOCKS = "*:lock"


def install(folder: Path = FOLDER) -> None:
    """Install the packages of *folder* where they are not there already. Processes that begin together wait for one."""
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    stamp = folder / "node_modules" / ".installed"
    with (folder / ".installing").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        try:
            done = subprocess.run(
                ["npm", "ci"], cwd=folder, capture_output=True, text=True, timeout=300, check=False
            )
        except FileNotFoundError:
            raise AssertionError(
                "tests need Node.js and npm; on Debian: apt-get install nodejs npm"
            ) from None
        assert done.returncode == 0, done.stderr
        stamp.write_text(wanted)


@contextlib.contextmanager
def application(bull: Bull, *, sdk: str = "rudder-2", **settings: Any) -> Iterator[list[dict[str, Any]]]:
    """Run a Node application (``sdk.js``) while the block lasts; yield the events that it has stored, as it sends them."""
    install()
    given = {
        "sdk": sdk,
        "redis": {"path": bull.client.connection_pool.connection_kwargs["path"]},
        "writeKey": WRITE_KEY,
        "queueName": bull.name,
        "prefix": bull.prefix,
        "url": "http://127.0.0.1:9",
        "batches": 1,
        "until": "stored",
        **settings,
    }
    process = subprocess.Popen(
        ["node", "sdk.js", json.dumps(given)],
        cwd=FOLDER,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield json.loads(line)
    finally:
        process.kill()
        process.communicate()


def store(bull: Bull, **settings: Any) -> list[dict[str, Any]]:
    """Have a Node application store batches, and be killed. Return the events, as the SDK would send them."""
    with application(bull, **settings) as events:
        return events


class Bull:
    """A queue of Bull's."""

    def __init__(self, client: redis.Redis, name: str, prefix: str = "hightouch") -> None:
        self.client = client
        self.name = name
        self.prefix = prefix
        self.base = f"{{{prefix}}}:{name}:"

    def ids(self, place: str) -> list[str]:
        """Return the ids of the jobs of a place, those of a list from the newest to the next one."""
        key = self.base + place
        is_list = place in ("wait", "active", "paused")
        found = self.client.lrange(key, 0, -1) if is_list else self.client.zrange(key, 0, -1)
        return [each.decode() for each in found]

    def places(self) -> dict[str, int]:
        """Return how many jobs are where, without the places that have none."""
        counts = {
            place: len(self.ids(place))
            for place in ("wait", "active", "paused", "delayed", "failed", "completed")
        }
        return {place: count for place, count in counts.items() if count}

    def jobs(self) -> set[str]:
        """Return the ids of all jobs that have data."""
        keys = self.client.scan_iter(match=self.base + "*", count=1000)
        return {key.decode().removeprefix(self.base) for key in keys if self.client.type(key) == b"hash"}

    def data(self, job_id: str) -> bytes:
        """Return the data of a job."""
        return self.client.hget(self.base + job_id, "data")

    def add(self, data: str | bytes, job_id: str, place: str = "wait") -> None:
        """Add a job as Bull does."""
        self.client.incr(self.base + "id")
        self.client.hset(
            self.base + job_id, mapping={"name": "__default__", "data": data, "opts": "{}", "timestamp": 1}
        )
        self.client.lpush(self.base + place, job_id)

    def end_locks(self) -> None:
        """Let the locks of processes that have died end at once, and not after half a minute."""
        for job_id in self.ids("active"):
            self.client.delete(f"{self.base}{job_id}:lock")

    def end_holds(self) -> None:
        """Make all that is delayed due at once."""
        for job_id in self.ids("delayed"):
            self.client.zadd(self.base + "delayed", {job_id: 1})

    def snapshot(self) -> list[tuple[str, Any]]:
        """Return the keys, without what they begin with, and what they hold."""
        return [
            (key.decode().removeprefix(self.base), self._value(key))
            for key in self.client.keys("*")
            if key.startswith(self.base.encode())
        ]

    def _value(self, key: bytes) -> Any:
        match self.client.type(key):
            case b"string":
                return self.client.get(key)
            case b"hash":
                return self.client.hgetall(key)
            case b"list":
                return self.client.lrange(key, 0, -1)
            case b"zset":
                return dict(self.client.zrange(key, 0, -1, withscores=True))
            case b"set":
                return self.client.smembers(key)
        raise AssertionError(key)

    def restore(self, snapshot: list[tuple[str, Any]]) -> None:
        """Store what ``snapshot`` has returned of another queue."""
        for suffix, value in snapshot:
            key = self.base + suffix
            match value:
                case bytes():
                    self.client.set(key, value)
                case dict() if suffix in ("delayed", "failed", "completed", "priority"):
                    self.client.zadd(key, value)
                case dict():
                    self.client.hset(key, mapping=value)
                case list():
                    self.client.rpush(key, *value)
                case set():
                    self.client.sadd(key, *value)


if __name__ == "__main__":
    install()
