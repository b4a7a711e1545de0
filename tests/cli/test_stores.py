"""A new store is its own code and one registration: all else finds it by its URL, and takes it for no other."""

from __future__ import annotations

from dataclasses import replace

import pytest

import toy_store
from eventspool import Client, ConfigError, QueueOpts, open_queue
from eventspool._backends import Store, create_backend
from eventspool._backends.stores import find_store
from eventspool._config import parse_queue_url, register_store
from eventspool.testing import DataPlane

KEY = "canary-write-key"


@pytest.fixture
def toy(monkeypatch):
    """The URL of a toy queue that is not there yet."""
    monkeypatch.setattr(toy_store, "BOXES", {})
    return "toy://box"


@pytest.fixture
def filled(toy):
    """A toy queue with one event in it."""
    with Client(KEY, persistence=toy, process=False) as client:
        client.track("u1", "Played", message_id="id-1")
        assert client.flush(until="persisted", timeout=60).pending == 0
    return toy


def test_a_client_stores_in_it_and_delivers_from_it(filled):
    with DataPlane(KEY) as plane:
        with Client(KEY, persistence=filled, data_plane_url=plane.url) as client:
            client.track("u1", "Begins the delivery", message_id="id-2")
            assert client.flush(timeout=60).pending == 0, "and what was there before it"
        assert plane.unique_ids() == ["id-1", "id-2"]


def test_the_queue_opens_and_its_commands_work(filled, run):
    with open_queue(filled) as queue:
        assert queue.stats().waiting.events == 1
    assert run("queue", "status", "--queue", filled, "--json").json["waiting"]["events"] == 1
    assert run("queue", "move", "--queue", filled, "--to", "toy://other", "--json").json["jobs"] == 1
    with open_queue("toy://other") as queue:
        assert queue.stats().waiting.events == 1


def test_it_says_itself_whether_a_queue_is_there(toy, run):
    done = run("queue", "status", "--queue", toy)
    assert (done.status, toy_store.BOXES) == (1, {})
    assert "there is no toy called box" in done.err


def test_doctor_makes_its_checks_and_asks_the_queue(toy, run):
    doctor = ("doctor", "--no-data-plane", "--interval", "0", "--json", "--queue", toy)
    found = run(*doctor).json
    assert [each["check"] for each in found["findings"]] == ["toy.missing"]
    assert (found["queue"], toy_store.BOXES) == (None, {})
    with open_queue(toy):
        pass
    found = run(*doctor).json
    assert [each["check"] for each in found["findings"]] == ["queue.missing"], "nothing was stored yet"


def test_it_is_cleared_as_every_queue_is(filled):
    queue = QueueOpts(url=filled)
    backend = create_backend(queue)
    find_store(queue).clear(backend)
    assert backend.stats().waiting.jobs == 0


def test_a_local_one_needs_no_spill_file(toy, tmp_path):
    with pytest.raises(ConfigError, match="a toy is local itself"):
        Client(KEY, persistence=toy, spill=f"sqlite:///{tmp_path}/spill.db")


def test_an_unknown_scheme_is_told_the_registered_ones():
    for url in ("mysql://user:secret@host", "secret", "://"):
        with pytest.raises(ConfigError) as caught:
            parse_queue_url(url)
        assert str(caught.value) == (
            "a queue URL begins with redis://, rediss://, unix://, valkey://, valkeys://, redis+sentinel://, "
            "rediss+sentinel://, valkey+sentinel://, valkeys+sentinel://, redis+cluster://, rediss+cluster://, "
            "valkey+cluster://, valkeys+cluster://, sqlite:/// or toy://"
        )


def test_a_scheme_belongs_to_one_kind():
    register_store(toy_store.TOY)
    with pytest.raises(ConfigError, match="redis:// is the scheme of redis already"):
        register_store(replace(toy_store.TOY, urls=("plaything://", "redis://")))
    with pytest.raises(ConfigError, match="a queue URL begins with"):
        parse_queue_url("plaything://x")


def test_a_store_that_forgets_something_fails_and_connects_nowhere(toy, monkeypatch):
    class Forgetful(Store):
        def create_backend(self, target, queue, *, observe):
            raise AssertionError("not reached")

    monkeypatch.setattr(toy_store, "ToyStore", Forgetful)
    with pytest.raises(TypeError, match="require_existing"):
        Client(KEY, persistence=toy)
