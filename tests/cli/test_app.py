"""What holds for every command: help, exit statuses, errors that help, no colour for programs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from eventspool import __version__
from eventspool._cli.app import cli

COMMANDS = ["demo", "send", "worker", "queue", "dataplane", "doctor", "capacity", "completion", "health"]
QUEUE_COMMANDS = [
    "status",
    "list",
    "show",
    "tail",
    "failed",
    "retry",
    "purge",
    "export",
    "pause",
    "resume",
    "move",
]
EVERYTHING = [[name] for name in COMMANDS] + [["queue", name] for name in QUEUE_COMMANDS]


def test_the_commands_are_listed_in_the_order_in_which_one_meets_them():
    listed = CliRunner().invoke(cli, ["--help"]).output.partition("Commands:")[2].split("\n")
    names = [line.split()[0] for line in listed if line.strip()]

    assert [name for name in names if name in COMMANDS] == COMMANDS


@pytest.mark.parametrize("command", EVERYTHING, ids=" ".join)
def test_every_help_has_an_example_and_fits_the_terminal(command):
    done = CliRunner().invoke(cli, [*command, "--help"], terminal_width=100)

    assert done.exit_code == 0
    assert f"eventspool {' '.join(command)}" in done.output.partition("Example")[2]
    assert max(map(len, done.output.splitlines())) <= 100


def test_the_command_is_a_process_that_reads_sends_and_exits(start, plane, target):
    """Everything else is tested inside the process of the tests; here the way from the shell and back."""
    process = start("send", "-", env=target, stdin=subprocess.PIPE)
    out, err = process.communicate('{"type":"track","userId":"u","event":"A"}\nrubbish\n', timeout=60)

    assert process.returncode == 1
    assert "delivered" in out
    assert "line 2" in err
    assert plane.stats().unique == 1


def test_version(run):
    assert run("--version").out == f"eventspool {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ([], "Commands:"),
        (["queue"], "Commands:"),
        (["nonsense"], "nonsense"),
        (["queue", "status"], "--queue"),
        (["queue", "status", "--queue", "ftp://user:secret@host"], "redis://"),
        (["queue", "status", "--queue", "sqlite:///queue.db", "--queue-name", "a b"], "queue_name"),
        (["queue", "list", "--state", "gone"], "gone"),
        (["send"], "FILE"),
        (["send", "missing.jsonl"], "No such file"),
        (["send", "-"], "EVENTSPOOL_WRITE_KEY"),
        (["send", "-", "--enqueue-only"], "--queue"),
        (["send", "-", "--write-key", "secret key"], "write_key"),
        (["worker", "--write-key", "k"], "--queue"),
        (["dataplane", "--fault", "statsu=503"], "did you mean 'status'"),
        (["demo", "--redis", "--queue", "redis://localhost"], "either"),
        (["demo", "--kills", "-1"], "--kills"),
        (["capacity"], "--events-per-second"),
        (["capacity", "-r", "nan"], "no number"),
        (["capacity", "-r", "1", "--maxmemory", "much"], "500M"),
        (["capacity", "-r", "1", "--set", "commit_cal_us=1"], "did you mean 'commit_call_us'"),
        (["capacity", "-r", "1", "--set", "commit_call_us=fast"], "takes a number"),
        (["capacity", "-r", "1", "--ordering", "fifo", "--partitions", "2"], "per_user"),
        (["capacity", "-r", "1", "--durability", "replicated", "--replicas", "0"], "replicas"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_says_what_to_do(run, arguments, hint, tmp_path):
    (tmp_path / "queue.db").touch()
    done = run(*arguments)

    assert done.status == 2
    assert done.out == ""
    assert hint in done.err
    assert "Traceback" not in done.err
    assert "secret" not in done.err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["queue", "stauts"], "did you mean 'status'?"),
        (["wroker"], "did you mean 'worker'?"),
        (["queue", "xyzzy"], "No such command 'xyzzy'"),
    ],
)
def test_a_mistyped_command_says_which_one_was_perhaps_meant(run, arguments, hint):
    done = run(*arguments)

    assert (done.status, done.out) == (2, "")
    assert hint in done.err
    assert done.err.count("\n") == 1


def test_a_failure_exits_with_1_and_one_line(run):
    done = run("queue", "status", "--queue", "redis://127.0.0.1:9/0")

    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1


def test_looking_at_a_queue_that_is_not_there_does_not_create_it(run, tmp_path):
    done = run("queue", "status", "--queue", "sqlite:///typo.db")

    assert done.status == 1
    assert "no queue at typo.db" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_reported_without_a_traceback():
    code = (
        "import sys; from eventspool.__main__ import main\n"
        "import eventspool._cli.commands.queue.opened as q\n"
        "def broken(*a, **k): raise KeyError('secret')\n"
        "q.open_queue = broken; sys.argv[1:] = ['queue', 'status', '-q', 'redis://x']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 1
    assert "unexpected KeyError" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_the_command_says_how_to_install_it(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; from eventspool.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.returncode == 2
    assert "pip install 'eventspool[cli]'" in done.stderr


def test_a_reader_that_has_enough_is_no_error_to_report(start, failed):
    process = start("queue", "export", "-", env=failed)
    process.stdout.close()

    assert "Traceback" not in process.stderr.read()
    assert process.wait(60) in (0, 141)
