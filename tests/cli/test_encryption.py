"""``EVENTSPOOL_ENCRYPTION_KEY``: the commands write and read an encrypted queue, and never say the key."""

from __future__ import annotations

import base64
import json
import os

import pytest

LINE = json.dumps({"type": "track", "userId": "u1", "event": "Canary", "messageId": "m1"}).encode()


def new_key():
    return base64.b64encode(os.urandom(32)).decode()


@pytest.fixture
def key():
    return new_key()


@pytest.fixture
def encrypted(run, queue, key):
    """A queue with one encrypted event."""
    done = run("send", "-", "--enqueue-only", data=LINE, EVENTSPOOL_ENCRYPTION_KEY=key, **queue)
    assert done.status == 0, done
    return queue


def job_of(run, queue, **env):
    [job] = run("queue", "list", "--state", "waiting", "--json", **queue, **env).json
    return job["id"]


def test_an_operator_reads_events_with_the_key_and_counts_them_without(run, encrypted, key):
    job_id = job_of(run, encrypted)
    readable = run("queue", "show", job_id, "--json", EVENTSPOOL_ENCRYPTION_KEY=key, **encrypted)
    assert readable.json["payload"][0]["event"] == "Canary"
    for env in ({}, {"EVENTSPOOL_ENCRYPTION_KEY": new_key()}):
        done = run("queue", "show", job_id, "--json", **encrypted, **env)
        assert done.json["payload"] is None
        assert "no key given here opens it" in done.json["payload_error"]
        assert "Canary" not in done.out + done.err
        assert run("queue", "status", "--json", **encrypted, **env).json["waiting"]["events"] == 1


def test_a_worker_delivers_with_an_old_key_behind_the_new_one(run, encrypted, key, target, plane):
    keys = f"{new_key()},{key}"
    done = run("worker", "--once", EVENTSPOOL_ENCRYPTION_KEY=keys, **target, **encrypted)
    assert done.status == 0, done
    assert plane.unique_ids() == ["m1"]
    assert key not in done.out + done.err


def test_a_wrong_key_is_an_error_that_does_not_repeat_it(run, encrypted, target):
    wrong = new_key()[:-4]
    for command in (("queue", "status"), ("worker", "--once"), ("send", "-", "--enqueue-only")):
        done = run(*command, EVENTSPOOL_ENCRYPTION_KEY=wrong, **target, **encrypted)
        assert done.status != 0
        assert "openssl rand -base64 32" in done.err
        assert wrong not in done.out + done.err


def test_no_help_text_shows_a_key(run, key):
    for command in (("queue", "status"), ("worker",), ("send",)):
        assert key not in run(*command, "--help", EVENTSPOOL_ENCRYPTION_KEY=key).out


def test_an_export_without_the_key_fails_and_neither_writes_nor_purges(run, encrypted, key, tmp_path):
    arguments = ["export", "out.jsonl", "--state", "waiting", "--purge", "--yes"]
    done = run("queue", *arguments, **encrypted)
    assert (done.status, "EVENTSPOOL_ENCRYPTION_KEY" in done.err) == (1, True), done
    assert not (tmp_path / "out.jsonl").exists()

    assert run("queue", *arguments, **encrypted, EVENTSPOOL_ENCRYPTION_KEY=key).status == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1
    assert run("queue", "list", "--state", "waiting", "--json", **encrypted).json == []
