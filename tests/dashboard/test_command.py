"""``eventspool dashboard`` as it is started."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from dashboard.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started = []

    def start(*arguments: str, **env: str) -> subprocess.Popen[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("EVENTSPOOL_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "eventspool", "dashboard", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env={**clean, **env},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def stored(enqueue, opts) -> str:
    """The URL of a queue that is there."""
    enqueue([("A", {})])
    return str(opts.url)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_prints_an_address_that_opens_the_page_and_ends_at_a_signal(start, stored, number, status):
    process = start("--queue", stored, "--port", "0")
    url = process.stdout.readline().strip()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", url)
    with browser.open(url, timeout=60) as page:
        assert (page.status, page.url) == (200, url.partition("?")[0])
    with browser.open(page.url + "api/overview", timeout=60) as answer:
        assert b'"waiting":{"jobs":1,"events":1' in answer.read()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert out == ""
    assert err.strip() == "Ctrl-C ends it."


def test_it_starts_before_the_first_event_and_shows_an_empty_queue_and_then_the_event(
    start, enqueue, opts, tmp_path
):
    process = start("--queue", str(opts.url), "--port", "0", "--json")
    said = json.loads(process.stdout.readline())
    site = Site(urlsplit(said["url"]).port, {"Authorization": f"Bearer {said['token']}"})
    seen = site.get("/api/overview").json

    assert f"there is no queue at {tmp_path}/queue.db" in process.stderr.readline()
    assert seen["verdict"]["title"] == "The queue is empty"
    assert seen["stats"]["waiting"] == {"jobs": 0, "events": 0, "bytes": 0}
    assert site.get("/api/jobs?state=failed").json["jobs"] == []
    refused = site.post("/api/pause", {}, Origin=f"http://127.0.0.1:{site.port}")
    assert (refused.status, "there is no queue" in refused.text) == (409, True)
    assert list(tmp_path.glob("*.db*")) == [], "to look makes nothing"
    enqueue([("A", {})])
    deadline = time.monotonic() + 60
    while site.get("/api/overview").json["stats"]["waiting"]["events"] != 1:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_token_may_come_from_the_environment_and_must_be_long(start, stored):
    token = "from-the-environment-1"
    process = start("--queue", stored, "--port", "0", EVENTSPOOL_DASHBOARD_TOKEN=token)
    assert process.stdout.readline().strip().endswith(f"/?token={token}")

    short = start("--queue", stored, "--token", "1234")
    assert short.wait(60) == 2
    assert "token must be at least 16" in short.stderr.read()


def test_programs_get_the_address_and_the_token_as_one_line_of_json(start, stored):
    process = start("--queue", stored, "--port", "0", "--json")
    said = json.loads(process.stdout.readline())
    request = urllib.request.Request(
        said["url"].partition("?")[0] + "api/overview", headers={"Authorization": f"Bearer {said['token']}"}
    )

    assert said.keys() == {"schema", "url", "token"}
    assert said["url"].endswith(f"/?token={said['token']}")
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[0] == ""


def test_every_setting_may_come_from_the_environment(start, stored, plane):
    process = start(
        "--json",
        EVENTSPOOL_QUEUE=stored,
        EVENTSPOOL_DASHBOARD_HOST="0.0.0.0",  # where any address is answered
        EVENTSPOOL_DASHBOARD_PORT="0",
        EVENTSPOOL_DASHBOARD_READ_ONLY="1",
        EVENTSPOOL_DASHBOARD_ALLOW_HOST="ops.example.com queue.example.com",
        EVENTSPOOL_DASHBOARD_DATAPLANE=plane.url,
    )
    said = json.loads(process.stdout.readline())
    port = urlsplit(said["url"]).port
    site = Site(port, {"Authorization": f"Bearer {said['token']}"})
    seen = site.get("/api/overview", Host="queue.example.com").json

    assert (seen["read_only"], seen["dataplane"]) == (True, plane.url)
    assert said["url"].startswith(f"http://0.0.0.0:{port}/")
    assert port != 8124
    assert site.get("/api/overview", Host="ops.example.com").status == 200
    assert site.get("/api/overview", Host="other.example.com").status == 403


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "--queue"),
        (["--dataplane", "http://example.com"], 2, "dataplane must be"),
        (["--host", "192.0.2.1"], 1, "cannot listen on 192.0.2.1:8124"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(start, stored, arguments, status, message):
    queue = ["--queue", stored] if arguments and "--queue" not in arguments else []
    process = start(*queue, *arguments)
    _, err = process.communicate(timeout=60)

    assert process.returncode == status
    assert message in err
    assert "Traceback" not in err


def test_without_its_packages_it_says_how_to_get_them(tmp_path, stored, start):
    """``sitecustomize`` hides Starlette, as an installation without the extra would."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['starlette'] = None\n")
    process = start("--queue", stored, PYTHONPATH=str(tmp_path))
    _, err = process.communicate(timeout=60)

    assert process.returncode == 1
    assert "pip install 'eventspool[dashboard]'" in err


def test_others_are_let_in_with_a_warning(start, stored):
    process = start("--queue", stored, "--port", "0", "--host", "0.0.0.0", "--read-only")
    port = re.search(r":(\d+)/", process.stdout.readline()).group(1)

    assert int(port)
    assert "Other machines can reach this, unencrypted" in process.stderr.readline()
