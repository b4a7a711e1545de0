"""The code on the pages of docs/frameworks runs, and does what the pages say."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import eventspool
from integrations.calling import ask_asgi, ask_wsgi, living, new_environ, new_scope

PAGES = Path(__file__).parents[2] / "docs/frameworks"


def blocks_of(page):
    """Return the code of a page, block by block."""
    return re.findall(r"```python\n(.*?)```", (PAGES / page).read_text(encoding="utf-8"), re.DOTALL)


def run(code):
    """Run one block as a module of its own. Return its variables."""
    variables = {"__name__": "page"}
    exec(code, variables)
    return variables


@pytest.fixture(autouse=True)
def key(monkeypatch, no_client):
    """A write key in the environment, and no client yet."""
    monkeypatch.setenv("EVENTSPOOL_WRITE_KEY", "key")
    monkeypatch.setenv("EVENTSPOOL_DATA_PLANE_URL", "http://127.0.0.1:9")


async def live(app, *scopes):
    state = {}
    async with living(app, state):
        return [await ask_asgi(app, {**scope, "state": dict(state)}) for scope in scopes]


def test_fastapi(eventspool_capture):
    first, own_lifespan, _, starlette = blocks_of("fastapi.md")
    order = new_scope(path="/orders", method="POST", query_string=b"total=9.99")
    [(status, body)] = asyncio.run(live(run(first)["app"], order))

    event = eventspool_capture.assert_tracked("Order Completed", user_id="user-1")
    assert (status, json.loads(body)) == (200, {"event": event["messageId"]})
    assert event["context"]["ip"] == "203.0.113.9"
    for code in (own_lifespan, starlette):
        [(status, _)] = asyncio.run(live(run(code)["app"], new_scope(path="/nowhere")))
        assert status == 404


def test_an_awaited_event_of_fastapi_is_stored(monkeypatch, plane, tmp_path):
    monkeypatch.setenv("EVENTSPOOL_WRITE_KEY", plane.write_key)
    monkeypatch.setenv("EVENTSPOOL_DATA_PLANE_URL", plane.url)
    monkeypatch.setenv("EVENTSPOOL_QUEUE", f"sqlite:///{tmp_path}/queue.db")
    app = run(blocks_of("fastapi.md")[2])["app"]
    [(status, body)] = asyncio.run(live(app, new_scope(path="/payments", method="POST")))

    assert (status, json.loads(body)) == (200, {"stored": True})
    assert plane.events[0]["context"]["ip"] == "203.0.113.9"


def test_flask(eventspool_capture):
    first, pyramid = blocks_of("flask.md")
    status, body = ask_wsgi(run(first)["app"], new_environ("/orders", "POST", host="testserver"))

    event = eventspool_capture.assert_tracked("Order Completed", user_id="user-1")
    assert (status, json.loads(body)) == ("200 OK", {"event": event["messageId"]})
    assert event["context"]["ip"] == "203.0.113.9"
    assert ask_wsgi(run(pyramid)["app"], new_environ())[0] == "200 OK"
    eventspool.close(0.5)


BASE = """
import os

SECRET_KEY = "for tests"
ROOT_URLCONF = "page.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {name: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"} for name in ("default", "billing")}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "page"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
"""
URLS = """
from django.urls import path

from page import asgi, billing, views

urlpatterns = [path("orders/", views.order)]
"""


def test_django(tmp_path):
    """In a project that is made of the page's blocks, each in the file that its first line names."""
    project = tmp_path / "page"
    project.mkdir()
    files = {"__init__.py": "", "settings.py": BASE, "urls.py": URLS}
    for block in blocks_of("django.md"):
        name, _, code = block.removeprefix("# ").partition("\n")
        files[name] = files.get(name, "") + code
    for name, code in files.items():
        (project / name).write_text(code, encoding="utf-8")
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "page.settings", "PYTHONPATH": str(tmp_path)}

    def manage(*args):
        done = subprocess.run(
            [sys.executable, "-m", "django", *args],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert sorted(files) == sorted(
        ["__init__.py", "asgi.py", "billing.py", "settings.py", "tests.py", "urls.py", "views.py"]
    )
    assert "Ran 1 test" in manage("test", "page")
    assert "no issues" in manage("check")
