"""The modules of the faces: what the suites of the SDKs ask of theirs, and settings that would have no effect."""

from __future__ import annotations

import threading
import unittest.mock
from unittest.mock import call

import pytest

import eventspool
from e2e.harness import PATIENCE, eventually

CALLS = (
    ("track", ("user", "Event")),
    ("identify", ("user",)),
    ("group", ("user", "group")),
    ("alias", ("old", "user")),
    ("page", ("user",)),
    ("screen", ("user",)),
)


def test_settings_are_used_by_the_first_call(face, eventspool_dataplane):
    errors = []
    face.write_key, face.host = "key", eventspool_dataplane.url
    face.on_error = lambda error, events: errors.append((error, events))
    face.timeout, face.max_queue_size, face.gzip, face.upload_size = 7, 1337, True, 3
    face.upload_interval, face.max_retries, face.thread, face.send = 0.25, 4, 2, True
    assert face.default_client is None
    face.track("user", "Event")
    opts = face.default_client.client._opts
    assert (opts.write_key, opts.timeout, opts.max_internal_queue_size, opts.gzip) == ("key", 7, 1337, True)
    assert (opts.flush_at, opts.flush_interval, opts.enable) == (3, 0.25, True)
    jobs = face.default_client.client._beginning.memory_jobs
    assert (jobs.max_attempts, jobs.concurrency) == (5, 2)
    face.track("user", "x" * 5_000_000)
    face.flush()
    assert eventspool_dataplane.stats().events == 1
    eventually(lambda: errors, "on_error is told of the event that is too large")
    assert errors[0][0].reason == "too_large"


def test_without_a_host_the_first_call_raises_and_nothing_is_sent(face):
    face.write_key = "key"
    with pytest.raises(eventspool.ConfigError, match="where the data plane is: set host"):
        face.track("user", "Event")
    with pytest.raises(eventspool.ConfigError, match="where the data plane is"):
        face.Client("key")
    assert face.default_client is None


def test_the_environment_says_what_the_program_does_not(face, eventspool_dataplane, monkeypatch):
    monkeypatch.setenv("EVENTSPOOL_DATA_PLANE_URL", eventspool_dataplane.url)
    with pytest.raises(AssertionError, match="write_key must be str"):
        face.track("user", "Event")
    monkeypatch.setenv("EVENTSPOOL_WRITE_KEY", "key")
    face.track("user", "Event")
    face.flush()
    assert eventspool_dataplane.stats().events == 1


def test_a_setting_that_no_sdk_has_raises_at_the_line_that_assigns_it(face):
    with pytest.raises(eventspool.ConfigError, match=r"'hots' in .*did you mean 'host'"):
        face.hots = "https://events.example.com"
    with pytest.raises(eventspool.ConfigError, match=r"'data_plane_url' in .*: it is called 'host' here"):
        face.data_plane_url = "https://events.example.com"
    assert not hasattr(face, "hots")


@pytest.mark.parametrize("name", ["client_id", "client_key", "key_id", "auth_server", "scope"])
def test_oauth_is_refused_by_name(face, name):
    with pytest.raises(eventspool.ConfigError, match=f"'oauth_{name}' in .*write key alone"):
        setattr(face, f"oauth_{name}", "secret-value")
    with pytest.raises(eventspool.ConfigError, match=f"'oauth_{name}' in .*write key alone") as raised:
        face.Client("key", host="https://events.example.com", **{f"oauth_{name}": "secret-value"})
    assert "secret-value" not in str(raised.value)


def test_a_setting_that_comes_too_late_is_told(face, eventspool_dataplane, caplog):
    face.write_key, face.host = "key", eventspool_dataplane.url
    face.flush()
    face.host = eventspool_dataplane.url
    assert caplog.text == ""
    face.host = "https://elsewhere.example.com"
    assert f"{face.__name__}.host was assigned too late" in caplog.text


def test_without_a_default_client_the_next_call_makes_another_one(face, eventspool_dataplane):
    face.write_key, face.host = "key", eventspool_dataplane.url
    face.flush()
    first = face.default_client
    first.client.close()
    face.default_client = None
    face.flush()
    assert face.default_client is not None is not first
    assert face.default_client is not first


def test_threads_that_call_at_the_same_time_share_one_client(face, eventspool_dataplane):
    face.write_key, face.host = "key", eventspool_dataplane.url
    make, together, made = type(face._face)._options, threading.Barrier(8), []

    def wait_and_make(self):
        together.wait(PATIENCE)
        return make(self)

    with unittest.mock.patch.object(type(face._face), "_options", wait_and_make):
        threads = [
            threading.Thread(target=lambda: (face.track("user", "Event"), made.append(face.default_client)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    face.flush()
    assert len(made) == 8
    others = [each.client for each in face._face.made if each is not face.default_client]
    assert others
    for client in others:
        client.begin_unasked()  # as a client with a queue does after a second
        assert client._beginning.pipeline is None
    assert set(made) == {face.default_client}
    assert eventspool_dataplane.stats().events == 8


def test_a_test_can_replace_the_default_client_and_the_functions(face):
    client = unittest.mock.Mock()
    with unittest.mock.patch.object(face, "default_client", client):
        assert [face.flush(), face.join(), face.shutdown()] == [None] * 3
        assert client.mock_calls == [call.flush(), call.join(), call.shutdown()]
        for name, arguments in CALLS:
            getattr(face, name)(*arguments, message_id="m1")
            getattr(client, name).assert_called_once_with(*arguments, message_id="m1")
    assert face.default_client is None
    with unittest.mock.patch.object(face, "Client") as make:
        face.host = None
        face.track("user", "Event")
        assert make.call_args.kwargs["host"] is None
        make.return_value.track.assert_called_once_with("user", "Event")
        face.default_client = None
    with unittest.mock.patch.object(face, "track") as track:
        face.track("user", "Event")
    track.assert_called_once_with("user", "Event")


def test_what_the_functions_of_the_module_return(face, eventspool_dataplane):
    face.write_key, face.host = "key", eventspool_dataplane.url
    for name, arguments in CALLS:
        result = getattr(face, name)(*arguments)
        if face.__name__ == "eventspool.compat.rudder":
            assert result is None
        else:
            assert result[0] is True
            assert result[1]["type"] == name
    assert [face.flush(), face.join(), face.shutdown()] == [None] * 3
