"""Measure eventspool beside the peer, alternately, in one run. See README.md."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventspool._redis_server import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
PEER = "events-sdk-python==0.0.4"


def install_peer(folder: Path) -> str:
    """Install the peer into an environment of its own, once, and return its Python."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-qq", PEER], check=True)
    return str(python)


@contextlib.contextmanager
def sink() -> Iterator[str]:
    """Run the sink as its own process and yield its URL."""
    process = subprocess.Popen([sys.executable, HERE / "sink.py"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def run(python: str, name: str, events: int, url: str, *queue: str) -> dict[str, Any]:
    """Run one candidate and check that the sink has every event."""
    command = [python, str(HERE / "candidate.py"), name, str(events), url, *queue]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    with urllib.request.urlopen(f"{url}/count") as answer:
        found = int(answer.read()) - result.pop("warm")
    if found != events:
        sys.exit(f"{name}: {found} of {events} events arrived")
    return result


def main() -> None:
    """Compare, print a table, and exit 1 where the promised ratios are missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--events", type=int, default=100_000, help="eventspool's events a run; the peer sends a fifth"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    peer = install_peer(HERE.parent / ".venv-bench-peer")
    results: dict[str, list[dict[str, Any]]] = {}
    with sink() as url, RedisServer(aof="everysec") as server, tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            candidates = {
                "events-sdk-python, memory": (peer, "peer", options.events // 5, url),
                "eventspool, memory": (sys.executable, "eventspool", options.events, url),
                "eventspool, SQLite": (
                    sys.executable,
                    "eventspool",
                    options.events,
                    url,
                    f"sqlite:///{folder}/{number}.db",
                ),
                "eventspool, Redis": (sys.executable, "eventspool", options.events, url, server.url),
            }
            for label, arguments in candidates.items():
                results.setdefault(label, []).append(run(*arguments))
                print(f"round {number + 1} of {options.rounds}: {label}", file=sys.stderr)
    table = {
        label: {key: statistics.median(r[key] for r in rounds) for key in rounds[0]}
        for label, rounds in results.items()
    }
    base = table["events-sdk-python, memory"]
    if options.json:
        print(json.dumps(table, indent=2))
    else:
        print(f"{'median of ' + str(options.rounds):28}{'events/s':>18}{'track() p50':>20}{'CPU s/100k':>12}")
        for label, row in table.items():
            rate, cost = row["events_per_second"], row["track_p50_us"]
            print(
                f"{label:28}{rate:>9,.0f} ({rate / base['events_per_second']:4.1f}x)"
                f"{cost:>10.1f} µs (1/{base['track_p50_us'] / cost:4.1f}){row['cpu_seconds_per_100k']:>12.2f}"
            )
    redis = table["eventspool, Redis"]
    if (
        redis["events_per_second"] < 5 * base["events_per_second"]
        or 5 * redis["track_p50_us"] > base["track_p50_us"]
    ):
        sys.exit("missed: five times the events, or a fifth of the cost, of the peer")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    main()
