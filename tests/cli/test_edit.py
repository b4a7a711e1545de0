"""``eventspool queue edit``: one poison event is mended and delivered under the same ``messageId``."""

from __future__ import annotations

import json
import sys

import pytest


@pytest.fixture
def job(run, failed):
    """The first failed job."""
    return run("queue", "list", "--json", **failed).json[0]["id"]


@pytest.fixture
def mended(run, failed, job):
    """Its event, without what is wrong with it."""
    [event] = run("queue", "show", job, "--json", **failed).json["payload"]
    return {**event, "event": "mended"}


@pytest.fixture
def editor(tmp_path):
    """Return a command that edits a file as the body of the function ``edit`` has it."""

    def editor(body):
        program = tmp_path / "editor.py"
        program.write_text(
            f"import pathlib, sys\npath = pathlib.Path(sys.argv[1])\ntext = path.read_text()\n{body}\n"
        )
        return f"{sys.executable} {program}"

    return editor


def test_a_mended_event_is_delivered_with_its_message_id(run, failed, job, mended, target, plane, tmp_path):
    (tmp_path / "mended.json").write_text(json.dumps(mended, indent=2))
    done = run("queue", "edit", job, "--from", "mended.json", "--json", **failed)
    assert done.json == {"edited": 1, "job": job}
    plane.script("reject=batch,event=bad-0")
    assert run("worker", "--once", **target, **failed).status == 0
    assert plane.unique_ids() == [mended["messageId"]]
    full = run("queue", "trail", "--full", **failed).out
    assert '"event":"bad-0"' in full
    assert '"event":"mended"' in full


def test_an_event_comes_from_the_standard_input(run, failed, job, mended):
    done = run("queue", "edit", job, "--from", "-", data=json.dumps(mended).encode(), **failed)
    assert (done.status, done.err) == (0, "")
    assert "back in the queue" in done.out


def test_the_editor_opens_the_event_and_what_is_saved_goes_out(run, failed, job, mended, editor):
    change = editor("path.write_text(text.replace('\"bad-0\"', '\"mended\"'))")
    assert run("queue", "edit", job, EDITOR=change, **failed).status == 0
    assert run("queue", "show", job, "--json", **failed).json["payload"] == [mended]


def test_what_is_not_saved_changes_nothing(run, failed, job, editor):
    done = run("queue", "edit", job, EDITOR=editor("pass"), **failed)
    assert (done.status, done.out) == (0, "")
    assert "nothing was changed" in done.err
    assert run("queue", "trail", "--json", **failed).json == []


def test_what_cannot_go_out_is_opened_once_more(run, failed, job, mended, editor):
    twice = editor(
        "is_wrong = 'oops' not in text\n"
        "mended = text.replace('\"bad-0\"', '\"mended\"').replace('oops', '')\n"
        "path.write_text(mended + 'oops' if is_wrong else mended)"
    )
    done = run("queue", "edit", job, EDITOR=twice, data=b"y\n", **failed)
    assert done.status == 0
    assert "is no JSON object" in done.err
    assert "once more" in done.err
    assert run("queue", "show", job, "--json", **failed).json["payload"] == [mended]


def test_an_operator_who_gives_up_leaves_the_event_as_it_is(run, failed, job, editor):
    done = run("queue", "edit", job, EDITOR=editor("path.write_text('oops')"), data=b"n\n", **failed)
    assert done.status == 1
    assert "as it was" in done.err
    assert len(run("queue", "list", "--json", **failed).json) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"messageId": "other"}, "must stay 'id-bad-0'"),
        ({"type": "tack"}, "must be one of"),
        ({"properties": {"x": "y" * 40_000}}, "more than the 32768"),
    ],
)
def test_what_cannot_go_out_is_refused_and_says_why(run, failed, job, mended, change, says):
    data = json.dumps({**mended, **change}).encode()
    done = run("queue", "edit", job, "--from", "-", data=data, **failed)
    assert done.status in (1, 2)
    assert says in done.err
    assert len(run("queue", "list", "--json", **failed).json) == 2


def test_which_event_is_meant_has_to_be_said(run, failed, job):
    for options, says in (
        (["--index", "2"], "no event 2"),
        (["--message-id", "nope"], "0 events"),
        (["--index", "1", "--message-id", "id-bad-0"], "one of them"),
        (["--from", "missing.json"], "cannot be read"),
    ):
        done = run("queue", "edit", job, *options, **failed)
        assert done.status in (1, 2)
        assert says in done.err


def test_a_job_that_has_not_failed_is_not_edited(run, failed, job, mended):
    run("queue", "retry", "--id", job, **failed)
    done = run("queue", "edit", job, "--from", "-", data=json.dumps(mended).encode(), **failed)
    assert done.status == 1
    assert "not in the failed queue" in done.err


def test_an_erasure_takes_the_events_out_of_the_trail(run, failed, job, mended):
    run("queue", "edit", job, "--from", "-", data=json.dumps(mended).encode(), **failed)
    done = run("queue", "purge", "--state", "all", "--user-id", "u1", "--yes", "--json", **failed)
    assert (done.status, done.json["erased"], done.json["edits"]) == (0, 2, 1)
    assert "1 edit in the queue's trail" in done.err
    told = run("queue", "trail", "--full", **failed).out
    assert "bad-0" not in told
    assert "mended" not in told
