"""The story of docs/operations.md in a terminal: events flow, the data plane breaks, one fails, is retried, delivered."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
import urllib.request
from pathlib import Path

import pytest

KEY = "canary-write-key"
CODES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/operations.md"


class Terminal:
    """Runs ``eventspool ARGUMENTS`` on a terminal of its own, and reads what it shows."""

    def __init__(self, arguments, env, folder):
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "eventspool", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env,
            cwd=folder,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._raw = bytearray()
        self._read = 0
        self._grown = threading.Condition()
        self._reader = threading.Thread(target=self._listen, daemon=True)
        self._reader.start()

    def _listen(self):
        with contextlib.suppress(OSError):  # EIO: the other side has gone
            while data := os.read(self._ours, 65_536):
                with self._grown:
                    self._raw += data
                    self._grown.notify_all()
        with self._grown:
            self._grown.notify_all()

    @property
    def text(self):
        return CODES.sub(b"", bytes(self._raw)).decode(errors="replace").replace("\r", "")

    def see(self, pattern, timeout=90.0):
        """Wait until something new on the terminal matches; return the match."""
        deadline = time.monotonic() + timeout
        with self._grown:
            while (found := re.search(pattern, self.text[self._read :])) is None:
                left = deadline - time.monotonic()
                ended = self.process.poll() is not None and not self._reader.is_alive()
                assert left > 0, f"{pattern!r} was not seen in: ...{self.text[-3000:]}"
                assert not ended, f"it ended without {pattern!r}: {self.text}"
                self._grown.wait(min(left, 0.2))
            self._read += found.end()
            return found

    def look_away(self):
        """What is on the terminal up to now is not new any more."""
        with self._grown:
            self._read = len(self.text)

    def type(self, keys):
        os.write(self._ours, keys.encode())

    def end(self):
        """Wait for the end; return the exit status and all that was shown."""
        status = self.process.wait(90)
        self._reader.join(60)
        return status, self.text

    def close(self):
        self.process.kill()
        self.process.wait()
        self._reader.join(60)
        os.close(self._ours)


@pytest.fixture
def terminal(tmp_path):
    """Open a terminal with a command in it."""
    opened = []

    def terminal(*arguments, **env):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("EVENTSPOOL_")}
        clean.pop("NO_COLOR", None)
        opened.append(Terminal(arguments, {**clean, "TERM": "xterm-256color", **env}, tmp_path))
        return opened[-1]

    yield terminal
    for each in opened:
        each.close()


def script(url, rules):
    """Set the data plane's faults, as any HTTP client can."""
    request = urllib.request.Request(f"{url}/__faults", json.dumps(rules).encode(), method="POST")
    urllib.request.urlopen(request, timeout=60).close()


def count(url):
    with urllib.request.urlopen(f"{url}/__stats", timeout=60) as answer:
        return json.loads(answer.read())["unique"]


@pytest.mark.rotating
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_the_story_of_an_outage_and_a_failed_event(terminal, redis_server, tmp_path, kind):
    url = f"sqlite:///{tmp_path}/events.db" if kind == "sqlite" else redis_server.url
    plane = terminal("dataplane", "--port", "0", "--write-key", KEY)
    plane_url = plane.see(r"http://127\.0\.0\.1:\d+").group()
    env = {
        "EVENTSPOOL_QUEUE": url,
        "EVENTSPOOL_QUEUE_NAME": f"story-{kind}",
        "EVENTSPOOL_WRITE_KEY": KEY,
        "EVENTSPOOL_DATA_PLANE_URL": plane_url,
    }
    file = tmp_path / "events.jsonl"

    def send(*events):
        file.write_text("".join(f'{{"type":"track","userId":"u1","event":"{event}"}}\n' for event in events))
        status, text = terminal("send", "--enqueue-only", file.name, **env).end()
        assert status == 0, text

    # Events flow.
    send("Page Opened", "Cart Filled")
    worker = terminal("worker", **env)
    watch = terminal("queue", "status", "--watch", "--interval", "0.3", **env)
    watch.see(r"state +(delivering|idle) ")
    watch.see(r"ever +2 accepted, 2 delivered, 0 failed")

    # The data plane breaks: it shows, and what is accepted meanwhile waits.
    script(plane_url, [{"status": 503}])
    send("Sent In An Outage")
    watch.see(r"data plane down, probing")
    watch.see(r"503")
    assert "plane" in terminal("doctor", "--interval", "0", **env).end()[1]

    # It is mended, but refuses one event.
    script(plane_url, [{"reject": "events", "event": "Poison"}])
    watch.see(r"ever +3 accepted, 3 delivered")
    send("Poison")
    watch.see(r"failed +1 +1 ")

    # Read it.
    status, text = terminal("queue", "failed", **env).end()
    assert (status, "rejected" in text) == (0, True)
    status, text = terminal("queue", "list", "--json", **env).end()
    [job] = json.loads(text)
    status, text = terminal("queue", "show", job["id"], **env).end()
    assert status == 0
    assert re.search(r"1\. track Poison +u1", text)

    # Mend the data plane, retry, see it delivered.
    script(plane_url, [])
    watch.look_away()
    status, text = terminal("queue", "retry", "--id", job["id"], **env).end()
    assert (status, "retried 1 job" in text) == (0, True)
    watch.see(r"failed +0 +0 ")
    watch.see(r"ever +4 accepted, 4 delivered, 1 failed")
    assert count(plane_url) == 4

    # Done for today.
    watch.type("\x03")
    assert watch.end()[0] == 0
    worker.process.send_signal(signal.SIGTERM)
    assert worker.end()[0] == 0
    assert "▁" in watch.text
    assert KEY not in watch.text + worker.text


def test_the_document_shows_the_commands_of_the_story():
    shown = DOCUMENT.read_text()
    for command in (
        "queue status --watch",
        "queue failed",
        "queue show",
        "queue retry",
        "doctor",
        "worker",
        "dataplane",
    ):
        assert f"eventspool {command}" in shown, command
