"""
What a power cut costs: ``python -m torture.power_cut [--fsync everysec|always] [--rounds 10] [--seed N]``.

A killed server loses nothing that it has written; a machine without power loses what was not synced. So the server is
traced, killed, and its append-only file cut back to what the last finished sync had covered: the worst that storage
which honours syncs can do. Then it is started again, and the acknowledged events that are gone are counted. Needs ``strace``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eventspool import Client, open_queue
from eventspool._redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Round", "cut_power", "synced_bytes"]

_THREADS = 4
_SECONDS = (1.2, 3.5)
_PATIENCE = 20.0
_CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(write|fdatasync|fsync)(?:\(\d+<([^>]*)>)?(.*)$")
_RESULT = re.compile(r"= (-?\d+)(?: |$)")


@dataclass(frozen=True, slots=True)
class Round:
    """
    One power cut.

    Args:
        acked: Events acknowledged before it.
        lost: Of these, gone after it.
        window: Seconds from the first lost acknowledgement to the cut; 0.0 without a loss.
        unsynced_bytes: What was cut off the append-only file.
    """

    acked: int
    lost: int
    window: float
    unsynced_bytes: int


def synced_bytes(trace: Iterable[str], path: str, before: int) -> int:
    """
    Return how long the file *path* is for certain, in bytes.

    Args:
        trace: Lines of ``strace -f -y``: writes, fsync and fdatasync.
        path: As the trace names it.
        before: Its length when the trace began, synced by then.
    """
    written = synced = before
    under_way: dict[
        str, int
    ] = {}  # by thread, calls on this file that have not returned: what was written before
    for line in trace:
        match = _CALL.match(line)
        if match is None:
            continue
        thread, call, target, rest = match.groups()
        if target == path:
            under_way[thread] = written
        result = _RESULT.search(rest)
        if result is None or thread not in under_way:
            continue
        covered, value = under_way.pop(thread), int(result[1])
        if call == "write":
            written += max(value, 0)
        elif value == 0:
            synced = max(synced, covered)
    return synced


def cut_power(fsync: str, dice: random.Random) -> Round:
    """Run one round and return what was lost."""
    with tempfile.TemporaryDirectory(prefix="power-") as folder, RedisServer(aof=fsync) as server:  # type: ignore[arg-type]
        trace = Path(folder) / "trace"
        [file] = (server.socket_path.parent / "appendonlydir").glob("*.incr.aof")
        before = file.stat().st_size
        command = ["strace", "-f", "-y", "-s", "0", "-p", str(server.pid), "-o", str(trace)]
        tracer = subprocess.Popen([*command, "-e", "trace=write,fdatasync,fsync"], stderr=subprocess.PIPE)
        assert tracer.stderr is not None
        tracer.stderr.readline()  # it says that it is attached
        acked = _produce(server.url, dice.uniform(*_SECONDS), server)
        cut = time.monotonic()
        tracer.wait(_PATIENCE)
        tracer.stderr.close()
        sure = synced_bytes(trace.read_text(errors="replace").splitlines(), str(file), before)
        unsynced = file.stat().st_size - sure
        with file.open("r+b") as opened:
            opened.truncate(sure)
        server.start()
        kept = _stored(server.url)
        lost = {message_id: moment for message_id, moment in acked.items() if message_id not in kept}
        window = cut - min(lost.values()) if lost else 0.0
        return Round(len(acked), len(lost), window, unsynced)


def _produce(url: str, seconds: float, server: RedisServer) -> dict[str, float]:
    """Track for so many seconds, then kill the server. Return when each event was acknowledged."""
    acked: dict[str, float] = {}
    over = threading.Event()
    client = Client(
        "key",
        persistence=url,
        durability="persisted",
        process=False,
        timeout=1.0,
        data_plane_url="http://127.0.0.1:9",
    )

    def run(number: int) -> None:
        count = 0
        while not over.is_set():
            count += 1
            message_id = client.track("u", "e", {"n": count}, message_id=f"{number}-{count}")
            moment = time.monotonic()
            if message_id is not None and not over.is_set():
                acked[message_id] = moment
            time.sleep(0.002)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(_THREADS)]
    for thread in threads:
        thread.start()
    over.wait(seconds)
    server.kill()
    over.set()
    for thread in threads:
        thread.join()
    client.close(timeout=0.1)
    return acked


def _stored(url: str) -> set[str]:
    deadline = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(Exception), open_queue(url) as queue:
            jobs, after = [], None
            while page := queue.jobs("waiting", limit=500, after=after):
                jobs += page
                after = page[-1].id
            return {event["messageId"] for job in jobs for event in queue.events(job.id)}
        if time.monotonic() > deadline:
            raise TimeoutError("the server does not come back")
        time.sleep(0.05)


def main() -> int:
    """Print what each round lost, and the worst. 1 when ``always`` lost anything."""
    parser = argparse.ArgumentParser(prog="power_cut", description=__doc__)
    parser.add_argument("--fsync", choices=("everysec", "always"), default="everysec")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    dice = random.Random(options.seed)
    rounds = []
    for _ in range(options.rounds):
        rounds.append(cut_power(options.fsync, dice))
        print(json.dumps(asdict(rounds[-1])), flush=True)
    lost = sum(r.lost for r in rounds)
    worst = max(r.window for r in rounds)
    print(
        f"appendfsync {options.fsync}: {len(rounds)} power cuts, {sum(r.acked for r in rounds)} acknowledged,"
    )
    print(f"{lost} lost, the oldest of them acknowledged {worst:.2f} s before the cut")
    return int(options.fsync == "always" and lost > 0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main())
