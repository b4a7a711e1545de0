"""With --json the standard output is JSON or nothing, whatever is in the queue and whatever happens."""

from __future__ import annotations

import json
import signal
import socket

import click
import pytest
import redis

from documents import SCHEMAS, require_valid
from eventspool import QueueOpts
from eventspool._backends import create_backend
from eventspool._cli.app import cli
from eventspool._cli.kinds import Kind
from eventspool._contract.tools import claim_soon, fail
from eventspool._envelope import seal
from eventspool._job import NewJob, new_job_id

ODD_ID = "\x1b[31m\u202e\n'\"\\\x9b"
FOREIGN_ID = b"\xff\x80\x1b[31m"
"""An id that is no text at all. Redis keeps it, and another program may have put it there."""
ODD_EVENTS = [
    b'{"type":"track","event":"\\u001b[31m \\ud800 \\u202e","userId":"u1","properties":{"n":NaN,"m":[Infinity,-Infinity]}}',
    b'{"type":"track","event":"E","userId":"u1","properties":{"i":%s,"f":1e999,"\\udfff":"\xc2\x9b31m"}}'
    % (b"6" * 5000),
    b'{"type":["odd"],"event":{"a":1},"userId":null,"timestamp":0}',
]
TOO_DEEP = b'{"a":' * 3000 + b"1" + b"}" * 3000


def strictly(text: str) -> object:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse, parse_int=str, parse_float=str)


def readable(text: str) -> object:
    """Read *text* as most programs do; it may have integers that are too long for Python."""
    strictly(text)
    return json.loads(text, parse_int=lambda digits: int(digits[:20]))


def documents(out: str) -> list[object]:
    """Return what a program reads: one document, or one a line. Each must be as its schema says."""
    try:
        found = [readable(out)]
    except json.JSONDecodeError:
        found = list(map(readable, out.splitlines()))
    for each in found:
        require_valid(each)
    return found


