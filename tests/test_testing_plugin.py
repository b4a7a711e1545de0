"""The pytest plugin, as the users of eventspool meet it: in a pytest run of their own."""

from __future__ import annotations

import base64
import http.client
import subprocess
import sys
import threading
import urllib.parse

import pytest

from eventspool import Client, ConfigError
from eventspool import testing as plugin
from eventspool.testing import Capture, DataPlane, capture_events
from lasting_threads import lasting_threads


def run(*command, cwd):
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_fixtures_work_in_a_users_project(tmp_path):
    """Installed means available: no conftest, no import, no option."""
    (tmp_path / "test_shop.py").write_text(
        """
from eventspool import Client

client = Client("WRITE_KEY", data_plane_url="http://127.0.0.1:9")

def test_captured(eventspool_capture):
    client.track("u1", "Order Completed", {"total": 10})
    eventspool_capture.assert_tracked("Order Completed", user_id="u1", properties_contains={"total": 10})

def test_empty_again(eventspool_capture):
    assert eventspool_capture == []

def test_delivered(eventspool_dataplane):
    eventspool_dataplane.script("status=503,next=1")
    with Client(eventspool_dataplane.write_key, data_plane_url=eventspool_dataplane.url) as sender:
        message_id = sender.track("u1", "Order Completed")
        sender.flush(timeout=60)
    assert eventspool_dataplane.received(message_id) == 1
    assert eventspool_dataplane.stats().statuses == {"503": 1, "200": 1}
"""
    )
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


def test_the_fixtures_are_listed_with_what_they_do(tmp_path):
    done = run("-m", "pytest", "--fixtures", "-q", "-p", "no:cacheprovider", cwd=tmp_path)

    assert "eventspool_capture" in done.stdout
    assert "eventspool_dataplane" in done.stdout


def test_loading_the_plugin_loads_nothing_that_was_not_asked_for(tmp_path):
    """Every pytest run of the environment pays for this import."""
    script = (
        "import sys, pytest, eventspool; before = set(sys.modules); import eventspool.testing;"
        "print(*sorted(set(sys.modules) - before))"
    )
    loaded = run("-c", script, cwd=tmp_path).stdout.split()

    assert {name for name in loaded if name.startswith("eventspool")} == {"eventspool.testing"}
    assert {"http.client", "urllib3", "redis", "ssl", "sqlite3"}.isdisjoint(loaded)


def test_everything_but_the_fixtures_works_without_pytest(tmp_path):
    script = (
        "import sys; sys.modules['pytest'] = None\n"
        "from eventspool.testing import DataPlane, capture_events\n"
        "with DataPlane() as plane: print(plane.stats().requests)"
    )
    done = run("-c", script, cwd=tmp_path)

    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_the_lazy_names_are_there_and_no_others():
    from eventspool._contract.suite import QueueContract
    from eventspool._dataplane import Rule

    assert plugin.QueueContract is QueueContract
    assert plugin.Rule is Rule
    assert all(hasattr(plugin, name) for name in plugin.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = plugin.Nothing


@pytest.fixture
def client():
    """A client that would be noticed if it sent anything: nobody listens at its data plane."""
    with Client("WRITE_KEY", data_plane_url="http://127.0.0.1:9") as client:
        yield client


def test_captured_events_are_complete_and_in_order(client, eventspool_capture):
    first = client.identify("u1", {"plan": "free"})
    second = client.track("u1", "Signed Up")

    assert [each["messageId"] for each in eventspool_capture] == [first, second]
    assert eventspool_capture[0]["traits"] == {"plan": "free"}
    assert eventspool_capture.events == list(eventspool_capture)
    eventspool_capture.clear()
    assert eventspool_capture.events == []


def test_nothing_captured_is_sent(client, eventspool_capture):
    before = lasting_threads()
    client.track("u1", "Signed Up")

    assert len(eventspool_capture) == 1
    assert client.stats().buffered == 0
    assert lasting_threads() <= before


def test_a_refused_event_is_not_captured(client, eventspool_capture):
    assert client.track(None, "Signed Up") is None
    assert eventspool_capture == []


def test_captures_nest_and_end(client):
    with capture_events() as outer:
        with capture_events() as inner:
            client.track("u1", "Inner")
        client.track("u1", "Outer")

    assert [each["event"] for each in inner] == ["Inner"]
    assert [each["event"] for each in outer] == ["Outer"]


def test_events_of_all_threads_are_captured(client, eventspool_capture):
    threads = [threading.Thread(target=client.track, args=("u1", f"Event {i}")) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {each["event"] for each in eventspool_capture} == {f"Event {i}" for i in range(8)}


def test_assert_tracked_returns_the_first_event_that_fits(client, eventspool_capture):
    client.track("u1", "Order", {"total": 10, "currency": "EUR"})
    client.track("u2", "Order", {"total": 10})
    client.track(None, "Order", {"total": 20}, anonymous_id="a1")
    capture = eventspool_capture

    assert capture.assert_tracked("Order")["userId"] == "u1"
    assert capture.assert_tracked("Order", user_id="u2") is capture[1]
    assert capture.assert_tracked("Order", properties_contains={"total": 20}) is capture[2]
    assert capture.assert_tracked("Order", anonymous_id="a1") is capture[2]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"event": "Oder"}, "'Oder' was not tracked; tracked: 'Order'"),
        ({"event": "Order", "user_id": "u9"}, "userId is 'u1', not 'u9'"),
        ({"event": "Order", "anonymous_id": "a"}, "anonymousId is missing"),
        ({"event": "Order", "properties_contains": {"total": 11}}, "properties.total is 10, not 11"),
        ({"event": "Order", "properties_contains": {"tax": 1}}, "properties.tax is missing"),
        ({"event": "Order", "properties_contains": {"tax": None}}, "properties.tax is missing"),
    ],
)
def test_assert_tracked_says_what_came_closest(client, eventspool_capture, wanted, message):
    client.track("u1", "Order", {"total": 10})
    client.identify("u1", {"event": "Oder"})

    with pytest.raises(AssertionError) as caught:
        eventspool_capture.assert_tracked(**wanted)
    assert message in str(caught.value)


def test_assert_tracked_says_when_nothing_was_tracked():
    with pytest.raises(AssertionError, match="tracked: nothing"):
        Capture().assert_tracked("Order")


def test_the_data_plane_fixture_is_started_and_accepts_its_own_key(eventspool_dataplane):
    assert isinstance(eventspool_dataplane, DataPlane)
    assert eventspool_dataplane.url.startswith("http://127.0.0.1:")
    with pytest.raises(ConfigError):
        eventspool_dataplane.script("stauts=503")


def test_the_data_plane_fixture_takes_any_write_key_but_not_none(eventspool_dataplane):
    """A test's code has its own write key, and the fixture cannot know it."""
    url = urllib.parse.urlsplit(eventspool_dataplane.url)
    answers = []
    for login in (b"whatever:", b":"):
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
        headers = {
            "Authorization": "Basic " + base64.b64encode(login).decode(),
            "Content-Type": "application/json",
        }
        connection.request(
            "POST", "/v1/batch", b'{"batch": [], "sentAt": "2026-11-23T17:26:00.123Z"}', headers
        )
        answers.append(connection.getresponse().status)
        connection.close()

    assert answers[1] == 401
    assert answers[0] != 401
