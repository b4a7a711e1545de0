"""A queue in which nothing was ever stored: its name may be misspelt, and no command may leave the operator in peace then."""

from __future__ import annotations

import pytest

from eventspool import Client, QueueOpts

ACTING = [
    ["retry", "--all"],
    ["purge", "--all", "--yes"],
    ["export", "out.jsonl"],
    ["erase", "--user-id", "u1", "--yes"],
    ["edit", "some-job"],
    ["pause"],
    ["resume"],
]


@pytest.fixture
def misspelt(queue, enqueue):
    """Another name on the server, or in the file, of a queue that is used."""
    enqueue("One")
    return {**queue, "EVENTSPOOL_QUEUE_NAME": "misspelt"}


@pytest.mark.parametrize("command", ACTING, ids=lambda command: command[0])
def test_a_command_that_acts_fails_and_names_the_queues_that_are(run, misspelt, command):
    done = run("queue", *command, **misspelt)
    assert done.status == 1
    assert "nothing was done: no event was ever stored in a queue 'misspelt' here" in done.err
    assert "the queues that are: " in done.err


@pytest.mark.parametrize("command", [["list"], ["list", "--state", "all", "--json"], ["trail"]])
def test_a_command_that_looks_says_so_beside_what_it_shows(run, misspelt, command):
    done = run("queue", *command, **misspelt)
    assert done.status == 0
    assert "no event was ever stored in a queue 'misspelt' here" in done.err
    assert "the queues that are: " in done.err


def test_nobody_is_warned_of_a_queue_that_is_used_and_empty(run, queue, enqueue):
    enqueue("One")
    assert run("queue", "purge", "--state", "all", "--yes", **queue).status == 0
    assert "no event was ever stored" not in run("queue", "list", **queue).err


def test_the_only_queue_may_be_paused_before_its_first_event(run, tmp_path):
    alone = {"EVENTSPOOL_QUEUE": f"sqlite:///{tmp_path}/alone.db"}
    with Client("key", process=False, persistence=QueueOpts(url=alone["EVENTSPOOL_QUEUE"])) as client:
        client.queue.stats()
    done = run("queue", "pause", **alone)
    assert done.status == 0, done
    assert "no event was ever stored" in done.err