def with_json(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        names = command.list_commands(context)
        return [
            found for name in names for found in with_json(command.get_command(context, name), (*path, name))
        ]
    return [path] if any("--json" in option.opts for option in command.params) else []


LASTING = {
    ("worker",),
    ("dev",),
    ("health",),
    ("dataplane",),
    ("dashboard",),
    ("queue", "tail"),
    ("queue", "import-bull"),
    ("demo",),
    ("completion",),
    ("capacity",),
    ("schema",),
    ("queue", "edit"),
    ("dashboard", "token", "add"),
    ("dashboard", "token", "list"),
    ("dashboard", "token", "revoke"),
}
"""Those that do not end by themselves, or take no queue; they have tests of their own, some below."""
ARGUMENTS = {
    ("send",): ("-",),
    ("queue", "show"): (ODD_ID,),
    ("queue", "export"): ("out.jsonl", "--force", "--state", "all"),
    ("queue", "purge"): ("--dry-run",),
    ("queue", "erase"): ("--dry-run", "--user-id", "u1"),
    ("queue", "retry"): ("--dry-run",),
    ("queue", "move"): ("--dry-run", "--to", "sqlite:///other.db"),
    ("queue", "pause"): (),
    ("queue", "resize"): ("1",),
}


@pytest.fixture
def odd(queue):
    """A queue with failed jobs that no version of eventspool makes."""
    opts = QueueOpts(url=queue["EVENTSPOOL_QUEUE"], queue_name=queue["EVENTSPOOL_QUEUE_NAME"])
    backend = create_backend(opts)
    backend.open()
    jobs = [
        NewJob(ODD_ID, seal(ODD_EVENTS), len(ODD_EVENTS)),
        NewJob(new_job_id(), seal([TOO_DEEP, ODD_EVENTS[0]]), 2),
        NewJob(new_job_id(), b"no envelope", 1),
    ]
    backend.commit(jobs)
    claim_soon(backend, "t", limit=3)
    backend.settle("t", [fail(job.id, reason="re\x1b[31m\x9b", events=job.events) for job in jobs])
    backend.close()
    if not opts.url.startswith("sqlite"):
        with redis.Redis.from_url(opts.url) as server:
            server.zadd(f"hightouch:{{{opts.queue_name}:0}}:q", {FOREIGN_ID: 1})
    return queue


COMMANDS = [path for path in with_json(cli) if path not in LASTING]


def test_all_commands_are_walked_through():
    assert {("send",), ("doctor",), ("queue", "status"), ("queue", "failed"), *ARGUMENTS} <= set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_queue_of_odd_jobs_is_shown_as_json(run, odd, target, path):
    done = run(*path, *ARGUMENTS.get(path, ()), "--json", **odd, **target)
    assert done.status in (0, 1), done
    assert len(documents(done.out)) == 1, done
    assert "\x1b" not in done.out + done.err
    assert "bug in eventspool" not in done.err


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_a_queue_that_is_empty_is_shown_as_json(run, queue, enqueue, target, path):
    enqueue("once")
    assert run("queue", "purge", "--state", "waiting", "--yes", **queue).status == 0
    done = run(*path, *ARGUMENTS.get(path, ()), "--json", **queue, **target)
    assert done.status in (0, 1), done
    assert len(documents(done.out)) == 1, done
    assert "bug in eventspool" not in done.err


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(
    "url", ["redis://127.0.0.1:{port}/0", "sqlite:////dev/null/no.db", "sqlite:///missing.db", "nonsense://"]
)
def test_a_queue_that_is_not_there_is_told_on_the_standard_error(run, target, path, url):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = run(*path, *ARGUMENTS.get(path, ()), "--json", EVENTSPOOL_QUEUE=url.format(port=port), **target)
    assert "bug in eventspool" not in done.err
    assert "Traceback" not in done.err
    [told] = documents(done.out)
    if done.status and path != ("doctor",):
        error = told.get("error") or told["command_error"]
        assert error["code"] in ("config", "queue", "queue_unavailable"), error
        assert error["message"] in " ".join(done.err.split()), done


def test_the_odd_events_are_shown_as_they_are(run, odd):
    done = run("queue", "show", ODD_ID, "--json", **odd)
    shown = strictly(done.out)
    first, second, third = shown["payload"]
    assert shown["id"] == ODD_ID
    assert first["properties"] == {"n": None, "m": [None, None]}
    assert second["properties"] == {"i": "6" * 5000, "f": "1E+999", "\udfff": "\x9b31m"}
    assert third["event"] == {"a": "1"}


@pytest.mark.parametrize("queue", ["redis"], indirect=True)
def test_a_job_whose_id_is_no_text_is_listed_and_purged_by_it(run, odd):
    listed = run("queue", "list", "--state", "waiting", "--json", **odd).json
    [job_id] = [job["id"] for job in listed]
    assert job_id.encode("utf-8", "surrogateescape") == FOREIGN_ID
    for command in (
        ("show", job_id),
        ("export", "--state", "all", "--id", job_id, "out.jsonl"),
        ("retry", "--id", job_id),
    ):
        done = run("queue", *command, "--json", **odd)
        assert "bug in eventspool" not in done.err
        assert documents(done.out)
    done = run("queue", "purge", "--state", "waiting", "--id", job_id, "--yes", "--json", **odd)
    assert (done.status, done.json["purged"]) == (0, 1), done
    assert run("queue", "list", "--state", "waiting", "--json", **odd).json == []


@pytest.mark.parametrize("command", ["show", "retry", "purge", "export"])
def test_a_job_is_found_by_the_id_that_is_shown(run, odd, command):
    arguments = {
        "show": (ODD_ID,),
        "retry": ("--id", ODD_ID),
        "purge": ("--id", ODD_ID, "--yes"),
        "export": ("--id", ODD_ID, "out.jsonl"),
    }[command]
    done = run("queue", command, *arguments, "--json", **odd)
    assert done.status == 0, done
    assert documents(done.out)


@pytest.mark.parametrize("odd_id", ["\udc80", "\x00", "a\nb", "x" * 5000, ""])
@pytest.mark.parametrize("command", ["show", "retry", "purge", "export"])
def test_an_id_that_is_none_is_told_in_a_sentence(run, failed, odd_id, command):
    arguments = {
        "show": (odd_id,),
        "retry": ("--id", odd_id),
        "purge": ("--id", odd_id, "--yes"),
        "export": ("--id", odd_id, "out.jsonl"),
    }[command]
    done = run("queue", command, *arguments, "--json", **failed)
    assert done.status in (0, 1, 2), done
    assert "bug in eventspool" not in done.err
    assert documents(done.out)


def test_following_a_queue_prints_one_document_a_line(start, odd):
    following = start("queue", "tail", "--events", "--json", env=odd)
    lines = [following.stdout.readline() for _ in range(3)]
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=60)
    assert {strictly(line)["id"] for line in lines} >= {ODD_ID}
    assert [strictly(line)["payload"] is None for line in lines].count(True) == 2


def test_a_reader_that_has_enough_is_no_bug(start, odd):
    following = start("queue", "tail", "--events", "--json", env=odd)
    following.stdout.readline()
    following.stdout.close()
    assert following.wait(timeout=60) == 141
    assert "bug" not in following.stderr.read()


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("queue", "lst"), 2, "usage"),
        (("queue", "list", "--limit", "x"), 2, "usage"),
        (("queue", "list", "--queue", "nonsense://"), 2, "config"),
        (("queue", "list", "--queue", "sqlite:///missing.db"), 1, "queue"),
        (("queue", "list", "--queue", "redis://127.0.0.1:1"), 1, "queue_unavailable"),
        (("dataplane", "--host", "203.0.113.1"), 1, "failed"),
        (("send", "missing.jsonl"), 2, "usage"),
    ],
)
def test_a_failure_is_one_document_with_a_word_for_programs(run, arguments, status, code):
    done = run(*arguments, "--json")
    assert (done.status, done.json["error"]["code"]) == (status, code), done
    assert done.err.startswith("error: ")
    assert run(*arguments).out == ""


def test_what_comes_after_a_double_dash_asks_for_no_json(run):
    assert run("send", "--", "--json").out == ""


def test_a_command_that_fails_after_its_document_prints_both_as_one(run, failed):
    done = run("queue", "retry", "--id", "other", "--json", **failed)
    assert (done.status, done.json["retried"]) == (1, 0), done
    assert done.json["command_error"]["message"] in done.err


def test_times_are_as_rfc_3339_says(run, failed, monkeypatch):
    [job, _] = run("queue", "list", "--json", **failed).json
    assert job["next_attempt_at"] is None
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    shown = run("queue", "show", job["id"], **failed).out
    assert job["created_at"] in shown
    assert job["failed_at"] in shown


def test_each_kind_has_a_schema_and_each_schema_is_a_kind_or_a_part_of_one():
    names = {each.value.partition("/")[0]: each.value for each in Kind}
    schemas = {file.stem: json.loads(file.read_text("utf-8")) for file in SCHEMAS.glob("*.json")}
    labels = {name: schema["properties"].get("schema") for name, schema in schemas.items()}
    assert {name: label["const"] for name, label in labels.items() if label} == names
    text = json.dumps(schemas)
    for name in schemas.keys() - names.keys():
        assert f'"$ref": "{name}.json"' in text


@pytest.mark.parametrize("kind", [each.value.partition("/")[0] for each in Kind])
def test_a_printed_schema_is_one_and_whole(run, kind):
    schema = json.loads(run("schema", kind).out)
    validators = pytest.importorskip("jsonschema").validators
    validator = validators.validator_for(schema)
    validator.check_schema(schema)
    example = {"schema": schema["properties"]["schema"]["const"]}
    problems = [each.message for each in validator(schema).iter_errors(example)]
    assert all("required" in each for each in problems)


def test_the_schemas_are_listed(run):
    assert {each["kind"] for each in run("schema", "--json").json} == set(Kind)
    assert "job/1" in run("schema").out
